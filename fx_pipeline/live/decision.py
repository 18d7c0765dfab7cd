"""One decision on the newest bars, by the kernels and the policy that validation uses."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from fx_pipeline.agents.base import Policy
from fx_pipeline.environment.actions import Action
from fx_pipeline.environment.lockstep import Observation, legal_actions
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.features.compute import bars_of, compute_features, warmup_bars
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import WINDOW_BARS, MarketArrays
from fx_pipeline.market.errors import DataError


@dataclass(frozen=True)
class LiveDecision:
    """What the live trader decided.

    Attributes
    ----------
    instrument, action : str
    bar : str
        ISO time of the bar's open after whose close the decision was taken.
    close : float
        Mid close of that bar.
    legal : tuple of str
        Actions that were allowed (the account is flat in a dry run).
    model_sha256 : str
        The model that decided.
    orders_sent : int
        0: a dry run sends none.
    """

    instrument: str
    action: str
    bar: str
    close: float
    legal: tuple[str, ...]
    model_sha256: str
    orders_sent: int = 0

    def record(self) -> dict[str, Any]:
        """Return the decision as a JSON-able dict."""
        return asdict(self)


def newest_observation(market: MarketArrays) -> Observation:
    """Build the observation of a flat account at the newest bar, from closes alone.

    Parameters
    ----------
    market : MarketArrays
        The newest bars, at least the warm-up and one observation window.

    Returns
    -------
    Observation
        Of one row.

    Raises
    ------
    DataError
        If there are too few bars, or if the features made here differ from the market's own: then the table was made
        by other code or from other bars, and no decision may rest on it. Or if one of the bars has no price.
    """
    needed = warmup_bars(market) - 1 + WINDOW_BARS
    if len(market) < needed:
        raise DataError(f"{market.instrument} has {len(market)} bars, a live decision needs the newest {needed}.")
    newest = market.slice(len(market) - needed, len(market))
    features = compute_features(feature_set(market.feature_set), bars_of(newest))
    window = features[-WINDOW_BARS:]
    if window.tobytes() != newest.features[-WINDOW_BARS:].tobytes():
        raise DataError(
            f"{market.instrument}: the newest features differ from those of the table: materialise feature_table again."
        )
    if not np.isfinite(window).all():
        raise DataError(f"{market.instrument}: one of the newest {needed} bars has no price: no decision rests on it.")
    legal = np.zeros((1, len(Action)), dtype=np.bool_)
    legal_actions(0.0, False, legal[0])
    return Observation(
        window[None].copy(), np.zeros((1, NUM_STATIC), np.float32), legal, np.array([len(market) - 1], dtype=np.int64)
    )


def decide(policy: Policy, market: MarketArrays, model_sha256: str) -> LiveDecision:
    """Let the policy decide at the newest bar. Nothing is sent anywhere."""
    observation = newest_observation(market)
    action = int(policy.act(observation)[0])
    return LiveDecision(
        instrument=market.instrument,
        action=Action(action).name,
        bar=pd.Timestamp(int(market.time[-1]), tz="UTC").isoformat(),
        close=float(market.close[-1]),
        legal=tuple(Action(int(code)).name for code in np.flatnonzero(observation.legal[0])),
        model_sha256=model_sha256,
    )

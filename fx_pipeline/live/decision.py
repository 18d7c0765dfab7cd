"""One decision on the newest bars, by the kernels and the policy that validation uses."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from fx_pipeline.agents.base import Carry, Policy, replayed
from fx_pipeline.environment.action_sets import UNIT4
from fx_pipeline.environment.actions import Action
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.features.compute import bars_of, compute_features, warmup_bars
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import WINDOW_BARS, MarketArrays
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import timeframe


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
            f"{market.instrument}: the newest features differ from those of the table: materialise "
            f"{FeatureTable(market.feature_set, market.timeframe).asset} again."
        )
    if not np.isfinite(window).all():
        raise DataError(f"{market.instrument}: one of the newest {needed} bars has no price: no decision rests on it.")
    legal = UNIT4.legal_table[0, :1]
    return Observation(
        window[None].copy(), np.zeros((1, NUM_STATIC), np.float32), legal, np.array([len(market) - 1], dtype=np.int64)
    )


def bars_needed(policy: Policy) -> int:
    """Newest bars that a decision reads: a warm-up, a window, and another window if what the policy keeps was lost."""
    spec = policy.spec or ObservationSpec()
    warm_up, window_bars = feature_set(spec.feature_set).warmup_bars(timeframe(spec.timeframe)), spec.window_bars
    return warm_up - 1 + window_bars + (0 if policy.initial(1) is None else window_bars - 1)


def rebuilt_carry(policy: Policy, market: MarketArrays) -> Carry:
    """The carry with which a policy comes to the newest bar, made again from the bars before it, of a flat account.

    A policy remembers no more than the observations of a window, so that as many are shown to it as a window has bars,
    the newest excepted; one without a memory is shown none.
    """
    carry = policy.initial(1)
    if carry is None:
        return None
    back = (policy.spec.window_bars if policy.spec else WINDOW_BARS) - 1
    return replayed(policy, (newest_observation(market.slice(0, len(market) - bar)) for bar in range(back, 0, -1)))


def decide(policy: Policy, market: MarketArrays, model_sha256: str, carry: Carry = None) -> tuple[LiveDecision, Carry]:
    """Let the policy decide at the newest bar. Nothing is sent anywhere.

    Parameters
    ----------
    policy : Policy
    market : MarketArrays
        The newest bars.
    model_sha256 : str
    carry : Any
        What the policy kept at the bar before; None where there is none, as after a restart: it is made again then.

    Returns
    -------
    (LiveDecision, Any)
        With the carry for the next bar.
    """
    observation = newest_observation(market)
    actions, carry = policy.act(observation, rebuilt_carry(policy, market) if carry is None else carry)
    action = int(actions[0])
    decision = LiveDecision(
        instrument=market.instrument,
        action=Action(action).name,
        bar=pd.Timestamp(int(market.time[-1]), tz="UTC").isoformat(),
        close=float(market.close[-1]),
        legal=tuple(Action(int(code)).name for code in np.flatnonzero(observation.legal[0])),
        model_sha256=model_sha256,
    )
    return decision, carry

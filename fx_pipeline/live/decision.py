"""One decision on the newest bars, by the kernels and the policy that validation uses."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from fx_pipeline.agents.base import Carry, Policy, replayed
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.lockstep import Observation, observation_spec
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.features.compute import bars_of, compute_features, warmup_bars
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules
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


def newest_observation(market: MarketArrays, spec: ObservationSpec = ObservationSpec()) -> Observation:
    """Build the observation of a flat account at the newest bar, from the bars alone.

    Parameters
    ----------
    market : MarketArrays
        The newest bars, at least the warm-up and one observation window.
    spec : ObservationSpec
        Of the observation.

    Returns
    -------
    Observation
        Of one row.

    Raises
    ------
    DataError
        If there are too few bars, or if the features made here differ from the market's own: then the table was made
        by other code or from other bars, and no decision may rest on it. Or if one of the bars has no price, or the
        market has other features or bars than those of the spec.
    """
    actions = action_set(spec.action_set)
    spec.require(observation_spec(market, SessionRules(window_bars=spec.window_bars), actions))
    needed = warmup_bars(market) - 1 + spec.window_bars
    if len(market) < needed:
        raise DataError(f"{market.instrument} has {len(market)} bars, a live decision needs the newest {needed}.")
    newest = market.slice(len(market) - needed, len(market))
    features = compute_features(feature_set(market.feature_set), bars_of(newest))
    window = features[-spec.window_bars :]
    if window.tobytes() != newest.features[-spec.window_bars :].tobytes():
        raise DataError(
            f"{market.instrument}: the newest features differ from those of the table: materialise "
            f"{FeatureTable(market.feature_set, market.timeframe).asset} again."
        )
    if not np.isfinite(window).all():
        raise DataError(f"{market.instrument}: one of the newest {needed} bars has no price: no decision rests on it.")
    return Observation(
        window[None].copy(),
        np.zeros((1, spec.static), np.float32),
        actions.legal_table[0, :1],
        np.array([len(market) - 1], dtype=np.int64),
    )


def _spec(policy: Policy) -> ObservationSpec:
    return policy.spec or ObservationSpec()


def bars_needed(policy: Policy) -> int:
    """Newest bars that a decision reads: a warm-up, a window, and another window if what the policy keeps was lost."""
    spec = _spec(policy)
    warm_up = feature_set(spec.feature_set).warmup_bars(timeframe(spec.timeframe))
    return warm_up - 1 + spec.window_bars + (0 if policy.initial(1) is None else spec.window_bars - 1)


def rebuilt_carry(policy: Policy, market: MarketArrays) -> Carry:
    """The carry with which a policy comes to the newest bar, made again from the bars before it, of a flat account.

    A policy remembers no more than the observations of a window, so that as many are shown to it as a window has bars,
    the newest excepted; one without a memory is shown none.
    """
    if policy.initial(1) is None:
        return None
    spec = _spec(policy)
    ends = range(len(market) + 1 - spec.window_bars, len(market))
    return replayed(policy, (newest_observation(market.slice(0, end), spec) for end in ends))


def decide(policy: Policy, market: MarketArrays, model_sha256: str, carry: Carry = None) -> tuple[LiveDecision, Carry]:
    """Let the policy decide at the newest bar. Nothing is sent anywhere.

    Parameters
    ----------
    policy : Policy
    market : MarketArrays
        The newest bars, `bars_needed` of them or more.
    model_sha256 : str
    carry : Any
        What the policy kept at the bar before; None where there is none, as after a restart: it is made again then.

    Returns
    -------
    (LiveDecision, Any)
        With the carry for the next bar.
    """
    spec = _spec(policy)
    observation = newest_observation(market, spec)
    chosen, carry = policy.act(observation, rebuilt_carry(policy, market) if carry is None else carry)
    names = action_set(spec.action_set).names
    decision = LiveDecision(
        instrument=market.instrument,
        action=names[int(chosen[0])],
        bar=pd.Timestamp(int(market.time[-1]), tz="UTC").isoformat(),
        close=float(market.close[-1]),
        legal=tuple(names[code] for code in np.flatnonzero(observation.legal[0])),
        model_sha256=model_sha256,
    )
    return decision, carry

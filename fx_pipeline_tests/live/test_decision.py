"""The dry run decides by the kernels and the policy of validation, and sends nothing."""

import dataclasses

import numpy as np
import pytest

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import Action
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.live.decision import decide, newest_observation
from fx_pipeline.market.arrays import WINDOW_BARS, MarketArrays
from fx_pipeline.market.errors import DataError

NEEDED = WARMUP_BARS - 1 + WINDOW_BARS
MINUTE_NS = 60_000_000_000
# Monday 2016-04-04 00:00 UTC.
START_NS = 1_459_728_000_000_000_000


def market(bars: int = NEEDED + 10) -> MarketArrays:
    close = 150 + np.cumsum(np.random.default_rng(3).normal(0, 0.02, bars))
    time = START_NS + MINUTE_NS * np.arange(bars)
    features, sigma = features_of_closes(close, time, 0.01)
    prices = dict.fromkeys(("open", "high", "low", "close", "bid_open", "ask_open", "bid_close", "ask_close"), close)
    return MarketArrays("GBP_JPY", 0.01, time, **prices, features=features, outcome_sigma=sigma, fingerprint="test")


class Fixed(Stateless):
    """A policy that always wants one action, and remembers what it saw."""

    def __init__(self, action: Action) -> None:
        self.action = action
        self.seen: Observation | None = None

    def choose(self, observation: Observation) -> np.ndarray:
        self.seen = observation
        return np.array([self.action], dtype=np.int64)


@pytest.mark.parametrize("action", [Action.HOLD, Action.BUY, Action.SELL])
def test_decision_is_the_policys_and_nothing_is_sent(action: Action) -> None:
    bars = market()
    decision, carry = decide(Fixed(action), bars, "abc")
    assert carry is None
    assert (decision.action, decision.model_sha256, decision.orders_sent) == (action.name, "abc", 0)
    assert decision.legal == ("HOLD", "BUY", "SELL"), "a flat account has nothing to close"
    assert decision.close == bars.close[-1]
    assert decision.bar == str(np.datetime64(int(bars.time[-1]), "ns").astype("datetime64[s]")) + "+00:00"
    assert decision.record()["orders_sent"] == 0


def test_policy_sees_what_validation_would_show_it() -> None:
    bars = market()
    policy = Fixed(Action.HOLD)
    decide(policy, bars, "abc")
    assert policy.seen is not None
    assert policy.seen.temporal.tobytes() == bars.features[-WINDOW_BARS:].tobytes()
    assert not policy.seen.static.any()


def test_features_of_other_code_or_bars_are_refused() -> None:
    bars = market()
    features = bars.features.copy()
    features[-1, 4] = np.nextafter(features[-1, 4], np.float32(2))
    with pytest.raises(DataError, match=r"GBP_JPY: the newest features differ .* materialise feature_table again"):
        newest_observation(dataclasses.replace(bars, features=features))


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(DataError, match=f"has {NEEDED - 1} bars, a live decision needs the newest {NEEDED}"):
        newest_observation(market(NEEDED - 1))
    newest_observation(market(NEEDED))


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_bar_without_a_price_is_no_ground_for_a_decision(value: float) -> None:
    bars = market()
    close = bars.close.copy()
    close[-700] = value
    features, _ = features_of_closes(close, bars.time, 0.01)
    with pytest.raises(DataError, match="has no price"):
        newest_observation(dataclasses.replace(bars, close=close, features=features))

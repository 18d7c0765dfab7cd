"""A policy that remembers: rollouts, proofs and live decisions pass what it keeps from bar to bar."""

import numpy as np
import pytest

from fx_pipeline.agents.base import Actions, Policy, Stateless, replayed
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, NUM_ACTIONS, SELL, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES
from fx_pipeline.live.decision import decide, rebuilt_carry
from fx_pipeline.market.costs import build_fills
from fx_pipeline.proofs.play import play
from fx_pipeline.validation.rollout import rollout

MOMENTUM = FEATURE_NAMES.index("min_max_scaled_momentum_5")
BARS = 90


class Remembers:
    """Recurrent: looks at the newest bar alone, and keeps what the bars before it said, one window of them.

    Buys where the bar stands above the mean of what it remembers, and closes below it; never within 8 bars.
    """

    spec = ObservationSpec()

    def initial(self, batch: int) -> np.ndarray:
        return np.full((batch, self.spec.window_bars), np.nan)

    def act(self, observation: Observation, carry: np.ndarray) -> tuple[Actions, np.ndarray]:
        now = observation.temporal[:, -1, MOMENTUM].astype(np.float64)
        carry = np.concatenate([carry[:, 1:], now[:, None]], axis=1)
        seen = np.isfinite(carry).sum(axis=1)
        above = now > np.nansum(carry, axis=1) / seen
        wanted = np.where(observation.static[:, 0] != 0, np.where(above, HOLD, CLOSE), np.where(above, BUY, SELL))
        return playable(np.where(seen < 8, HOLD, wanted), observation.legal), carry


class FromWindow(Stateless):
    """The same rule without a memory: the observation's own window, as far as the session reaches back."""

    def __init__(self, starts: np.ndarray) -> None:
        self.starts = starts

    def choose(self, observation: Observation) -> Actions:
        begun = self.starts[np.searchsorted(self.starts, observation.bar, side="right") - 1]
        window = observation.temporal[:, :, MOMENTUM].astype(np.float64)
        ages = np.arange(window.shape[1])[::-1]
        window = np.where(ages <= (observation.bar - begun)[:, None], window, np.nan)
        return Remembers().act(observation, np.roll(window, 1, axis=1))[0]


@pytest.fixture(scope="module")
def data(small_market):
    return small_market


def test_a_policy_is_one_with_or_without_a_memory() -> None:
    assert isinstance(Remembers(), Policy) and isinstance(FromWindow(np.zeros(1)), Policy)
    assert Stateless().initial(3) is None and Stateless.spec is None


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_rollout_passes_the_carry_and_begins_each_session_with_a_new_one(data, batch: int) -> None:
    starts = data.starts[: 12 * BARS : BARS]
    fills = build_fills(data.market, data.costs)
    remembered = rollout(data.market, fills, starts, Remembers(), session_bars=BARS, batch=batch)
    seen = rollout(data.market, fills, starts, FromWindow(starts), session_bars=BARS, batch=batch)
    np.testing.assert_array_equal(remembered.actions, seen.actions)
    assert len(remembered.trades) > 20 and (remembered.actions[:, :7] == HOLD).all()


def test_proofs_pass_the_carry(data) -> None:
    starts = data.starts[:1]
    np.testing.assert_array_equal(
        play(data.market, starts, Remembers(), data.costs).pips,
        play(data.market, starts, FromWindow(starts), data.costs).pips,
    )


def test_a_carry_made_again_from_the_last_window_is_the_uninterrupted_one(data) -> None:
    policy, market = Remembers(), data.market
    environment = LockstepEnvironment(market, build_fills(market, data.costs))
    observation, carry = environment.reset(data.starts[:1]), policy.initial(1)
    for _ in range(200):
        before = carry
        _, carry = policy.act(observation, carry)
        newest = market.slice(0, int(observation.bar[0]) + 1)
        flat = np.array([HOLD])
        observation = environment.step(flat).observation
    np.testing.assert_array_equal(rebuilt_carry(policy, newest)[:, 1:], before[:, 1:])
    decided, kept = decide(policy, newest, "abc", before)
    again, rebuilt = decide(policy, newest, "abc")
    assert decided == again
    np.testing.assert_array_equal(kept, rebuilt)
    np.testing.assert_array_equal(kept, carry)


def test_replaying_nothing_is_the_carry_of_a_session_that_begins() -> None:
    np.testing.assert_array_equal(replayed(Remembers(), [], 2), Remembers().initial(2))
    assert len(Remembers().initial(2)) == 2 and NUM_ACTIONS == 4

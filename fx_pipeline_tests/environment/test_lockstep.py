from collections.abc import Callable

import numpy as np
import pytest

from fx_pipeline.environment.actions import BUY, CLOSE, DOWN, HOLD, NEUTRAL, SELL, UP, Action, Outcome, outcomes
from fx_pipeline.environment.lockstep import IllegalActionError, LockstepEnvironment
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules

MakeMarket = Callable[..., MarketArrays]


def environment_of(market: MarketArrays, bars: int = 10, window: int = 4, **costs: object) -> LockstepEnvironment:
    return LockstepEnvironment(
        market,
        build_fills(market, CostConfig(**costs)),  # type: ignore[arg-type]
        rules=SessionRules(bars=bars, window_bars=window),
    )


def random_walk(make_market: MakeMarket, count: int, seed: int = 0) -> MarketArrays:
    return make_market(187.0 + 0.01 * np.cumsum(np.random.default_rng(seed).normal(0.0, 2.5, count)))


def test_the_order_of_actions_and_outcomes_is_that_of_the_specification() -> None:
    assert [action.name for action in sorted(Action)] == ["HOLD", "BUY", "SELL", "CLOSE"]
    assert [outcome.name for outcome in sorted(Outcome)] == ["UP", "NEUTRAL", "DOWN"]
    assert (HOLD, BUY, SELL, CLOSE, UP, NEUTRAL, DOWN) == (0, 1, 2, 3, 0, 1, 2)


@pytest.mark.parametrize(("drift", "expected"), [(0.05, UP), (-0.05, DOWN), (0.0, NEUTRAL)])
def test_a_rising_close_is_up(make_market: MakeMarket, drift: float, expected: int) -> None:
    market = make_market(187.0 + drift * np.arange(60))
    assert (outcomes(market.close, market.outcome_sigma)[25:] == expected).all()
    environment = environment_of(market)
    environment.reset(np.array([30, 40]))
    seen = np.stack([environment.step(np.array([HOLD, HOLD])).outcomes for _ in range(10)])
    assert (seen[:-1] == expected).all()
    assert (seen[-1] == NEUTRAL).all()


def test_outcomes_of_steps_equal_the_labels_and_their_threshold(make_market: MakeMarket) -> None:
    market = random_walk(make_market, 80)
    labels = outcomes(market.close, market.outcome_sigma)
    change, bound = np.diff(market.close), 0.33 * market.outcome_sigma[:-1]
    np.testing.assert_array_equal(labels, np.where(change > bound, 0, np.where(change < -bound, 2, 1)))
    assert set(labels[20:].tolist()) == {UP, NEUTRAL, DOWN}
    environment = environment_of(market)
    starts = np.array([25, 33, 60])
    environment.reset(starts)
    for number in range(9):
        np.testing.assert_array_equal(environment.step(np.zeros(3, int)).outcomes, labels[starts + number])


def state_of(environment: LockstepEnvironment) -> list[np.ndarray]:
    observation = environment.observation()
    return [environment.positions, environment.bar, environment.trades(), *observation]


@pytest.mark.parametrize(
    ("before", "action"),
    [
        ([], CLOSE),
        ([BUY], BUY),
        ([BUY], SELL),
        ([SELL], BUY),
        ([SELL], SELL),
        ([BUY, CLOSE], CLOSE),
        ([HOLD] * 9, BUY),
        ([HOLD] * 9, SELL),
        ([HOLD] * 9, CLOSE),
        ([BUY] + [HOLD] * 8, HOLD),
        ([], 4),
        ([], -1),
    ],
)
def test_an_illegal_action_raises_and_moves_nothing(make_market: MakeMarket, before: list[int], action: int) -> None:
    environment = environment_of(random_walk(make_market, 60))
    environment.reset(np.array([20, 30]))
    for earlier in before:
        environment.step(np.array([earlier, HOLD]))
    state = state_of(environment)
    with pytest.raises(IllegalActionError, match="session 0"):
        environment.step(np.array([action, HOLD]))
    for old, new in zip(state, state_of(environment), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_last_bar_closes_what_is_open_at_its_close(make_market: MakeMarket) -> None:
    market = random_walk(make_market, 60)
    environment = environment_of(market)
    environment.reset(np.array([20, 30]))
    for number in range(9):
        observation = environment.step(np.array([SELL if number == 8 else HOLD, HOLD])).observation
    assert observation.legal.tolist() == [[False, False, False, True], [True, False, False, False]]
    step = environment.step(np.array([CLOSE, HOLD]))
    assert step.done and not environment.positions.any()
    trade = environment.trades()[0]
    assert (trade["entry_bar"], trade["exit_bar"], trade["bars_held"]) == (29, 29, 1)
    assert trade["entry_price"] == market.open[29] and trade["exit_price"] == market.close[29]
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step(np.array([HOLD, HOLD]))


def test_sessions_do_not_touch_each_other(make_market: MakeMarket) -> None:
    market = random_walk(make_market, 200)
    starts = np.arange(10, 100, 9)
    rng = np.random.default_rng(3)
    together = environment_of(market, bars=40)
    observation = together.reset(starts)
    taken = []
    for _ in range(40):
        taken.append(np.array([rng.choice(np.flatnonzero(row)) for row in observation.legal]))
        observation = together.step(taken[-1]).observation
    for row, start in enumerate(starts):
        alone = environment_of(market, bars=40)
        alone.reset(starts[row : row + 1])
        for actions in taken:
            alone.step(actions[row : row + 1])
        mine = together.trades()[together.trades()["session"] == row]
        mine["session"] = 0
        np.testing.assert_array_equal(alone.trades(), mine)
        assert start == starts[row]


@pytest.mark.parametrize("feature", [0, 8])
def test_a_session_may_stand_beside_a_bar_without_features_but_not_touch_it(
    make_market: MakeMarket, feature: int
) -> None:
    market = random_walk(make_market, 80)
    market.features[40, feature] = np.nan
    environment = environment_of(market)
    window, bars = environment.window_bars, environment.session_bars
    first, last = 41 + window - 1, 40 - bars
    environment.reset(np.array([last, first]))
    for start in (last + 1, 40, first - 1):
        with pytest.raises(DataError, match="not finite"):
            environment.reset(np.array([last, start]))


def test_a_reset_starts_afresh(make_market: MakeMarket) -> None:
    environment = environment_of(random_walk(make_market, 60))
    first = environment.reset(np.array([20]))
    environment.step(np.array([BUY]))
    again = environment.reset(np.array([20]))
    for old, new in zip(first, again, strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(environment.trades()) == 0


def test_observations_are_copies(make_market: MakeMarket) -> None:
    environment = environment_of(random_walk(make_market, 60))
    observation = environment.reset(np.array([20]))
    legal, static = observation.legal.copy(), observation.static.copy()
    environment.step(np.array([BUY]))
    np.testing.assert_array_equal(observation.legal, legal)
    np.testing.assert_array_equal(observation.static, static)
    observation.static[:] = 9.0
    assert not (environment.observation().static == 9.0).any()


@pytest.mark.parametrize("start", [2, 51])
def test_a_session_that_leaves_the_market_is_refused(make_market: MakeMarket, start: int) -> None:
    with pytest.raises(DataError, match="leaves the market"):
        environment_of(random_walk(make_market, 60)).reset(np.array([start]))


def test_a_session_that_is_warming_up_is_refused(make_market: MakeMarket) -> None:
    market = random_walk(make_market, 60)
    market.features[12] = np.nan
    environment = environment_of(market)
    for start in (3, 12, 15):
        with pytest.raises(DataError, match="not finite"):
            environment.reset(np.array([start]))
    environment.reset(np.array([16]))


def test_shapes_are_checked(make_market: MakeMarket) -> None:
    market = random_walk(make_market, 60)
    environment = environment_of(market)
    with pytest.raises(RuntimeError, match="call reset"):
        environment.step(np.array([HOLD]))
    for starts in (np.array([], dtype=np.int64), np.array([[20]])):
        with pytest.raises(ValueError, match="non-empty"):
            environment.reset(starts)
    environment.reset(np.array([20]))
    with pytest.raises(ValueError, match="shape"):
        environment.step(np.array([HOLD, HOLD]))
    with pytest.raises(ValueError, match="fills have 59 bars"):
        LockstepEnvironment(market, build_fills(market.slice(0, 59), CostConfig()))


def test_full_turnover_fits_the_trade_record(make_market: MakeMarket) -> None:
    environment = environment_of(random_walk(make_market, 60), bars=11)
    environment.reset(np.array([20]))
    for number in range(10):
        environment.step(np.array([BUY if number % 2 == 0 else CLOSE]))
    environment.step(np.array([HOLD]))
    assert environment.trades()["bars_held"].tolist() == [1] * 5


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_a_random_policy_pays_the_spread_on_a_driftless_market(make_market: MakeMarket, fill: str) -> None:
    market = random_walk(make_market, 20_000, seed=11)
    environment = environment_of(market, bars=360, window=32, fill=fill)
    rng = np.random.default_rng(12)
    observation = environment.reset(np.arange(40, 19_000, 360))
    taken = np.zeros(4)
    for _ in range(360):
        scores = np.where(observation.legal, rng.random(observation.legal.shape), -1.0)
        actions = scores.argmax(axis=1)
        taken += np.bincount(actions, minlength=4)
        observation = environment.step(actions).observation
    pnl = environment.trades()["pnl_pips"]
    assert len(pnl) > 4_000
    standard_error = pnl.std() / np.sqrt(len(pnl))
    assert pnl.mean() == pytest.approx(-4.0, abs=4 * standard_error)
    assert not environment.positions.any()
    # Entries and exits pair off: whatever was opened has been closed.
    assert taken[BUY] + taken[SELL] == taken[CLOSE] == len(pnl)

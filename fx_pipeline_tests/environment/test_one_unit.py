"""The actions of one unit are as they were before positions had an exposure, to the bit: a million random steps."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from fx_pipeline.environment import position as pk
from fx_pipeline.environment.lockstep import LockstepEnvironment, describe, step_sessions
from fx_pipeline.environment.rewards import DRAWDOWNS, KINDS, RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, JudgedCosts, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline_tests.environment import one_unit

SESSIONS, BARS = 64, 360
STEPS = 1_000_000


class OldSeats(NamedTuple):
    """What the kernel of one unit writes."""

    positions: np.ndarray
    static: np.ndarray
    legal: np.ndarray
    trades: np.ndarray
    trade_counts: np.ndarray


def old_seats(batch: int) -> OldSeats:
    """Flat accounts."""
    return OldSeats(
        np.zeros((batch, one_unit.POSITION_SIZE)),
        np.zeros((batch, pk.NUM_STATIC), dtype=np.float32),
        np.zeros((batch, 4), dtype=np.bool_),
        np.zeros((batch, BARS // 2 + 1, 13)),
        np.zeros(batch, dtype=np.int64),
    )


def settings(rng: np.random.Generator) -> tuple[CostConfig, RewardConfig]:
    """Costs and rewards of every kind."""
    kind = rng.choice(["fixed", "quoted", "profile", "judged"])
    costs = JudgedCosts if kind == "judged" else CostConfig
    made = costs(
        kind=cast(Any, "fixed" if kind == "judged" else kind),
        fixed_pips=float(rng.choice([0.0, 1.3, 4.0])),
        slippage_pips=float(rng.choice([0.0, 0.3])),
        financing_long_pips=float(rng.choice([0.0, 0.7])),
        financing_short_pips=float(rng.choice([0.0, -0.4])),
        fill=cast(Any, rng.choice(["next_open", "close"])),
        **({"financing_rate": 0.05} if kind == "judged" else {}),
    )
    reward = RewardConfig(
        kind=cast(Any, rng.choice(KINDS)),
        drawdown=cast(Any, rng.choice(DRAWDOWNS)),
        drawdown_weight=float(rng.choice([0.01, 0.05])),
        entry_reward=float(rng.choice([0.0, -0.5])),
    )
    return made, reward


def plays(
    random_market: Callable[[int, int], MarketArrays], seed: int
) -> Iterator[tuple[LockstepEnvironment, np.ndarray, np.random.Generator]]:
    """Environments, starts and a generator of actions, without end."""
    for number in range(seed, 1_000_000):
        rng = np.random.default_rng(number)
        market = random_market(number, 1_200)
        costs, reward = settings(rng)
        fills = build_fills(market, costs)
        environment = LockstepEnvironment(market, fills, reward, SessionRules(bars=BARS, window_bars=4))
        yield environment, rng.integers(3, len(market) - BARS, SESSIONS), rng


def test_a_million_random_steps_are_the_same_to_the_bit(random_market: Callable[[int, int], MarketArrays]) -> None:
    done = trades = 0
    for environment, starts, rng in plays(random_market, 0):
        environment.reset(starts)
        seats, game, old = environment.seats, environment.game, old_seats(len(starts))
        one_unit.describe(old.positions, False, old.static, old.legal, game.unit_pips)
        hold = rng.choice([0.0, 0.6, 0.95])
        for step in range(BARS):
            assert seats.static.tobytes() == old.static.tobytes() and seats.legal.tobytes() == old.legal.tobytes()
            draw = np.where(seats.legal, rng.random(seats.legal.shape), -1.0)
            draw[:, 0] = np.where(seats.legal[:, 0] & (rng.random(SESSIONS) < hold), 2.0, draw[:, 0])
            actions, last = draw.argmax(axis=1), step == BARS - 1
            rewards, outcomes = step_sessions(game, seats, starts + step, actions, last)
            wanted = one_unit.step_sessions(game, old, starts + step, actions, last)
            assert rewards.tobytes() == wanted[0].tobytes() and outcomes.tobytes() == wanted[1].tobytes()
            assert seats.positions[:, : one_unit.POSITION_SIZE].tobytes() == old.positions.tobytes()
            ending = step + 1 >= BARS - 1
            describe(game, seats, ending)
            one_unit.describe(old.positions, ending, old.static, old.legal, game.unit_pips)
        assert seats.trade_counts.tobytes() == old.trade_counts.tobytes()
        assert seats.trades[:, :, :13].tobytes() == old.trades.tobytes()
        sizes = seats.trades[np.arange(old.trades.shape[1]) < seats.trade_counts[:, None]][:, 13:]
        assert (sizes == 1.0).all()
        done, trades = done + starts.size * BARS, trades + int(seats.trade_counts.sum())
        if done >= STEPS:
            break
    assert trades > 50_000


@pytest.mark.parametrize("lengths", [[1, 2, 30, 7], [5, 5, 5, 5]])
def test_sessions_of_different_lengths_end_flat(
    random_market: Callable[[int, int], MarketArrays], lengths: list[int]
) -> None:
    market = random_market(3, 200)
    environment = LockstepEnvironment(market, build_fills(market, CostConfig()), rules=SessionRules(30, 4))
    observation = environment.reset(np.array([10, 50, 90, 130]), np.array(lengths))
    for step in range(30):
        legal = observation.legal
        for row, length in enumerate(lengths):
            if step >= length - 1:
                assert legal[row].sum() == 1 and not legal[row, 1:3].any()
        observation = environment.step(np.where(legal[:, 1], 1, np.where(legal[:, 0], 0, 3))).observation
    assert not environment.positions.any()

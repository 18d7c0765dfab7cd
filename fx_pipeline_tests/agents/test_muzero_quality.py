"""Quality of steps against SPEC section 9, and which episodes are evicted."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.agents.muzero.quality import (
    SUCCESS_STEPS,
    TRADE_QUOTA,
    settle,
    successes,
    whole_quality,
    worst,
)
from fx_pipeline.environment.action_sets import LEVERAGE7, UNIT4
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL

ACTIONS = [HOLD, BUY, HOLD, CLOSE, SELL, CLOSE, HOLD, BUY, HOLD, CLOSE]
REWARDS = [-0.01, -4.0, 30.0, 2.0, -4.0, 1.0, 0.0, 0.0, 0.0, 3.0]


HELD = [0, 0, 1, 1, 0, -1, 0, 0, 1, 1]


def settled(parts: list[int], shares_reward: bool = False) -> dict[str, np.ndarray]:
    arrays = {
        "held": np.array([HELD, [0] * 10], dtype=np.float32),
        "actions": np.array([ACTIONS, [HOLD] * 10], dtype=np.int8),
        "targets": UNIT4.target_array,
        "rewards": np.array([REWARDS, [0.0] * 10], dtype=np.float32),
        "qualities": np.zeros((2, 10), dtype=np.float32),
        "trade_counts": np.zeros(2, dtype=np.int64),
        "trade_pips": np.zeros(2),
    }
    for first, last in itertools.pairwise(parts):
        settle(np.array([0]), first, last, *arrays.values(), shares_reward)
    return arrays


@pytest.mark.parametrize("parts", [[0, 10], [0, 3, 10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
def test_each_part_of_the_formula_counts_once_however_a_session_is_cut(parts: list[int]) -> None:
    arrays = settled(parts)
    expected = [
        0.0,
        3.0,
        2.0,  # a reward of 30 counts no more than 2
        3.0 + 28.0 * 0.5 + 5.0 + 0.2,
        3.0,
        3.0 - 3.0 * 0.1 + 1.0 + 0.1,
        0.0,
        3.0,
        0.0,
        3.0 + 3.0 * 0.5 + 5.0 + 0.3 + 1.5,
    ]
    np.testing.assert_allclose(arrays["qualities"][0], expected, rtol=1e-6)
    np.testing.assert_array_equal(arrays["qualities"][1], 0.0)
    assert arrays["trade_counts"].tolist() == [3, 0]
    assert arrays["trade_pips"].tolist() == [28.0, 0.0]
    np.testing.assert_array_equal(arrays["rewards"][0], np.array(REWARDS, dtype=np.float32))


@pytest.mark.parametrize("parts", [[0, 10], [0, 3, 10]])
def test_shared_rewards_are_the_whole_trade_at_each_of_its_steps(parts: list[int]) -> None:
    arrays = settled(parts, shares_reward=True)
    np.testing.assert_allclose(arrays["rewards"][0], [-0.01, 28, 28, 28, -3, -3, 0, 3, 3, 3], rtol=1e-6)
    np.testing.assert_allclose(arrays["qualities"][0, [3, 5, 9]], settled([0, 10])["qualities"][0, [3, 5, 9]])
    assert arrays["trade_pips"][0] == 28.0


def test_a_trade_that_was_open_at_the_start_begins_there() -> None:
    arrays = settled([0, 10])
    arrays["actions"][1, 2] = CLOSE
    arrays["held"][1, :3] = 1
    arrays["rewards"][1, :3] = [1.0, 2.0, 3.0]
    settle(np.array([1]), 0, 10, *arrays.values(), False)
    assert arrays["trade_pips"][1] == 6.0


def test_a_trade_is_resized_and_turned_without_ending_twice() -> None:
    short, flat, third, full = (LEVERAGE7.names.index(name) for name in ("SHORT_3", "FLAT", "LONG_1", "LONG_3"))
    taken = np.array([[flat, third, full, full, third, short, short, flat]], dtype=np.int8)
    held = np.array([[0, 0, 1 / 3, 1, 1, 1 / 3, -1, -1]], dtype=np.float32)
    rewards = np.array([[0, 1, 2, 4, 8, 16, 32, 64]], dtype=np.float32)
    qualities, counts, pips = np.zeros((1, 8), dtype=np.float32), np.zeros(1, dtype=np.int64), np.zeros(1)
    settle(np.array([0]), 0, 8, held, taken, LEVERAGE7.target_array, rewards, qualities, counts, pips, False)
    # The step that turns the position belongs to both trades.
    assert (counts[0], pips[0]) == (2, (1 + 2 + 4 + 8 + 16) + (16 + 32 + 64))
    changes = [0, 3, 3, 0, 3, 3 + 5 + 31 / 2, 0, 3 + 5 + 112 / 2 + 1.5]
    np.testing.assert_allclose(qualities[0], changes + np.minimum(rewards[0] / 10, 2.0), rtol=1e-6)


def test_surprise_and_expectancy_are_added_and_bounded() -> None:
    qualities = np.zeros((4, 2), dtype=np.float32)
    surprise = np.array([[0, 2], [100, 0], [0, 0], [0, 0]], dtype=np.float32)
    counts, pips = np.array([0, 2, 2, 1]), np.array([0.0, 8.0, 100.0, -5.0])
    whole = whole_quality(qualities, surprise, counts, pips)
    np.testing.assert_allclose(whole, [[0, 0.3], [0.75 + 1.2, 1.2], [3, 3], [-1.5, -1.5]], rtol=1e-6)


def test_successes_are_the_newest_recorded_ones_over_five_pips() -> None:
    rewards = np.full((3, 600), 6.0, dtype=np.float32)
    rewards[1, 10] = 5.0
    found = successes(rewards, np.array([600, 600, 7]), np.array([5, 9, 7]))
    assert len(found) == SUCCESS_STEPS
    assert found[-1] == 1 * 600 + 599
    assert 1 * 600 + 10 not in found
    assert ((found >= 1200).sum(), (found // 600 == 1).sum()) == (7, 599)
    # Of the oldest episode, what is left of the memory: its newest steps.
    assert found[0] == 600 - (SUCCESS_STEPS - 606)
    assert len(successes(rewards, np.zeros(3, dtype=np.int64), np.array([5, 9, 7]))) == 0


def test_the_worst_go_first_and_those_with_a_success_last() -> None:
    rows = np.array([10, 11, 12, 13, 14])
    quality = np.array([3.0, 1.0, 2.0, 0.0, 1.0])
    traded = np.ones(5, dtype=np.bool_)
    remembered = np.array([False, False, False, True, False])
    serials = np.array([4, 3, 2, 1, 0])
    assert worst(5, rows, quality, traded, remembered, serials).tolist() == [14, 11, 12, 10, 13]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_eviction_keeps_the_trade_quota_as_long_as_it_can(data: st.DataObject) -> None:
    held = data.draw(st.integers(2, 30))
    traded = np.array(data.draw(st.lists(st.booleans(), min_size=held, max_size=held)))
    seed, count = data.draw(st.integers(0, 99)), data.draw(st.integers(1, held - 1))
    random = np.random.default_rng(seed)
    remembered = random.random(held) < 0.5
    evicted = worst(count, np.arange(held), random.normal(size=held), traded, remembered, random.permutation(held))
    assert len(set(evicted.tolist())) == count
    traders, left = int(traded.sum()), held
    for row in evicted:
        others = left - traders
        traders -= int(traded[row])
        left -= 1
        if traded[row] and traders < TRADE_QUOTA * left:
            assert others == 0, "an episode without a trade could have gone"

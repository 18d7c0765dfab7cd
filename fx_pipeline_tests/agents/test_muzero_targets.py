"""Value targets against a plain version."""

import numpy as np
import pytest

from fx_pipeline.agents.muzero.targets import Recorded, corrected_td_steps, empty_targets, value_targets


def naive(rewards, values, length, step, td_steps, discount, bootstrap_at_end):
    if step >= length:
        return 0.0
    finished = length == len(rewards)
    total, factor, now = 0.0, 1.0, step
    for _ in range(td_steps):
        last = now == length - 1
        if last and (bootstrap_at_end or not finished):
            break
        total += factor * rewards[now]
        factor *= discount
        now += 1
        if now == length:
            return total
    return total + factor * values[now]


@pytest.mark.parametrize("bootstrap_at_end", [True, False])
@pytest.mark.parametrize("td_steps", [1, 3, 50])
def test_targets_equal_a_plain_version(td_steps: int, bootstrap_at_end: bool) -> None:
    random = np.random.default_rng(td_steps)
    rewards = random.normal(size=(4, 12)).astype(np.float32)
    values = random.normal(size=(4, 12)).astype(np.float32)
    lengths = np.array([12, 7, 1, 12])
    episodes, steps = np.repeat(np.arange(4), 12), np.tile(np.arange(12), 4)
    count = 4
    targets = empty_targets(len(steps), count)
    horizons = np.where(episodes == 3, 2, td_steps)
    recorded = record(rewards, values, lengths)
    value_targets(recorded, episodes, steps, count, horizons, 0.9, bootstrap_at_end, 0.0, 0, targets)
    expected = [
        [naive(rewards[e], values[e], lengths[e], step + k, horizon, 0.9, bootstrap_at_end) for k in range(count)]
        for e, step, horizon in zip(episodes, steps, horizons, strict=True)
    ]
    np.testing.assert_allclose(targets, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("cut", "trusted", "expected"),
    [
        (0.0, 0, [1 + 1 + 1 + 8, 2 + 2 + 16, 4 + 32, 64]),
        (0.5, 0, [1 + 50, 100, 4 + 32, 64]),
        (0.5, 1, [1 + 50, 2 + 2 + 16, 4 + 32, 64]),
    ],
)
def test_a_return_can_end_before_an_exploratory_action(cut: float, trusted: int, expected: list[float]) -> None:
    """The second action had 2 / 7 of the weight of the best one."""
    rewards = np.array([[1.0, 2.0, 4.0, 8.0]], dtype=np.float32)
    values = np.array([[100.0, 100.0, 100.0, 64.0]], dtype=np.float32)
    recorded = record(rewards, values, np.array([4]))
    recorded.policies[0, :] = [0.7, 0.2, 0.1, 0.0]
    recorded.actions[0, 1] = 1
    targets = empty_targets(1, 4)
    zero = np.zeros(1, dtype=np.int64)
    value_targets(recorded, zero, zero, 4, np.array([3]), 0.5, True, cut, trusted, targets)
    np.testing.assert_allclose(targets[0], expected)


def record(rewards, values, lengths) -> Recorded:
    """Steps without a search: no action is an exploratory one."""
    shape = rewards.shape
    return Recorded(rewards, values, np.zeros((*shape, 4), np.float32), np.zeros(shape, np.int8), lengths)


def test_a_known_case() -> None:
    rewards = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)
    values = np.array([[100.0, 100.0, 100.0]], dtype=np.float32)
    targets = empty_targets(1, 3)
    zero = np.zeros(1, dtype=np.int64)
    value_targets(record(rewards, values, np.array([3])), zero, zero, 3, np.array([2]), 0.5, False, 0.0, 0, targets)
    np.testing.assert_allclose(targets[0], [1 + 1 + 25, 2 + 2, 4])


def test_older_samples_look_less_far() -> None:
    ages = np.array([0, 1, 2, 3, 4, 100])
    np.testing.assert_array_equal(corrected_td_steps(10, ages, 0.0), 10)
    np.testing.assert_array_equal(corrected_td_steps(3, ages, 2.0), [3, 3, 2, 2, 1, 1])

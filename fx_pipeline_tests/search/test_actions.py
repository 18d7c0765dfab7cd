"""From visit counts to actions."""

import numpy as np
import pytest

from fx_pipeline.search import select_actions

VISITS = np.array([[10, 5, 5, 5], [0, 12, 13, 0], [8, 8, 8, 1], [25, 0, 0, 0]], dtype=np.int32)


def test_temperature_zero_takes_the_most_visited_and_the_first_of_equals():
    np.testing.assert_array_equal(select_actions(VISITS, 0.0, seed=0, counters=None), [0, 2, 0, 0])
    np.testing.assert_array_equal(select_actions(VISITS, 1e-300, seed=0, counters=None)[[0, 1, 3]], [0, 2, 0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_actions_are_drawn_in_proportion(temperature):
    count = 20_000
    visits = np.tile([[16, 8, 0, 1]], (count, 1))
    actions = select_actions(visits, temperature, seed=7, counters=None)
    expected = np.array([16.0, 8.0, 0.0, 1.0]) ** (1 / temperature)
    frequencies = np.bincount(actions, minlength=4) / count
    np.testing.assert_allclose(frequencies, expected / expected.sum(), atol=0.015)
    assert frequencies[2] == 0.0


def test_a_row_depends_on_seed_and_counter_alone():
    rng = np.random.default_rng(0)
    visits = rng.integers(0, 9, (50, 4)) + 1
    counters = rng.integers(0, 2**60, 50)
    whole = select_actions(visits, 1.0, seed=1, counters=counters)
    single = [select_actions(visits[i : i + 1], 1.0, seed=1, counters=counters[i : i + 1])[0] for i in range(50)]
    np.testing.assert_array_equal(whole, single)
    assert not np.array_equal(whole, select_actions(visits, 1.0, seed=2, counters=counters))


def test_each_row_can_have_its_own_temperature():
    visits = np.tile([[13, 12]], (400, 1))
    temperatures = np.where(np.arange(400) < 200, 0.0, 1.0)
    actions = select_actions(visits, temperatures, seed=0, counters=None)
    assert (actions[:200] == 0).all()
    assert 60 < actions[200:].sum() < 140


def test_refusals():
    with pytest.raises(ValueError, match="no visit at all in row 1"):
        select_actions(np.array([[1, 0], [0, 0]]), 1.0, seed=0, counters=None)
    with pytest.raises(ValueError, match="integers of shape"):
        select_actions(np.array([[0.5, 0.5]]), 1.0, seed=0, counters=None)
    with pytest.raises(ValueError, match="not be negative"):
        select_actions(np.array([[2, -1]]), 1.0, seed=0, counters=None)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature"):
            select_actions(VISITS, temperature, seed=0, counters=None)
    with pytest.raises(ValueError, match="temperature must be one number"):
        select_actions(VISITS, np.ones(3), seed=0, counters=None)

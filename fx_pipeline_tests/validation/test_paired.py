"""The paired test: it tells a better challenger, does not tell luck, and knows what it cannot tell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.paired import PairedTest, paired_test


def of(challenger: object, champion: object, runs: int = 2_000, seed: int = 1) -> PairedTest:
    found = paired_test(challenger, champion, runs=runs, seed=seed)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_independent_sessions_give_the_p_value_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    champion = rng.normal(0.0, 20.0, 400)
    challenger = champion + rng.normal(0.25, 5.0, 400)
    found = of(challenger, champion, runs=20_000)
    expected = stats.ttest_rel(challenger, champion, alternative="greater").pvalue
    assert 0.01 < expected < 0.3
    assert found.p_value == pytest.approx(expected, abs=0.02)
    assert found.mean_difference_pips == pytest.approx((challenger - champion).mean())
    assert (found.challenger_pips, found.champion_pips) == pytest.approx((challenger.sum(), champion.sum()))
    assert found.better_sessions + found.worse_sessions == found.sessions == 400


def test_what_the_market_does_to_both_cancels() -> None:
    """Two dozen pips of noise a session hide half a pip; the difference session by session shows it."""
    rng = np.random.default_rng(5)
    market = rng.normal(0.0, 25.0, 120)
    challenger, champion = market + 0.5 + rng.normal(0, 1, 120), market + rng.normal(0, 1, 120)
    assert of(challenger, champion).p_value < 0.01
    assert stats.ttest_ind(challenger, champion, alternative="greater").pvalue > 0.2


def test_challengers_that_are_no_better_are_called_better_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(11)
    p_values = [of(*rng.normal(0.0, 10.0, (2, 80)), runs=400, seed=k).p_value for k in range(400)]
    called = sum(p < 0.05 for p in p_values)
    # Binomial: 20 expected, standard deviation 4.4; the bootstrap of 80 sessions is a little too bold.
    assert 6 <= called <= 38
    assert 0.42 < np.mean(p_values) < 0.58


def test_sessions_that_resemble_their_neighbours_count_for_less() -> None:
    rng = np.random.default_rng(2)
    differences = np.empty(600)
    level = 0.0
    for k, shock in enumerate(rng.normal(0.0, 1.0, 600)):
        level = 0.8 * level + shock
        differences[k] = level
    differences += 0.25 - differences.mean()
    found = of(differences, np.zeros(600))
    assert found.block_length > 5
    assert found.p_value > 3 * stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue


def test_the_same_model_twice_is_no_better_than_itself() -> None:
    found = of(np.arange(20.0), np.arange(20.0))
    assert found.p_value == 1.0 and found.interval_pips == (0.0, 0.0)
    assert found.better_sessions == found.worse_sessions == 0


def test_always_better_by_the_same_is_better() -> None:
    assert of(np.arange(20.0) + 0.1, np.arange(20.0)).p_value == pytest.approx(1 / 2_001)
    assert of(np.arange(20.0), np.arange(20.0) + 0.1).p_value == 1.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=8, max_size=60), st.integers(0, 5))
def test_interval_and_p_value_say_the_same(differences: list[float], seed: int) -> None:
    found = of(differences, [0.0] * len(differences), runs=500, seed=seed)
    low, high = found.interval_pips
    assert low <= high and 0 < found.p_value <= 1
    if found.p_value < 0.02:
        assert low >= -1e-9
    if low > 1e-9:
        assert found.p_value < 0.03


def test_the_seed_decides_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    pair = rng.normal(0, 1, (2, 50))
    assert of(*pair, seed=4) == of(*pair, seed=4) != of(*pair, seed=5)


def test_too_few_sessions_tell_nothing() -> None:
    assert paired_test(np.ones(7), np.zeros(7), runs=100, seed=0) is None
    assert paired_test([], [], runs=100, seed=0) is None


@pytest.mark.parametrize(
    ("challenger", "champion", "says"),
    [
        (np.ones(9), np.ones(8), "the same sessions"),
        (np.ones((3, 3)), np.ones((3, 3)), "the same sessions"),
        ([*np.ones(8), np.nan], np.ones(9), "not finite"),
    ],
)
def test_lists_that_do_not_belong_together_are_refused(challenger: object, champion: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        of(challenger, champion)

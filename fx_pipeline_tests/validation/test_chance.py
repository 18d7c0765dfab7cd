"""Seeds that nobody chooses, and bounds on p-values."""

import pytest
from scipy.stats import binom

from fx_pipeline.validation.chance import cautious_size, judge_seed, upper_bound


def test_a_seed_depends_on_the_data_and_the_purpose_alone():
    seeds = {judge_seed(data, purpose) for data in ("a", "b") for purpose in ("equity", "family")}
    assert len(seeds) == 4 and all(0 <= seed < 2**63 for seed in seeds)
    # The same on every machine.
    assert judge_seed("a", "equity") == 4_181_248_986_422_238_779


@pytest.mark.parametrize(("hits", "runs"), [(0, 10_000), (471, 10_000), (500, 10_000), (3, 10)])
def test_the_bound_is_the_largest_probability_that_could_have_shown_so_few(hits, runs):
    bound = upper_bound(hits, runs)
    assert bound > hits / runs
    assert binom.cdf(hits, runs, bound) == pytest.approx(0.05)


def test_every_draw_that_hits_says_nothing_and_a_share_beyond_one_is_refused():
    assert upper_bound(10, 10) == 1.0
    with pytest.raises(ValueError, match="no share"):
        upper_bound(11, 10)


@pytest.mark.parametrize("runs", [100, 10_000])
def test_a_cautious_size_is_the_last_whose_bound_holds(runs):
    hits = round(cautious_size(0.05, runs) * runs)
    assert upper_bound(hits, runs) <= 0.05 < upper_bound(hits + 1, runs)


def test_the_issues_re_rolling_gains_nothing():
    """Near 0.06 some number of runs passed in 27 of 40 cases; the bound of no number of runs does."""
    passed = sum(
        min(upper_bound(int(binom.rvs(runs, 0.06, random_state=case)), runs) for runs in (10_000, 12_000, 20_000))
        <= 0.05
        for case in range(40)
    )
    assert passed == 0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import stationary_indices
from fx_pipeline.validation.safe_f import RiskLimits, safe_f, safe_f_of_sequences, trade_returns

TINY = [[0.02, -0.01, 0.03, -0.02, 0.01], [-0.03, 0.02, -0.01, 0.04, 0], [0.01, 0.01, -0.05, 0.02, 0.02]]
TINY.append([0, -0.02, 0.03, 0.01, -0.01])
TWO_YEARS = RiskLimits(trades=504, years=2)


@pytest.fixture(scope="module")
def series(lcg_normals):
    return 0.0004 + 0.006 * lcg_normals(500, 20260101)


@pytest.fixture(scope="module")
def dependent(lcg_normals):
    innovations, values = lcg_normals(500, 7), np.zeros(500)
    for t in range(1, 500):
        values[t] = 0.5 * values[t - 1] + innovations[t]
    return values


def test_the_exact_example():
    found = safe_f_of_sequences(TINY, RiskLimits(trades=5, years=1, tolerance=0.10, tail=0.25))
    assert found.fraction == pytest.approx(2.857142857, abs=1e-8)
    assert found.tail_drawdown == pytest.approx(0.10, abs=1e-10)
    assert found.twr25 == pytest.approx(1.020483370, abs=1e-9)
    assert found.car25 == pytest.approx(0.020483370, abs=1e-9)
    assert found.limited_by == "drawdown"


def test_a_fraction_of_one_has_the_drawdowns_and_wealth_of_the_example():
    found = safe_f_of_sequences(TINY, RiskLimits(trades=5, years=1, tolerance=0.5, tail=0.25, max_fraction=1.0))
    assert (found.fraction, found.limited_by) == (1.0, "leverage")
    assert found.tail_drawdown == pytest.approx(0.035, abs=1e-12)
    assert found.twr25 == pytest.approx(np.percentile([1.0294850412, 1.01868624, 1.008246438, 1.00929906], 25))


def test_series_a_agrees_with_bandys_package(series):
    # His package, 1000 x 4 paths: 0.838 +- 0.018 and 14.67 +- 0.51 %; twelve sets of 2,000: 0.8393 and 14.82 %.
    found = safe_f(series, TWO_YEARS, seed=1, runs=2_000, sets=8, block=1)
    assert found.safe_f == pytest.approx(0.8393, abs=3 * 0.0103 / np.sqrt(8) + 3 * 0.0103 / np.sqrt(12))
    assert found.car25 == pytest.approx(0.1482, abs=3 * 0.0032 / np.sqrt(8) + 3 * 0.0032 / np.sqrt(12))
    assert 0.004 < found.safe_f_sd < 0.025
    assert all(one.tail_drawdown == pytest.approx(0.10, abs=1e-8) for one in found.sets)


def test_a_losing_system_loses_at_any_size(series):
    found = safe_f(series - 2 * series.mean(), TWO_YEARS, seed=1, runs=2_000, sets=4, block=1)
    assert found.safe_f == pytest.approx(0.152, abs=0.01)
    assert found.car25 == pytest.approx(-0.0392, abs=0.003)


def test_blocks_keep_the_streaks_that_iid_breaks_up(dependent):
    # The reference gives the dependence, and 0.958 / 11.19 % against 0.542 / 5.03 %; the scale fits those figures.
    returns = 0.0006 + 0.0047 * (dependent - dependent.mean())
    iid, blocks = (safe_f(returns, TWO_YEARS, seed=1, runs=2_000, sets=2, block=block) for block in (1, None))
    assert blocks.block_length == pytest.approx(8.077924532378024, abs=1e-9)
    assert blocks.safe_f / iid.safe_f == pytest.approx(0.5423 / 0.9582, abs=0.03)
    assert iid.car25 == pytest.approx(0.1119, abs=0.01)
    assert blocks.car25 == pytest.approx(0.0503, abs=0.01)


def test_sequences_and_resampling_agree_on_the_same_paths(series):
    limits = RiskLimits(trades=300, years=1)
    found = safe_f(series, limits, seed=5, runs=400, sets=1, block=4.0)
    seed = int(np.random.SeedSequence(5).generate_state(1)[0])
    paths = series[stationary_indices(500, 400, 4.0, seed, steps=300)]
    one = safe_f_of_sequences(paths, limits)
    # The cap follows from the worst trade drawn; here the drawdown decides.
    assert found.sets[0].limited_by == one.limited_by == "drawdown"
    assert found.safe_f == pytest.approx(one.fraction, rel=1e-8)
    assert found.car25 == pytest.approx(one.car25, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=30), st.integers(0, 99))
def test_the_drawdown_tail_stays_within_the_tolerance_and_is_exhausted(returns, seed):
    limits = RiskLimits(trades=20, years=1, tolerance=0.2)
    one = safe_f(returns, limits, seed=seed, runs=100, sets=1).sets[0]
    assert one.tail_drawdown <= 0.2 + 1e-6
    if one.limited_by == "drawdown":
        assert one.tail_drawdown == pytest.approx(0.2, abs=1e-6)
    assert 0 < one.fraction <= limits.max_fraction


def test_winners_only_are_limited_by_leverage():
    found = safe_f([0.001] * 10, RiskLimits(trades=10, years=1, max_fraction=5), seed=1, runs=10, sets=1)
    assert (found.safe_f, found.sets[0].limited_by, found.safe_f_sd) == (5.0, "leverage", 0.0)
    assert found.car25 == pytest.approx(1.005**10 - 1)


def test_the_worst_trade_caps_a_rare_disaster():
    # So rare that the tail's percentile does not see it: the capital must still outlive it.
    returns = [0.001] * 999 + [-0.5]
    found = safe_f(returns, RiskLimits(trades=5, years=1), seed=1, runs=200, sets=1, block=1)
    assert found.sets[0].limited_by == "worst trade"
    assert found.safe_f == pytest.approx(1.998)


def test_trade_returns_are_fractions_of_the_position():
    assert trade_returns([10.0, -20.0], [150.0, 200.0], 0.01) == pytest.approx([0.1 / 150, -0.2 / 200])
    with pytest.raises(DataError):
        trade_returns([1.0], [0.0], 0.01)


@pytest.mark.parametrize(("returns", "runs"), [([], 10), ([0.1, np.nan], 10), ([0.1], 0)])
def test_bad_input_is_refused(returns, runs):
    with pytest.raises(DataError):
        safe_f(returns, TWO_YEARS, seed=1, runs=runs)


@pytest.mark.parametrize("change", [{"trades": 0}, {"years": 0}, {"tolerance": 1.0}, {"tail": 0.0}])
def test_limits_that_mean_nothing_are_refused(change):
    with pytest.raises(DataError):
        RiskLimits(**{"trades": 10, "years": 1.0, **change})

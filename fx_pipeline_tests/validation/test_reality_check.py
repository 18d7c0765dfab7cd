import math

import numpy as np
import pytest
from arch.bootstrap import SPA, StepM

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.reality_check import long_run_deviation, snooping_tests

RUNS = 10_000
VOLATILITY = np.array([0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.010, 0.012, 0.014, 0.02])
MEAN = np.array([0.0004, 0.0003, 0, -0.0002, 0.0001, -0.001, -0.002, -0.003, -0.004, -0.006])


@pytest.fixture(scope="module")
def candidates(lcg_normals):
    return np.array([MEAN[i] + VOLATILITY[i] * lcg_normals(500, 2000 + i) for i in range(10)]).T


@pytest.fixture(scope="module")
def plain(candidates):
    return snooping_tests(candidates, RUNS, seed=20260101, block=10, studentise=False)


def _near(p):
    # Two independent sets of resamples differ by both their errors.
    return pytest.approx(p, abs=3 * math.sqrt(2 * max(p * (1 - p), 1e-4) / RUNS))


def test_the_plain_variants_agree_with_arch(plain):
    assert plain.spa_lower_p == _near(0.0104)
    assert plain.spa_consistent_p == _near(0.0115)
    assert plain.spa_upper_p == _near(0.3408)
    assert plain.reality_check_p == _near(0.3408)
    assert plain.superior == (0,)
    assert plain.best == 0


def test_the_plain_variants_agree_with_arch_on_other_candidates(lcg_normals):
    values = np.array([0.0002 * i + 0.006 * lcg_normals(300, 300 + i) for i in range(-2, 4)]).T
    ours = snooping_tests(values, 4_000, seed=1, block=5, studentise=False, size=0.1)
    peer = StepM(np.zeros(300), -values, size=0.1, block_size=5, reps=4_000, studentize=False, seed=2)
    peer.compute()
    p = peer.spa
    p.compute()
    assert ours.spa_lower_p == pytest.approx(p.pvalues["lower"], abs=0.03)
    assert ours.spa_consistent_p == pytest.approx(p.pvalues["consistent"], abs=0.03)
    assert ours.spa_upper_p == pytest.approx(p.pvalues["upper"], abs=0.03)
    assert list(ours.superior) == list(peer.superior_models)


def test_the_studentised_test_is_not_drowned_by_terrible_candidates(candidates, plain):
    found = snooping_tests(candidates, RUNS, seed=20260101, block=10)
    assert found.statistic == pytest.approx(4.447215701693011, abs=1e-9)
    assert max(found.spa_lower_p, found.spa_consistent_p, found.spa_upper_p) < 1e-3
    assert found.reality_check_p == plain.reality_check_p
    assert found.superior == (0,)


def test_the_long_run_deviation_is_that_of_the_resampled_mean(candidates):
    spa = SPA(np.zeros(500), -candidates, block_size=10)
    spa._compute_variance()
    assert long_run_deviation(candidates, 10) == pytest.approx(np.sqrt(spa._loss_diff_var), rel=1e-12)
    assert long_run_deviation(candidates, 1) == pytest.approx(candidates.std(axis=0), rel=1e-12)


def test_worthless_candidates_are_rarely_called_superior(lcg_normals):
    noise = np.array([lcg_normals(120, 7000 + i) for i in range(400)]).reshape(40, 10, 120)
    found = [snooping_tests(part.T, 400, seed=i, block=1) for i, part in enumerate(noise)]
    # 5 % of 40 is 2; 7 or more have a probability of 0.3 %.
    assert sum(test.spa_consistent_p <= 0.05 for test in found) < 7
    assert sum(bool(test.superior) for test in found) < 7


def test_step_down_finds_more_than_the_first_step():
    rng = np.random.default_rng(4)
    # The wild one is clearly good, and hides the calm one until it is set aside.
    values = np.column_stack([rng.normal(6.0, 20.0, 400), rng.normal(0.17, 1.0, 400), rng.normal(-0.5, 1.0, 400)])
    assert snooping_tests(values, 2_000, seed=1, block=1, studentise=False).superior == (0, 1)


def test_candidates_that_never_trade_take_no_part(candidates):
    flat = np.insert(candidates, 1, 0.0, axis=1)
    with_flat = snooping_tests(flat, 500, seed=3, block=10)
    without = snooping_tests(candidates, 500, seed=3, block=10)
    assert with_flat.unmoved == (1,) and with_flat.superior == (0,)
    assert with_flat.spa_upper_p == without.spa_upper_p
    assert snooping_tests(np.zeros((50, 3)), 500, seed=3) is None


def test_only_losers_are_not_superior(candidates):
    found = snooping_tests(candidates[:, 5:], 1_000, seed=3, block=10)
    assert found.statistic == 0.0 and found.superior == ()
    # The best of them has a mean below 0, which half of its resamples exceed: nothing that reads as significant.
    assert found.spa_lower_p > 0.3 and found.spa_consistent_p > 0.3
    assert found.spa_upper_p > 0.9 and found.reality_check_p > 0.9


@pytest.mark.parametrize("losers", [slice(3, 4), slice(5, 10), slice(8, 10)])
def test_p_values_of_losers_agree_with_arch(candidates, losers):
    values = candidates[:, losers]
    assert (values.mean(axis=0) < 0).all()
    ours = snooping_tests(values, 4_000, seed=1, block=10, studentise=False)
    peer = SPA(np.zeros(500), -values, block_size=10, reps=4_000, studentize=False, seed=2)
    peer.compute()
    found = [ours.spa_lower_p, ours.spa_consistent_p, ours.spa_upper_p]
    assert found == pytest.approx([peer.pvalues[name] for name in ("lower", "consistent", "upper")], abs=0.035)


@pytest.mark.parametrize("values", [np.zeros(20), np.zeros((5, 2)), np.full((20, 2), np.inf), np.zeros((20, 0))])
def test_bad_input_is_refused(values):
    with pytest.raises(DataError):
        snooping_tests(values, 10, seed=1)

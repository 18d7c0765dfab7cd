import math

import numpy as np
import pytest

from fx_pipeline.validation.significance import (
    SharpeMoments,
    deflated_sharpe,
    effective_trials,
    expected_max_sharpe,
    expected_max_z,
    min_track_record,
    probabilistic_sharpe,
    sharpe_moments,
)


@pytest.fixture(scope="module")
def series(lcg_normals):
    return 0.0004 + 0.006 * lcg_normals(500, 20260101)


@pytest.fixture(scope="module")
def trials(lcg_normals):
    return [0.006 * lcg_normals(500, 1000 + i) + 0.0001 * (i - 3) for i in range(10)]


def test_moments(series):
    assert series[0] == -0.006530667089298368
    moments = sharpe_moments(series)
    assert moments.sharpe == pytest.approx(0.1371941671392291, abs=1e-12)
    assert moments.skew == pytest.approx(-0.10548518033474022, abs=1e-12)
    assert moments.kurtosis == pytest.approx(3.162282965674376, abs=1e-12)


def test_psr_agrees_with_skfolio(series):
    assert probabilistic_sharpe(sharpe_moments(series)) == pytest.approx(0.9987674892605872, abs=1e-9)


def test_deflated_sharpe_agrees_with_skfolio_and_nearly_with_ffn(series, trials):
    sharpes = [sharpe_moments(trial).sharpe for trial in trials]
    best = int(np.argmax(sharpes))
    assert best == 5
    of_series = deflated_sharpe(sharpe_moments(series), 10, sharpes)
    of_best = deflated_sharpe(sharpe_moments(trials[best]), 10, sharpes)
    assert of_series.benchmark == pytest.approx(0.04470190231047619, abs=1e-12)
    assert of_series.probability == pytest.approx(0.9793805670793171, abs=1e-9)
    assert of_best.probability == pytest.approx(0.9025370378163318, abs=1e-9)
    assert of_best.probability == pytest.approx(0.9025303591751295, abs=1e-4)


@pytest.mark.parametrize(("count", "benchmark", "dsr"), [(100, 0.1131720, 0.9003968), (46, 0.1003624, 0.9505017)])
def test_the_example_of_the_dsr_paper(count, benchmark, dsr):
    moments = SharpeMoments(2.5 / math.sqrt(250), 1250, -3, 10)
    found = expected_max_sharpe(count, 0.5 / 250)
    assert found == pytest.approx(benchmark, abs=1e-7)
    assert probabilistic_sharpe(moments, found) == pytest.approx(dsr, abs=1e-7)


def test_the_example_of_the_psr_paper():
    assert probabilistic_sharpe(SharpeMoments(0.458, 24, -2.448, 10.164)) == pytest.approx(0.9133611, abs=1e-7)
    assert probabilistic_sharpe(SharpeMoments(0.458, 24)) == pytest.approx(0.9816749, abs=1e-7)


@pytest.mark.parametrize(("count", "z"), [(10, 1.5745983), (45, 2.2356402), (100, 2.5306029), (1000, 3.2551215)])
def test_expected_maximum(count, z):
    assert expected_max_z(count) == pytest.approx(z, abs=1e-7)


def test_min_track_record_is_where_psr_reaches_the_confidence(series):
    moments = sharpe_moments(series)
    length = min_track_record(moments)
    assert 148 < length < 149
    at_length = SharpeMoments(moments.sharpe, length, moments.skew, moments.kurtosis)
    assert probabilistic_sharpe(at_length) == pytest.approx(0.95, abs=1e-12)
    assert min_track_record(SharpeMoments(-0.1, 50)) is None


def test_one_trial_is_not_deflated(series):
    moments = sharpe_moments(series)
    alone = deflated_sharpe(moments, 1, [moments.sharpe])
    assert (alone.benchmark, alone.probability) == (0.0, probabilistic_sharpe(moments))


def test_more_trials_deflate_more_even_without_scores(series):
    moments = sharpe_moments(series)
    few, many = deflated_sharpe(moments, 2), deflated_sharpe(moments, 200)
    assert few.variance_source == "sampling"
    assert many.probability < few.probability < probabilistic_sharpe(moments)


def test_alike_trials_measure_less_than_chance_would():
    moments = SharpeMoments(0.12, 250)
    alike = [0.12, 0.118, 0.121, 0.119]
    assert deflated_sharpe(moments, 40, alike).probability > 0.96
    by_chance = deflated_sharpe(moments, 40)
    assert by_chance.variance_source == "sampling" and by_chance.variance == 1 / 249
    assert by_chance.probability < 0.4


def test_series_without_a_sharpe_ratio():
    assert sharpe_moments([]) is None
    assert sharpe_moments([1.0]) is None
    assert sharpe_moments([0.1] * 9) is None


def test_effective_trials_are_between_one_and_all(trials):
    scores = np.array(trials).T
    correlation = np.corrcoef(scores.T)[np.triu_indices(10, 1)].mean()
    # The reference trials are independent; their mean correlation is small.
    assert effective_trials(scores) == pytest.approx(max(correlation, 0) + (1 - max(correlation, 0)) * 10, abs=1e-9)
    assert effective_trials(np.tile(scores[:, :1], 7)) == pytest.approx(1.0)
    assert effective_trials(scores[:, :1]) == 1.0
    common = scores + 10 * scores[:, :1]
    assert 1.0 < effective_trials(common) < 1.5
    assert effective_trials(np.zeros((5, 3))) == 3.0
    with pytest.raises(ValueError, match="trial"):
        effective_trials([1.0, 2.0])


def test_an_effective_number_of_trials_deflates_less(series, trials):
    moments = sharpe_moments(series)
    sharpes = [sharpe_moments(trial).sharpe for trial in trials]
    full, effective = deflated_sharpe(moments, 10, sharpes), deflated_sharpe(moments, 3.4, sharpes)
    assert full.probability < effective.probability < probabilistic_sharpe(moments)
    assert expected_max_z(1.0) == expected_max_z(1.1) == 0.0 < expected_max_z(1.5)

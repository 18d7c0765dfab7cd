import numpy as np
import pytest

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.pbo import overfitting_probability

TINY = np.array([[1, 2, -1], [2, -1, 0], [-1, 3, 1], [0, 1, 2], [3, -2, 1], [1, 0, -2], [2, 1, 3], [-2, 2, 0]]) / 100


@pytest.fixture(scope="module")
def trials(lcg_normals):
    return np.array([0.006 * lcg_normals(500, 1000 + i) + 0.0001 * (i - 3) for i in range(10)]).T


@pytest.fixture(scope="module")
def noise(lcg_normals):
    return np.array([0.006 * lcg_normals(512, 5000 + i) for i in range(20)]).T


@pytest.mark.parametrize(
    ("blocks", "probability", "logit", "splits"),
    [
        (4, 0.6666666666666666, -0.9878210043284016, 6),
        (8, 0.37142857142857144, 0.25950142782360425, 70),
        (16, 0.4597513597513598, 0.03413610239347036, 12870),
    ],
)
def test_pbo_agrees_with_ffn(trials, blocks, probability, logit, splits):
    found = overfitting_probability(trials, blocks=blocks)
    assert found.probability == pytest.approx(probability, abs=1e-15)
    assert found.mean_logit == pytest.approx(logit, abs=1e-12)
    assert (found.splits, found.blocks, found.candidates, found.interval) == (splits, blocks, 10, None)


def test_a_logit_of_zero_counts_as_overfitting():
    found = overfitting_probability(TINY, blocks=4)
    assert found.probability == 1.0
    assert found.mean_logit == pytest.approx(-0.7324081924454066, abs=1e-12)


def test_noise_is_overfit_and_skill_is_not(noise):
    assert overfitting_probability(noise, blocks=8).probability == pytest.approx(0.6714285714285714, abs=1e-15)
    skilled = noise + 0.0015 * (np.arange(20) == 4)
    found = overfitting_probability(skilled, blocks=8)
    assert found.probability == 0.0
    assert found.mean_logit == pytest.approx(2.9957322735539895, abs=1e-12)


def test_a_large_common_mean_costs_no_digits(trials):
    # Sums of squares about 0 would leave nothing of a spread of 0.006 at 1e5.
    shifted = overfitting_probability(trials * 1e3, blocks=8)
    assert shifted.probability == overfitting_probability(trials, blocks=8).probability
    assert shifted.mean_logit == pytest.approx(0.25950142782360425, abs=1e-12)


def test_the_interval_shows_how_noisy_the_figure_is(trials, noise):
    found = overfitting_probability(trials, blocks=8, resamples=100, seed=1)
    low, high = found.interval
    assert 0 <= low < found.probability < high <= 1 and high - low > 0.2
    assert overfitting_probability(trials, blocks=8, resamples=100, seed=1) == found
    skilled = noise + 0.003 * (np.arange(20) == 4)
    assert overfitting_probability(skilled, blocks=8, resamples=50, seed=1).interval == (0.0, 0.0)


def test_a_half_without_variance_is_neither_good_nor_bad():
    days = np.random.default_rng(1).normal(0, 0.1, 80)
    never_trades = np.column_stack([np.zeros(80), days + 1, days - 1])
    assert overfitting_probability(never_trades, blocks=4).mean_logit == pytest.approx(np.log(3))
    # The first candidate would be chosen on the half on which it never varies, and be the worst on the other.
    frozen = np.column_stack([np.where(np.arange(80) < 40, 99.0, days - 2), days + 1, days - 1])
    assert overfitting_probability(frozen, blocks=2).probability == 0.0
    assert overfitting_probability(np.zeros((16, 3)), blocks=4).probability == 1.0


@pytest.mark.parametrize(
    ("scores", "blocks"), [(TINY[:, :1], 4), (TINY, 3), (TINY, 8), (TINY[0], 4), (np.full((8, 2), np.nan), 4)]
)
def test_bad_input_is_refused(scores, blocks):
    with pytest.raises(DataError):
        overfitting_probability(scores, blocks=blocks)

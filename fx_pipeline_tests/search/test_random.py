"""The counter-based generator: numpy's Philox to the bit, and distributions that are what they are called."""

import numpy as np
import pytest
from scipy import stats

from fx_pipeline.search import dirichlet_noise
from fx_pipeline.search.random import STREAM_CHANCE, philox, uniform


def test_philox_is_that_of_numpy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        seed, counter, index, sub, stream = rng.integers(0, 2**64 - 1, 5, dtype=np.uint64)
        key = np.array([seed, counter], dtype=np.uint64)
        reference = np.random.Philox(key=key, counter=np.array([index, sub, stream, 0], dtype=np.uint64))
        # numpy advances the counter before it draws.
        ours = philox(seed, counter, index + np.uint64(1), sub, stream)
        assert tuple(int(word) for word in ours) == tuple(int(word) for word in reference.random_raw(4))


def test_uniform_is_uniform():
    draws = [uniform(np.uint64(1), np.uint64(n), np.uint64(0), np.uint64(0), STREAM_CHANCE) for n in range(4000)]
    assert min(draws) > 0.0
    assert max(draws) < 1.0
    assert stats.kstest(draws, "uniform").pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
def test_dirichlet_has_beta_marginals(alpha):
    noise = dirichlet_noise(alpha, 4, seed=3, counters=np.arange(4000))
    np.testing.assert_allclose(noise.sum(axis=1), 1.0, rtol=1e-12)
    for action in range(4):
        assert stats.kstest(noise[:, action], stats.beta(alpha, 3 * alpha).cdf).pvalue > 0.001
    correlation = np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]
    assert abs(correlation + 1 / 3) < 0.06


def test_dirichlet_of_a_tiny_concentration_is_finite():
    noise = dirichlet_noise(1e-4, 4, seed=0, counters=np.arange(500))
    assert np.isfinite(noise).all()
    np.testing.assert_allclose(noise.max(axis=1), 1.0, atol=0.5)


def test_dirichlet_row_depends_on_seed_and_counter_alone():
    counters = np.array([5, 2**40, 7], dtype=np.uint64)
    noise = dirichlet_noise(0.3, 4, seed=1, counters=counters)
    np.testing.assert_array_equal(noise[::-1], dirichlet_noise(0.3, 4, seed=1, counters=counters[::-1]))
    np.testing.assert_array_equal(noise[1:2], dirichlet_noise(0.3, 4, seed=1, counters=counters[1:2]))
    assert not np.array_equal(noise, dirichlet_noise(0.3, 4, seed=2, counters=counters))


def test_dirichlet_refuses_a_concentration_that_is_not_positive():
    with pytest.raises(ValueError, match="alpha"):
        dirichlet_noise(0.0, 4, seed=0, counters=np.arange(3))

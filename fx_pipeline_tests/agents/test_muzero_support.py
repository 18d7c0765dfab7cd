"""Two-hot values."""

import numpy as np
import pytest

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.support import bin_centres, decode, encode, inverse_transform, transform


def test_the_transform_has_its_inverse_and_its_reference_values() -> None:
    pips = np.array([-300.0, -4.0, -0.01, 0.0, 0.01, 1.0, 14.3, 300.0])
    np.testing.assert_allclose(inverse_transform(transform(pips)), pips, atol=1e-9)
    assert transform(3.0) == pytest.approx(1.003)


@pytest.mark.parametrize("preset", ["full", "small", "tiny"])
def test_round_trip_over_the_whole_support(preset: str) -> None:
    network = load_config(preset).network
    centres = bin_centres(network.bins, network.support_pips)
    assert len(centres) == network.bins
    np.testing.assert_array_equal(centres, -centres[::-1])
    pips = np.concatenate([np.linspace(-300, 300, 1201), centres])
    encoded = encode(pips, centres)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded.sum(axis=-1), 1.0, atol=1e-6)
    assert ((encoded > 0).sum(axis=-1) <= 2).all()
    np.testing.assert_allclose(decode(encoded, centres), pips, atol=2e-4)
    np.testing.assert_allclose(decode(encode(np.array([-1e6, 1e6]), centres), centres), [-300, 300], rtol=1e-6)


def test_the_mean_of_noisy_targets_is_read_back_without_bias() -> None:
    network = load_config("small").network
    centres = bin_centres(network.bins, network.support_pips)
    pips = np.random.default_rng(0).normal(60.0, 40.0, 20_000)
    assert decode(encode(pips, centres).mean(axis=0), centres) == pytest.approx(pips.mean(), abs=0.01)


@pytest.mark.parametrize("preset", ["full", "small"])
def test_typical_targets_fit_and_spread(preset: str) -> None:
    network = load_config(preset).network
    centres = bin_centres(network.bins, network.support_pips)
    random = np.random.default_rng(1)
    for values in (
        random.normal(0.0, 7.0, 10_000),
        random.normal(0.0, 30.0, 10_000),
        random.normal(60.0, 40.0, 10_000),
    ):
        assert (np.abs(values) < network.support_pips).mean() >= 0.99
        assert np.searchsorted(centres, values).std() >= 2.0


def test_the_axis_is_laid_out_in_units() -> None:
    network = load_config("full").network
    pips, units = bin_centres(network.bins, 300.0), bin_centres(network.bins, 300.0, 20.0)
    np.testing.assert_allclose(units, 20.0 * pips.astype(np.float64), rtol=1e-6)
    assert pips.tobytes() == bin_centres(network.bins, 300.0, 1.0).tobytes()
    value = np.array([4_321.0])
    assert decode(encode(value, units), units) == pytest.approx(value, rel=1e-5)
    assert decode(encode(value, pips), pips)[0] == pytest.approx(300.0)

"""The scattering coefficients against kymatio, and how old what they tell of is."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.features.wavelet67.entry import FEATURE_SET
from fx_pipeline.features.wavelet67.filters import Q1, WINDOW, J, bank
from fx_pipeline.features.wavelet67.kernel import WARMUP_BARS, compute, scatter
from fx_pipeline.market.timeframe import M1
from fx_pipeline_tests.features.markets import made_up_bars

GOLDEN = np.load(Path(__file__).with_name("golden_scattering.npz"))


def test_the_coefficients_are_those_of_kymatio() -> None:
    np.testing.assert_allclose(scatter(GOLDEN["windows"]), GOLDEN["coefficients"], atol=1e-12)


def test_the_golden_numbers_are_those_of_the_kymatio_that_is_here() -> None:
    pytest.importorskip("kymatio", reason="kymatio is in the dev extra: make setup.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kymatio.scattering1d.frontend.numpy_frontend import ScatteringNumPy1D

        transform = ScatteringNumPy1D(J=J, shape=WINDOW, Q=Q1, oversampling=J)
    found = transform(np.ascontiguousarray(GOLDEN["windows"][:, ::-1]))[..., -1]
    np.testing.assert_allclose(found, GOLDEN["coefficients"], atol=1e-9)
    seen = np.random.default_rng(3).standard_normal((20, WINDOW))
    wanted = transform(np.ascontiguousarray(seen[:, ::-1]))[..., -1]
    np.testing.assert_allclose(scatter(seen), wanted, atol=1e-9)


def test_there_are_1_22_and_44() -> None:
    filters = bank()
    assert (len(filters.first), len(filters.second), len(filters.paths)) == (22, 7, 44)
    assert len(FEATURE_SET) == 67 and WARMUP_BARS == 258
    # Each wavelet of the second order is slower than the one of the first that it follows.
    assert all(filters.second[b].octave > filters.first[a].octave for a, b in filters.paths.tolist())
    assert filters.weights.sum() == pytest.approx(1.0) and (filters.weights > 0).all()


def test_the_input_is_changes_over_their_root_mean_square() -> None:
    bars = made_up_bars(M1, WARMUP_BARS + 40)
    rows = compute(bars)
    changes = np.diff(bars.close)
    windows = np.stack([changes[t - WINDOW : t][::-1] for t in range(WINDOW, len(bars))])
    windows /= np.sqrt(np.mean(windows**2, axis=1, keepdims=True))
    np.testing.assert_allclose(rows[WARMUP_BARS - 1 :], scatter(windows), atol=1e-6)
    assert (compute(bars.since(0))[WARMUP_BARS - 1 :] == rows[WARMUP_BARS - 1 :]).all()


def test_threads_and_neighbours_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = made_up_bars(M1, WARMUP_BARS + 100)
    rows = compute(bars)
    monkeypatch.setattr("fx_pipeline.features.wavelet67.kernel._SPLIT", 10)
    monkeypatch.setattr("fx_pipeline.features.wavelet67.kernel._cores", lambda: 3)
    assert compute(bars).tobytes() == rows.tobytes()
    for first in (1, 7, 90):
        assert compute(bars.since(first))[WARMUP_BARS - 1 :].tobytes() == rows[first + WARMUP_BARS - 1 :].tobytes()


def ages_to_half(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bars after a step at which each coefficient (67,) has gone half of the way; 0 where the step does not move it."""
    # The window as it is `age` bars after the step: the newest `age` changes are of after.
    seen = np.stack([np.concatenate([after[WINDOW - age :], before[: WINDOW - age]]) for age in range(WINDOW + 1)])
    orders = scatter(seen)
    way = orders[-1] - orders[0]
    gone = np.divide(orders - orders[0], way, out=np.zeros_like(orders), where=np.abs(way) > 1e-3)
    return np.argmax(gone >= 0.5, axis=0)


def test_the_delay_of_a_step() -> None:
    """The average is half a Gaussian of 102 bars: half of a step has arrived after about 67 bars."""
    ages = ages_to_half(np.zeros(WINDOW), np.ones(WINDOW))
    assert 60 <= ages[0] <= 70
    # A step of volatility is in the coefficients of the first order after as long; in the fast ones at least.
    noise = np.random.default_rng(5).standard_normal(WINDOW)
    ages = ages_to_half(noise, 3.0 * noise)
    assert 45 <= np.median(ages[1:10]) <= 90
    # A frame of kymatio's own grid would lie up to 63 bars further back: the weight of the newest bar is the largest.
    assert bank().weights[1:].argmax() == 0


def test_nothing_moving_is_nothing() -> None:
    assert (scatter(np.zeros((2, WINDOW))) == 0.0).all()

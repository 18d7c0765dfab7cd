"""The scattering transform at the newest bar of each window: a window of the past alone, mirrored at its ends.

Input are the last 257 changes of the close, divided by their root mean square: closes are a path whose slowest motion
hides all others, while changes have about as much of each scale, and what differs between instruments and years goes
with the division. The mean is not taken off: which way the price went is all that tells the sides apart (order 0).

257 changes are not one of many lengths. Mirrored at both ends they have a period of just 512 and are even around the
newest and the oldest change, so that transforms are real and half as long, and the output at the newest bar is a
weighted sum. Orders: the average of the input; of its modulus after each of 22 wavelets; of the modulus of those after
the slower of 7 wavelets, 44 paths. Nothing is thinned out in between, as of kymatio with `oversampling=6`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt
from scipy import fft

from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.wavelet67.filters import WINDOW, bank

Float64 = npt.NDArray[np.float64]

COEFFICIENTS = 1 + len(bank().first) + len(bank().paths)
#: Closes that a row reads.
WARMUP_BARS = WINDOW + 1
#: Windows that are transformed at a time: what they take stays in the second cache. There are always as many, so that a
#: window's row does not depend on its neighbours, to the bit.
_GROUP = 16
#: Fewest windows for which a second thread is worth it.
_SPLIT = 2_048
#: Wavelets of the first order that have paths of the second.
_PARENTS = int(bank().paths[:, 0].max()) + 1


def compute(bars: Bars) -> npt.NDArray[np.float32]:
    """Compute the coefficients of each bar, (T, 67): order 0, the 22 of order 1, the 44 of order 2."""
    rows = np.full((len(bars), COEFFICIENTS), np.nan, dtype=np.float32)
    first, last = WARMUP_BARS - 1, len(bars)
    threads = _cores() if last - first >= _SPLIT else 1
    if threads == 1:
        _fill(bars.close, rows, first, last)
    else:
        ends = np.linspace(first, last, threads + 1).astype(np.int64).tolist()
        with ThreadPoolExecutor(threads) as pool:
            parts = [pool.submit(_fill, bars.close, rows, a, b) for a, b in pairwise(ends)]
        for part in parts:
            part.result()
    return rows


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fill(close: Float64, rows: npt.NDArray[np.float32], first: int, last: int) -> None:
    windows = np.zeros((_GROUP, WINDOW))
    for begin in range(first, last, _GROUP):
        end = min(begin + _GROUP, last)
        _windows(close, begin, end, windows)
        rows[begin:end] = scatter(windows)[: end - begin]


def scatter(windows: Float64) -> Float64:
    """Transform windows of changes.

    Parameters
    ----------
    windows : (B, 257) float64
        By age: the newest change first.

    Returns
    -------
    (B, 67) float64
    """
    filters = bank()
    size, orders = len(windows), np.empty((len(windows), COEFFICIENTS))
    firsts, paths = len(filters.first), filters.paths
    _average(windows.reshape(size, 1, WINDOW), filters.weights, orders, 0)
    spectra = fft.dct(windows, type=1).reshape(size, 1, WINDOW)
    own = np.zeros(firsts, dtype=np.int64)
    bands = fft.rfft(_filtered(spectra, own, filters.first_filters, np.arange(firsts)))
    envelopes = _modulus(bands, filters.weights, orders, 1)
    spectra = fft.dct(envelopes[:, :_PARENTS], type=1)
    bands = fft.rfft(_filtered(spectra, paths[:, 0].copy(), filters.second_filters, paths[:, 1].copy()))
    _modulus(bands, filters.weights, orders, 1 + firsts)
    return orders


@numba.njit(cache=True, nogil=True)
def _windows(close, begin, end, windows):  # type: ignore[no-untyped-def]
    """Changes before the bars [begin, end), by age, over their root mean square; zeros where nothing moved."""
    count = windows.shape[1]
    for t in range(begin, end):
        square = 0.0
        for age in range(count):
            change = close[t - age] - close[t - age - 1]
            windows[t - begin, age] = change
            square += change * change
        size = np.sqrt(square / count)
        for age in range(count):
            windows[t - begin, age] = windows[t - begin, age] / size if size > 0.0 else 0.0


@numba.njit(cache=True, nogil=True)
def _filtered(spectra, which, filters, by):  # type: ignore[no-untyped-def]
    """Products (B, P, PERIOD) of even spectra (B, S, WINDOW) with filters, path by path."""
    size, paths, period = len(spectra), len(which), filters.shape[1]
    half = period // 2
    out = np.empty((size, paths, period))
    for b in range(size):
        for p in range(paths):
            spectrum, taps, row = spectra[b, which[p]], filters[by[p]], out[b, p]
            for m in range(half + 1):
                row[m] = spectrum[m] * taps[m]
            for m in range(half + 1, period):
                row[m] = spectrum[period - m] * taps[m]
    return out


@numba.njit(cache=True, nogil=True)
def _modulus(bands, weights, orders, column):  # type: ignore[no-untyped-def]
    """Moduli (B, P, WINDOW) of complex bands, and their averages, into the columns of `orders` from `column` on."""
    size, paths, count = bands.shape
    out = np.empty((size, paths, count))
    for b in range(size):
        for p in range(paths):
            for k in range(count):
                value = bands[b, p, k]
                out[b, p, k] = np.sqrt(value.real * value.real + value.imag * value.imag)
    _average(out, weights, orders, column)
    return out


@numba.njit(cache=True, nogil=True)
def _average(values, weights, orders, column):  # type: ignore[no-untyped-def]
    """Weighted sums of values (B, P, WINDOW) into the columns of `orders` from `column` on."""
    size, paths, count = values.shape
    for b in range(size):
        for p in range(paths):
            total = 0.0
            for k in range(count):
                total += weights[k] * values[b, p, k]
            orders[b, column + p] = total

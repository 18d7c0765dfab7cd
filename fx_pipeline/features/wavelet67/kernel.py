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

from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.wavelet67.filters import PERIOD, WINDOW, bank

Float64 = npt.NDArray[np.float64]

COEFFICIENTS = 1 + len(bank().first) + len(bank().paths)
#: Closes that a row reads.
WARMUP_BARS = WINDOW + 1
#: Windows that are transformed at a time: what they take stays in the second cache. There are always as many, so that a
#: window's row does not depend on its neighbours, to the bit.
GROUP = 4
#: Fewest windows for which a second thread is worth it.
_SPLIT = 2_048
#: Wavelets of the first order that have paths of the second.
_PARENTS = int(bank().paths[:, 0].max()) + 1
#: Of each order: its filters, and of its paths what is filtered and by which.
_STEPS = (
    (bank().first_filters, np.zeros(len(bank().first), np.int64), np.arange(len(bank().first))),
    (bank().second_filters, bank().paths[:, 0].copy(), bank().paths[:, 1].copy()),
)


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
    room, windows = _Room(GROUP), np.zeros((GROUP, WINDOW))
    for begin in range(first, last, GROUP):
        end = min(begin + GROUP, last)
        _windows(close, begin, end, windows)
        rows[begin:end] = _scatter(windows, room)[: end - begin]


class _Room:
    """Arrays of a thread, which are used again: asking for megabytes anew takes as long as a transform."""

    def __init__(self, size: int) -> None:
        counts = (len(bank().first), len(bank().paths))
        self.orders = np.empty((size, COEFFICIENTS))
        self.even = [np.empty((size, count, PERIOD)) for count in (1, _PARENTS)]
        self.spectra = [np.empty((size, count, WINDOW), np.complex128) for count in (1, _PARENTS)]
        self.filtered = [np.empty((size, count, PERIOD)) for count in counts]
        self.bands = [np.empty((size, count, WINDOW), np.complex128) for count in counts]
        self.envelopes = [np.empty((size, count, WINDOW)) for count in counts]


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
    orders, room, group = np.empty((len(windows), COEFFICIENTS)), _Room(GROUP), np.zeros((GROUP, WINDOW))
    for begin in range(0, len(windows), GROUP):
        part = windows[begin : begin + GROUP]
        group[: len(part)] = part
        orders[begin : begin + GROUP] = _scatter(group, room)[: len(part)]
    return orders


def _scatter(windows: Float64, room: _Room) -> Float64:
    """Transform a group of windows; the result is the room's, and written over by the next one."""
    filters = bank()
    inputs, columns = windows.reshape(len(windows), 1, WINDOW), (1, 1 + len(filters.first))
    _average(inputs, filters.weights, room.orders, 0)
    for order, (taps, parents, own) in enumerate(_STEPS):
        _extend(inputs, room.even[order])
        np.fft.rfft(room.even[order], out=room.spectra[order])
        _filter(room.spectra[order], parents, taps, own, room.filtered[order])
        np.fft.rfft(room.filtered[order], out=room.bands[order])
        inputs = room.envelopes[order]
        _modulus(room.bands[order], inputs)
        _average(inputs, filters.weights, room.orders, columns[order])
    return room.orders


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
def _extend(values, even):  # type: ignore[no-untyped-def]
    """Write the even extension (B, P, PERIOD) of the first P of values (B, S, WINDOW)."""
    size, paths, period = even.shape
    half = period // 2
    for b in range(size):
        for p in range(paths):
            for k in range(half + 1):
                even[b, p, k] = values[b, p, k]
            for k in range(half + 1, period):
                even[b, p, k] = values[b, p, period - k]


@numba.njit(cache=True, nogil=True)
def _filter(spectra, parents, filters, own, out):  # type: ignore[no-untyped-def]
    """Write products (B, P, PERIOD) of even spectra (B, S, WINDOW), which are real, with filters, path by path."""
    size, paths, period = out.shape
    half = period // 2
    for b in range(size):
        for p in range(paths):
            spectrum, taps, row = spectra[b, parents[p]], filters[own[p]], out[b, p]
            for m in range(half + 1):
                row[m] = spectrum[m].real * taps[m]
            for m in range(half + 1, period):
                row[m] = spectrum[period - m].real * taps[m]


@numba.njit(cache=True, nogil=True)
def _modulus(bands, out):  # type: ignore[no-untyped-def]
    """Write the moduli (B, P, WINDOW) of complex bands."""
    size, paths, count = bands.shape
    for b in range(size):
        for p in range(paths):
            for k in range(count):
                value = bands[b, p, k]
                out[b, p, k] = np.sqrt(value.real * value.real + value.imag * value.imag)


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

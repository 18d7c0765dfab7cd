"""Trailing minima and maxima, shared by the kernels of feature sets."""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def extrema(values, first, window):  # type: ignore[no-untyped-def]
    """Trailing minimum and maximum of values[first:] over `window` values, NaN until there are that many.

    Parameters
    ----------
    values : (T,) float64
    first, window : int

    Returns
    -------
    lows, highs : (T,) float64
    """
    size = len(values)
    lows, highs = np.full(size, np.nan), np.full(size, np.nan)
    low_queue, high_queue = np.empty(size, np.int64), np.empty(size, np.int64)
    low_head = low_tail = high_head = high_tail = 0
    for t in range(first, size):
        while low_tail > low_head and values[low_queue[low_tail - 1]] >= values[t]:
            low_tail -= 1
        low_queue[low_tail] = t
        low_tail += 1
        while high_tail > high_head and values[high_queue[high_tail - 1]] <= values[t]:
            high_tail -= 1
        high_queue[high_tail] = t
        high_tail += 1
        if low_queue[low_head] <= t - window:
            low_head += 1
        if high_queue[high_head] <= t - window:
            high_head += 1
        if t >= first + window - 1:
            lows[t], highs[t] = values[low_queue[low_head]], values[high_queue[high_head]]
    return lows, highs


@numba.njit(cache=True, nogil=True)
def scale(value, low, high):  # type: ignore[no-untyped-def]
    """Where `value` lies between `low` and `high`, 0 to 1; one half where they are equal."""
    return (value - low) / (high - low) if high > low else 0.5

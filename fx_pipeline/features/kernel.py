"""The feature kernel: SPEC section 3, the same code for the table and for a live bar.

Every value depends on a fixed number of trailing bars and on nothing else - no running sums, no state - so a row does
not change by a bit when the array starts earlier or ends later.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import DAY_MINUTES, TRADING_WEEK_MINUTES, WEEK_MINUTES, week_minutes
from fx_pipeline.market.units import CHANGE_UNITS, unit_pips

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

FEATURE_NAMES = (
    "position_in_range_60",
    "min_max_scaled_momentum_60",
    "min_max_scaled_rolling_range",
    "min_max_scaled_momentum_5",
    "price_change_pips",
    "dow_cos_final",
    "dow_sin_final",
    "hour_cos_final",
    "hour_sin_final",
)
#: Part of every fingerprint: raise it when a definition changes.
FEATURES_VERSION = 1
#: Added to it for each pip of a unit that is not one pip.
_VERSION_OF_UNIT = 1_000
RANGE_BARS = 60
SCALE_BARS = 1_440
SIGMA_BARS = 20
#: The first complete row is the 1,500th bar: momentum over 60 bars, scaled over 1,440.
WARMUP_BARS = RANGE_BARS + SCALE_BARS

# Clock features by minute of the week, tabulated so that every caller gets the same bits. Minutes of the weekend
# (stray prints; never in a session) keep Friday's day.
_MINUTES = np.arange(WEEK_MINUTES)
_DAY_ANGLE = 2.0 * np.pi * np.minimum(_MINUTES // DAY_MINUTES, 4) / 5.0
_HOUR_ANGLE = 2.0 * np.pi * (_MINUTES / 60.0) / (TRADING_WEEK_MINUTES / 60.0)
CLOCK_TABLE = np.stack([np.cos(_DAY_ANGLE), np.sin(_DAY_ANGLE), np.cos(_HOUR_ANGLE), np.sin(_HOUR_ANGLE)], axis=1)


def version_of(instrument: str) -> int:
    """Return the version of an instrument's features: another one when the definition or its unit changes."""
    unit = unit_pips(instrument)
    return FEATURES_VERSION + (0 if unit == 1.0 else round(_VERSION_OF_UNIT * unit))


def compute_features(close: Float64, time_ns: npt.NDArray[np.int64], unit: float) -> tuple[Float32, Float64]:
    """Compute the nine features and the outcome sigma of each bar.

    A close that is no price (not finite, or not positive) makes every row that reads it NaN: its own and the
    `WARMUP_BARS` - 1 that follow, as if the bars began anew after it. No other row changes by a bit.

    Parameters
    ----------
    close : (T,) float64
        Mid closes of consecutive bars.
    time_ns : (T,) int64
        UTC nanoseconds of the bars' opens.
    unit : float
        What `price_change_pips` counts in, in price units: a pip of currency pairs; see `market.units`.

    Returns
    -------
    features : (T, 9) float32
        In the order of `FEATURE_NAMES`; NaN in the first `WARMUP_BARS` - 1 rows.
    sigma : (T,) float64
        Population standard deviation of the last 20 one-bar changes, in price units; NaN in the first 20 rows, and
        where one of the 21 closes is no price.
    """
    close = np.ascontiguousarray(close, dtype=np.float64)
    if len(close) == 0:
        return np.empty((0, len(FEATURE_NAMES)), np.float32), np.empty(0)
    bad = ~((close > 0.0) & (close < np.inf))
    if not bad.any():
        return _features(close, week_minutes(time_ns), unit, CLOCK_TABLE)
    # Comparisons with NaN would leave finite, wrong extrema: any number serves in its place, as no row that reads it
    # is kept.
    features, sigma = _features(np.where(bad, 1.0, close), week_minutes(time_ns), unit, CLOCK_TABLE)
    features[_within(bad, WARMUP_BARS)] = np.nan
    sigma[_within(bad, SIGMA_BARS + 1)] = np.nan
    return features, sigma


def _within(bad: npt.NDArray[np.bool_], bars: int) -> npt.NDArray[np.bool_]:
    """Rows (T,) of which one of the last `bars` bars, their own among them, is bad."""
    seen = np.concatenate(([0], np.cumsum(bad)))
    first = np.maximum(np.arange(len(bad)) + 1 - bars, 0)
    return np.asarray(seen[1:] > seen[first])


@numba.njit(cache=True, nogil=True)
def _extrema(values, first, window):  # type: ignore[no-untyped-def]
    """Trailing minimum and maximum of values[first:] over `window` values, NaN until there are that many."""
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
def _scale(value, low, high):  # type: ignore[no-untyped-def]
    return (value - low) / (high - low) if high > low else 0.5


@numba.njit(cache=True, nogil=True)
def _features(close, minutes, unit, clock):  # type: ignore[no-untyped-def]
    size = len(close)
    features = np.full((size, 9), np.nan, dtype=np.float32)
    sigma = np.full(size, np.nan)
    momentum_60, momentum_5, spread = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
    low, high = _extrema(close, 0, RANGE_BARS)
    for t in range(size):
        if t >= 60:
            momentum_60[t] = close[t] - close[t - 60]
        if t >= 5:
            momentum_5[t] = close[t] - close[t - 5]
        spread[t] = high[t] - low[t]
    low_60, high_60 = _extrema(momentum_60, 60, SCALE_BARS)
    low_5, high_5 = _extrema(momentum_5, 5, SCALE_BARS)
    low_range, high_range = _extrema(spread, RANGE_BARS - 1, SCALE_BARS)
    for t in range(SIGMA_BARS, size):
        mean = 0.0
        for k in range(t - SIGMA_BARS + 1, t + 1):
            mean += close[k] - close[k - 1]
        mean /= SIGMA_BARS
        square = 0.0
        for k in range(t - SIGMA_BARS + 1, t + 1):
            deviation = close[k] - close[k - 1] - mean
            square += deviation * deviation
        sigma[t] = math.sqrt(square / SIGMA_BARS)
    for t in range(WARMUP_BARS - 1, size):
        features[t, 0] = _scale(close[t], low[t], high[t])
        features[t, 1] = _scale(momentum_60[t], low_60[t], high_60[t])
        features[t, 2] = _scale(spread[t], low_range[t], high_range[t])
        features[t, 3] = _scale(momentum_5[t], low_5[t], high_5[t])
        features[t, 4] = math.tanh((close[t] - close[t - 1]) / unit / CHANGE_UNITS)
        for k in range(4):
            features[t, 5 + k] = clock[minutes[t], k]
    return features, sigma


def causal_mismatches(
    close: Float64, time_ns: npt.NDArray[np.int64], features: Float32, unit: float, bars: int, seed: int
) -> list[int]:
    """Compute rows anew on data cut after them, at bars drawn at random, and list those that differ by a bit.

    Parameters
    ----------
    close : (T,) float64
    time_ns : (T,) int64
    features : (T, 9) float32
        What is to be tested.
    unit : float
        As of `compute_features`.
    bars : int
        How many bars to draw, among those with a whole warm-up behind them.
    seed : int

    Returns
    -------
    list of int
        Bars whose row depends on something else than the bars up to it.
    """
    if len(close) < WARMUP_BARS:
        return []
    drawn = np.random.default_rng(seed).integers(WARMUP_BARS - 1, len(close), bars)
    different = []
    for bar in np.unique(drawn).tolist():
        part = slice(bar + 1 - WARMUP_BARS, bar + 1)
        row = compute_features(close[part], time_ns[part], unit)[0][-1]
        if row.tobytes() != features[bar].tobytes():
            different.append(bar)
    return different


class IncrementalFeatures:
    """Features of a stream of bars, one bar at a time, by the kernel of the table.

    Parameters
    ----------
    unit : float
        As of `compute_features`.
    """

    def __init__(self, unit: float) -> None:
        self._unit = unit
        self._close = np.empty(0)
        self._time = np.empty(0, dtype=np.int64)

    def append(self, time_ns: int, close: float) -> Float32 | None:
        """Add a closed bar and return its features (9,), or None while warming up.

        After a close that is no price it warms up again, as the rows of `compute_features` do.

        Raises
        ------
        ValueError
            If the bar is not newer than the last one.
        """
        if len(self._time) and time_ns <= self._time[-1]:
            raise ValueError(f"bar at {time_ns} is not newer than the last one at {self._time[-1]}.")
        self._close = np.append(self._close, close)[-WARMUP_BARS:]
        self._time = np.append(self._time, np.int64(time_ns))[-WARMUP_BARS:]
        if len(self._close) < WARMUP_BARS:
            return None
        features, _ = compute_features(self._close, self._time, self._unit)
        return features[-1] if np.isfinite(features[-1]).all() else None

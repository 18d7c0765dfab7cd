"""The nine temporal features: the same code for the table and for a live bar.

Every value depends on a fixed number of trailing bars and on nothing else - no running sums, no state - so a row does
not change by a bit when the array starts earlier or ends later.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.features.clock import CLOCK_NAMES, CLOCK_TABLE
from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.rolling import extrema, scale
from fx_pipeline.market.calendar import week_minutes
from fx_pipeline.market.units import CHANGE_UNITS

FEATURE_NAMES = (
    "position_in_range_60",
    "min_max_scaled_momentum_60",
    "min_max_scaled_rolling_range",
    "min_max_scaled_momentum_5",
    "price_change_pips",
    *CLOCK_NAMES,
)
RANGE_BARS = 60
SCALE_BARS = 1_440
#: The first complete row is the 1,500th bar: momentum over 60 bars, scaled over 1,440.
WARMUP_BARS = RANGE_BARS + SCALE_BARS


def compute(bars: Bars) -> npt.NDArray[np.float32]:
    """Compute the nine features of each bar, (T, 9), in the order of `FEATURE_NAMES`."""
    return np.asarray(_features(bars.close, week_minutes(bars.time), bars.unit, CLOCK_TABLE))


@numba.njit(cache=True, nogil=True)
def _features(close, minutes, unit, clock):  # type: ignore[no-untyped-def]
    size = len(close)
    features = np.full((size, 9), np.nan, dtype=np.float32)
    momentum_60, momentum_5, spread = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
    low, high = extrema(close, 0, RANGE_BARS)
    for t in range(size):
        if t >= 60:
            momentum_60[t] = close[t] - close[t - 60]
        if t >= 5:
            momentum_5[t] = close[t] - close[t - 5]
        spread[t] = high[t] - low[t]
    low_60, high_60 = extrema(momentum_60, 60, SCALE_BARS)
    low_5, high_5 = extrema(momentum_5, 5, SCALE_BARS)
    low_range, high_range = extrema(spread, RANGE_BARS - 1, SCALE_BARS)
    for t in range(WARMUP_BARS - 1, size):
        features[t, 0] = scale(close[t], low[t], high[t])
        features[t, 1] = scale(momentum_60[t], low_60[t], high_60[t])
        features[t, 2] = scale(spread[t], low_range[t], high_range[t])
        features[t, 3] = scale(momentum_5[t], low_5[t], high_5[t])
        features[t, 4] = math.tanh((close[t] - close[t - 1]) / unit / CHANGE_UNITS)
        for k in range(4):
            features[t, 5 + k] = clock[minutes[t], k]
    return features

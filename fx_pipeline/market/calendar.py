"""The FX trading week: Sunday 17:00 to Friday 17:00 New York, in trading days that start at 17:00 New York.

All functions are vectorised over UTC nanoseconds. New York changes its clocks on Sundays at 02:00, outside the
trading week, so wall-clock minutes since Sunday 17:00 are elapsed minutes within a week.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

NEW_YORK = "America/New_York"
MINUTE_NS = 60_000_000_000
DAY_MINUTES = 1_440
WEEK_MINUTES = 10_080
TRADING_WEEK_MINUTES = 7_200
# The trading day starts at 17:00, so a clock moved 7 hours forward has its midnight there.
_DAY_START = pd.Timedelta(hours=7)

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


def _shifted_wall_clock(time_ns: npt.ArrayLike) -> pd.DatetimeIndex:
    utc = pd.DatetimeIndex(np.atleast_1d(np.asarray(time_ns, dtype="datetime64[ns]"))).tz_localize("UTC")
    return utc.tz_convert(NEW_YORK).tz_localize(None) + _DAY_START


def week_minutes(time_ns: npt.ArrayLike) -> Int32:
    """Minutes since Sunday 17:00 New York.

    Parameters
    ----------
    time_ns : (T,) int64
        UTC nanoseconds.

    Returns
    -------
    (T,) int32
        0 to 7,199 inside the trading week, 7,200 to 10,079 in the weekend that follows it.
    """
    wall = _shifted_wall_clock(time_ns)
    return np.asarray(wall.day_of_week * DAY_MINUTES + wall.hour * 60 + wall.minute, dtype=np.int32)


def trading_day(time_ns: npt.ArrayLike) -> Int64:
    """Day number (days since 1970-01-01) of the trading day; it is named by the New York date on which it ends.

    Returns
    -------
    (T,) int64
    """
    wall = _shifted_wall_clock(time_ns).as_unit("ns")
    return np.asarray(wall.asi8 // (DAY_MINUTES * MINUTE_NS), dtype=np.int64)


def trading_week(time_ns: npt.ArrayLike) -> Int64:
    """Number of the trading week; consecutive weeks differ by one.

    Returns
    -------
    (T,) int64
    """
    # Day 0 was a Thursday, and the shifted wall clock starts the trading week on a Monday.
    return (trading_day(time_ns) + 3) // 7


def trading_day_start(day: int) -> int:
    """UTC nanoseconds of 17:00 New York at which that trading day (`trading_day`) begins."""
    wall = pd.Timestamp(day, unit="D") - _DAY_START
    return int(wall.tz_localize(NEW_YORK).tz_convert("UTC").as_unit("ns").value)


def is_open(time_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each time lies inside the trading week.

    Returns
    -------
    (T,) bool
    """
    return week_minutes(time_ns) < TRADING_WEEK_MINUTES


def expected_minutes(start_ns: int, end_ns: int) -> Int64:
    """Open minutes of the trading week in [start, end): when a liquid instrument is expected to have a candle.

    Returns
    -------
    (T,) int64
        UTC nanoseconds of each minute, in order.
    """
    first = -(-start_ns // MINUTE_NS) * MINUTE_NS
    times = np.arange(first, end_ns, MINUTE_NS, dtype=np.int64)
    return times[is_open(times)] if len(times) else times


def day_name(day: int) -> str:
    """ISO date of a trading day number."""
    return str(np.datetime64(int(day), "D"))

"""Where bars of a timeframe begin and end, and in which of them a calendar expects a candle.

Bars up to an hour begin at whole multiples of their length in UTC. Longer ones count from 17:00 New York, as OANDA
aligns them: on the two days a year on which New York changes its clocks, which lie in the weekend, the last bar of the
day is an hour shorter, or an hour is left that is a bar of its own. A daily bar is always the whole trading day.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    FxCalendar,
    trading_day,
    trading_day_starts,
    trading_week,
    week_minutes,
)
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]


def bar_starts(time_ns: npt.ArrayLike, timeframe: Timeframe) -> Int64:
    """Return the opens of the bars in which times lie.

    Parameters
    ----------
    time_ns : (T,) int64
        UTC nanoseconds.

    Returns
    -------
    (T,) int64
    """
    time = np.asarray(time_ns, dtype=np.int64)
    if not timeframe.aligned_to_day:
        return time - time % timeframe.bar_ns
    if not len(time):
        return time.copy()
    day, _ = _day_bounds(time)
    if timeframe.minutes >= DAY_MINUTES:
        return day
    return day + (time - day) // timeframe.bar_ns * timeframe.bar_ns


def bar_ends(start_ns: npt.ArrayLike, timeframe: Timeframe) -> Int64:
    """Return when the bars end that begin at given opens; (T,) int64."""
    start = np.asarray(start_ns, dtype=np.int64)
    if not timeframe.aligned_to_day or not len(start):
        return start + timeframe.bar_ns
    _, next_day = _day_bounds(start)
    if timeframe.minutes >= DAY_MINUTES:
        return next_day
    return np.minimum(start + timeframe.bar_ns, next_day)


def bar_end(start_ns: int, timeframe: Timeframe) -> int:
    """Return when the bar ends that begins at a time."""
    return int(bar_ends([start_ns], timeframe)[0])


def first_open(time_ns: int, timeframe: Timeframe) -> int:
    """Return the open of the first bar that begins at or after a time."""
    start = int(bar_starts([time_ns], timeframe)[0])
    return start if start == time_ns else bar_end(start, timeframe)


def on_grid(time_ns: npt.ArrayLike, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
    """Whether a bar begins at each time; (T,) bool."""
    time = np.asarray(time_ns, dtype=np.int64)
    return np.asarray(bar_starts(time, timeframe) == time)


def bar_opens(start_ns: int, end_ns: int, timeframe: Timeframe) -> Int64:
    """Return the opens of all bars that begin in [start, end), whatever trades in them; (T,) int64."""
    if not timeframe.aligned_to_day:
        return np.arange(-(-start_ns // timeframe.bar_ns) * timeframe.bar_ns, end_ns, timeframe.bar_ns, dtype=np.int64)
    if end_ns <= start_ns:
        return np.empty(0, np.int64)
    first, last = trading_day([start_ns, end_ns - 1]).tolist()
    days = trading_day_starts(np.arange(first, last + 2))
    if timeframe.minutes < DAY_MINUTES:
        # A day with a change of the clocks has up to 25 hours.
        steps = timeframe.bar_ns * np.arange(25 * 60 // timeframe.minutes + 1)
        inside = days[:-1, None] + steps
        opens = inside[inside < days[1:, None]]
    else:
        opens = days[:-1]
    return opens[(opens >= start_ns) & (opens < end_ns)]


def expected_bars(calendar: FxCalendar, start_ns: int, end_ns: int, timeframe: Timeframe = M1) -> Int64:
    """Return the opens of the bars that begin in [start, end) and in at least one minute of which a candle is expected.

    Returns
    -------
    (T,) int64
        UTC nanoseconds, in order.
    """
    if timeframe.minutes == 1:
        return calendar.expected_minutes(start_ns, end_ns)
    opens = bar_opens(start_ns, end_ns, timeframe)
    if not len(opens):
        return opens
    minutes = calendar.expected_minutes(int(opens[0]), bar_end(int(opens[-1]), timeframe))
    ends = bar_ends(opens, timeframe)
    return opens[np.searchsorted(minutes, ends) > np.searchsorted(minutes, opens)]


def last_expected_bar(calendar: FxCalendar, before_ns: int, timeframe: Timeframe = M1) -> int:
    """Return the open of the newest bar that ended at or before a time and in which a candle is expected.

    Raises
    ------
    ConfigurationError
        If the calendar is closed for more than four weeks before.
    """
    if timeframe.minutes == 1:
        return calendar.last_expected(before_ns)
    for days in (5, 29):
        opens = expected_bars(calendar, before_ns - days * DAY_MINUTES * MINUTE_NS, before_ns, timeframe)
        opens = opens[bar_ends(opens, timeframe) <= before_ns]
        if len(opens):
            return int(opens[-1])
    raise ConfigurationError("FX_HOLIDAYS closes four weeks in a row: take some of them away.")


def trading_minutes_between(time_ns: Int64) -> Int64:
    """Return the minutes from each time to the next without those of weekends, in which nothing trades.

    A step that begins or ends inside a weekend, as those of a market that trades then do, counts whole.

    Parameters
    ----------
    time_ns : (T,) int64
        In order.

    Returns
    -------
    (T - 1,) int64
    """
    minute, week = week_minutes(time_ns).astype(np.int64), trading_week(time_ns)
    open_week = 5 * DAY_MINUTES
    position = week * open_week + np.minimum(minute, open_week)
    inside = minute < open_week
    elapsed = np.diff(time_ns) // MINUTE_NS
    return np.where(inside[1:] & inside[:-1], np.diff(position), elapsed)


def _day_bounds(time_ns: Int64) -> tuple[Int64, Int64]:
    # Beginning and end of the trading day of each time.
    days = trading_day(time_ns)
    first = int(days.min())
    starts = trading_day_starts(np.arange(first, int(days.max()) + 2))
    return starts[days - first], starts[days - first + 1]

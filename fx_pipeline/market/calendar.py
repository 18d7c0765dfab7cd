"""The FX trading week: Sunday 17:00 to Friday 17:00 New York, in trading days that start at 17:00 New York.

All functions are vectorised over UTC nanoseconds. New York changes its clocks on Sundays at 02:00, outside the
trading week, so wall-clock minutes since Sunday 17:00 are elapsed minutes within a week.

Features and sessions know the week alone. Which of its minutes should have a candle is another question, with the
daily break and the holidays in it, and `FxCalendar` answers that one, for gap reports and for trading hours. Its
defaults are those of a currency pair; `hours.instrument_calendar` knows the other instruments.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import default_holidays

NEW_YORK = "America/New_York"
MINUTE_NS = 60_000_000_000
DAY_MINUTES = 1_440
WEEK_MINUTES = 10_080
TRADING_WEEK_MINUTES = 7_200
# The trading day starts at 17:00, so a clock moved 7 hours forward has its midnight there.
_DAY_START = pd.Timedelta(hours=7)
_DAY_START_MINUTES = 7 * 60
# 1 January 2000 to 31 December 2027.
_CYCLE, _CYCLE_YEARS = (10_957, 21_183), 28

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


def _local_minutes(time_ns: npt.ArrayLike, zone: str) -> Int64:
    # Minutes of the wall clock of a zone, since 1970-01-01 of that clock.
    utc = pd.DatetimeIndex(np.atleast_1d(np.asarray(time_ns, dtype="datetime64[ns]"))).tz_localize("UTC")
    return np.asarray(utc.tz_convert(zone).tz_localize(None).as_unit("ns").asi8 // MINUTE_NS, dtype=np.int64)


def _wall_minutes(time_ns: npt.ArrayLike) -> Int64:
    # Minutes of the wall clock whose midnight is 17:00 New York.
    return _local_minutes(time_ns, NEW_YORK) + _DAY_START_MINUTES


def _week_minutes(wall_minutes: Int64) -> Int32:
    # Day 0 was a Thursday.
    return np.asarray((wall_minutes + 3 * DAY_MINUTES) % WEEK_MINUTES, dtype=np.int32)


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
    return _week_minutes(_wall_minutes(time_ns))


def trading_day(time_ns: npt.ArrayLike) -> Int64:
    """Day number (days since 1970-01-01) of the trading day; it is named by the New York date on which it ends.

    Returns
    -------
    (T,) int64
    """
    return _wall_minutes(time_ns) // DAY_MINUTES


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


def trading_day_starts(days: npt.ArrayLike) -> Int64:
    """UTC nanoseconds at which each of the trading days begins, (D,) int64, as of `trading_day_start`."""
    wall = pd.DatetimeIndex(np.asarray(days, dtype=np.int64).astype("datetime64[D]").astype("datetime64[ns]"))
    return np.asarray((wall - _DAY_START).tz_localize(NEW_YORK).tz_convert("UTC").as_unit("ns").asi8, dtype=np.int64)


def is_open(time_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each time lies inside the trading week.

    Returns
    -------
    (T,) bool
    """
    return week_minutes(time_ns) < TRADING_WEEK_MINUTES


def open_minutes(start_ns: int, end_ns: int) -> Int64:
    """Minutes of the trading week in [start, end), the daily break and holidays among them.

    Returns
    -------
    (T,) int64
        UTC nanoseconds of each minute, in order.
    """
    first = -(-start_ns // MINUTE_NS) * MINUTE_NS
    times = np.arange(first, end_ns, MINUTE_NS, dtype=np.int64)
    return times[is_open(times)] if len(times) else times


@dataclass(frozen=True)
class DailyBreak:
    """A pause of trading by the wall clock of a zone, on every day.

    Attributes
    ----------
    start_minute, end_minute : int
        [start, end), minutes after midnight; the break does not reach over midnight.
    zone : str
        IANA name.
    """

    start_minute: int
    end_minute: int
    zone: str

    def covers(self, time_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each time lies in the break.

        Returns
        -------
        (T,) bool
        """
        minutes = _local_minutes(time_ns, self.zone) % DAY_MINUTES
        return np.asarray((minutes >= self.start_minute) & (minutes < self.end_minute))

    def within(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the parts of [start, end) that lie in the break, in order, UTC nanoseconds."""
        if end_ns <= start_ns:
            return []
        first, last = (int(minute) // DAY_MINUTES for minute in _local_minutes([start_ns, end_ns], self.zone))
        found: list[tuple[int, int]] = []
        for day in range(first, last + 1):
            from_ns, to_ns = (self._utc(day, minute) for minute in (self.start_minute, self.end_minute))
            if max(from_ns, start_ns) < min(to_ns, end_ns):
                found.append((max(from_ns, start_ns), min(to_ns, end_ns)))
        return found

    def _utc(self, day: int, minute: int) -> int:
        wall = pd.Timestamp((day * DAY_MINUTES + minute) * MINUTE_NS)
        # A break at night may fall into a change of the clocks.
        local = wall.tz_localize(self.zone, ambiguous=False, nonexistent="shift_forward")
        return int(local.tz_convert("UTC").as_unit("ns").value)


@dataclass(frozen=True)
class FxCalendar:
    """The minutes in which a liquid instrument is expected to have a candle: week, less breaks, less holidays.

    The break also ends the week early on Friday and opens it late on Sunday, as OANDA's does.

    Attributes
    ----------
    break_start_minute, break_end_minute : int
        Daily break, [start, end), minutes after midnight in New York; equal where there is none. A break may reach
        over midnight.
    holidays : frozenset of int
        Closed trading days, as `trading_day` numbers.
    second_break : DailyBreak, optional
        Another pause of every day.
    weekends : bool
        Whether Saturday and Sunday are days like any other.
    """

    break_start_minute: int = 16 * 60 + 58
    break_end_minute: int = 17 * 60 + 3
    holidays: frozenset[int] = field(default_factory=default_holidays)
    second_break: DailyBreak | None = None
    weekends: bool = False

    def is_expected(self, time_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether a candle is expected in the minute of each time.

        Returns
        -------
        (T,) bool
        """
        # Both from one conversion, which is what takes the time.
        wall_minutes = _wall_minutes(time_ns)
        week_minute, days = _week_minutes(wall_minutes), wall_minutes // DAY_MINUTES
        into_break = (week_minute + 17 * 60 - self.break_start_minute) % DAY_MINUTES
        in_break = into_break < (self.break_end_minute - self.break_start_minute) % DAY_MINUTES
        # A span has a handful of holidays, the calendar hundreds.
        first, last = (days.min(), days.max()) if len(days) else (0, 0)
        closed = [day for day in self.holidays if first <= day <= last]
        expected = ((week_minute < TRADING_WEEK_MINUTES) | self.weekends) & ~in_break & ~np.isin(days, closed)
        if self.second_break is not None:
            expected &= ~self.second_break.covers(time_ns)
        return np.asarray(expected, dtype=bool)

    def trading_days(self, first_day: int, last_day: int) -> Int64:
        """Trading days of [first, last] on which something trades, as `trading_day` numbers.

        Returns
        -------
        (D,) int64
        """
        days = np.arange(first_day, last_day + 1, dtype=np.int64)
        # Day 0 was a Thursday.
        weekday = (days + 3) % 7 < 5
        return days[(weekday | self.weekends) & ~np.isin(days, list(self.holidays))]

    @cached_property
    def days_a_year(self) -> float:
        """Trading days of a mean year: of 28 years, after which weekdays and leap years come again."""
        return len(self.trading_days(*_CYCLE)) / _CYCLE_YEARS

    def expected_minutes(self, start_ns: int, end_ns: int) -> Int64:
        """Minutes in [start, end) in which a candle is expected.

        Returns
        -------
        (T,) int64
            UTC nanoseconds of each minute, in order.
        """
        first = -(-start_ns // MINUTE_NS) * MINUTE_NS
        times = np.arange(first, end_ns, MINUTE_NS, dtype=np.int64)
        return times[self.is_expected(times)] if len(times) else times

    def last_expected(self, before_ns: int) -> int:
        """Open of the newest minute that ended at or before a time and in which a candle is expected.

        Raises
        ------
        ConfigurationError
            If the calendar is closed for more than four weeks before.
        """
        end = before_ns // MINUTE_NS * MINUTE_NS
        # Four days reach over any weekend with a holiday beside it.
        for days in (4, 28):
            times = self.expected_minutes(end - days * DAY_MINUTES * MINUTE_NS, end)
            if len(times):
                return int(times[-1])
        raise ConfigurationError("FX_HOLIDAYS closes four weeks in a row: take some of them away.")


def parse_break(text: str) -> tuple[int, int]:
    """Read a daily break such as `16:58-17:03`, New York; an empty text is no break.

    Returns
    -------
    (int, int)
        Its start and end, minutes after midnight.

    Raises
    ------
    ConfigurationError
        If it is not two times of a day.
    """
    if not text.strip():
        return 0, 0
    found = re.fullmatch(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)\s*", text)
    if not found:
        raise ConfigurationError(f"{text!r} is not a daily break: write it as 16:58-17:03, or leave it empty.")
    hours_minutes = [int(part) for part in found.groups()]
    return hours_minutes[0] * 60 + hours_minutes[1], hours_minutes[2] * 60 + hours_minutes[3]


def day_name(day: int) -> str:
    """ISO date of a trading day number."""
    return str(np.datetime64(int(day), "D"))

"""When orders fill: the trading week with its daily breaks and holidays, in New York time."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    DailyBreak,
    FxCalendar,
    trading_day,
    trading_day_start,
)
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import default_holidays
from fx_pipeline.market.hours import instrument_calendar

Int64 = npt.NDArray[np.int64]

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_ROLL = 17 * 60


@dataclass(frozen=True)
class TradingHours:
    """Trading hours of an instrument at the paper broker, by default those that OANDA published for currency pairs.

    A trading day starts at 17:00 New York and is named by the date on which it ends. Times are New York's, `HH:MM`.

    Attributes
    ----------
    daily_break_start, daily_break_end : str
        The break around 17:00 between the trading days of a week; both 17:00 for none.
    week_open : str
        Sunday's opening.
    week_close : str
        Friday's close.
    holidays : frozenset of int
        Trading days on which nothing trades, as `calendar.trading_day` numbers them.
    second_break : DailyBreak, optional
        Another pause of every day.
    weekends : bool
        Whether Saturday and Sunday are days like any other; `week_open` and `week_close` mean nothing then.

    Raises
    ------
    ConfigurationError
        If a time is not written so, or a break does not span 17:00.
    """

    daily_break_start: str = "16:58"
    daily_break_end: str = "17:03"
    week_open: str = "17:03"
    week_close: str = "16:58"
    holidays: frozenset[int] = field(default_factory=default_holidays)
    second_break: DailyBreak | None = None
    weekends: bool = False

    def __post_init__(self) -> None:
        for name in ("daily_break_start", "week_close"):
            if self._minute(name) > _ROLL:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be 17:00 or earlier (New York).")
        for name in ("daily_break_end", "week_open"):
            if self._minute(name) < _ROLL:
                raise ConfigurationError(f"{name}={getattr(self, name)} must be 17:00 or later (New York).")

    @classmethod
    def of(cls, calendar: FxCalendar) -> Self:
        """Return the hours in which the calendar expects candles."""
        others = (calendar.holidays, calendar.second_break, calendar.weekends)
        if calendar.break_start_minute == calendar.break_end_minute:
            return cls("17:00", "17:00", "17:00", "17:00", *others)
        start, end = (
            f"{minute // 60:02d}:{minute % 60:02d}"
            for minute in (calendar.break_start_minute, calendar.break_end_minute)
        )
        return cls(start, end, end, start, *others)

    def is_open(self, time_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether orders fill at each time.

        Parameters
        ----------
        time_ns : (T,) int64
            UTC nanoseconds.

        Returns
        -------
        (T,) bool
        """
        times = np.atleast_1d(np.asarray(time_ns, dtype=np.int64))
        if not len(times):
            return np.empty(0, dtype=bool)
        edges = self.changes(int(times.min()) - 8 * DAY_MINUTES * MINUTE_NS, int(times.max()) + 1)
        if not len(edges):
            # Nothing changes in eight days: a long closing, or a market that never closes.
            return np.full(len(times), self._is_open_at(int(times[0])))
        first_is_open = self._is_open_at(int(edges[0]))
        # The state alternates from edge to edge; before the first of eight days' edges nothing is asked.
        count = np.searchsorted(edges, times, side="right")
        return np.where(count == 0, not first_is_open, (count % 2 == 1) == first_is_open)

    def changes(self, start_ns: int, end_ns: int) -> Int64:
        """Return the times in [start, end) at which trading opens or closes, in order.

        Returns
        -------
        (T,) int64
            UTC nanoseconds.
        """
        first, last = trading_day([start_ns, max(end_ns - 1, start_ns)]).tolist()
        edges: list[int] = []
        for day in range(first - 1, last + 2):
            for session in self._sessions_of(day):
                # Without a break one day's close is the next day's opening: nothing changes then.
                if edges and edges[-1] == session[0]:
                    edges[-1] = session[1]
                else:
                    edges.extend(session)
        return np.array([edge for edge in edges if start_ns <= edge < end_ns], dtype=np.int64)

    def _is_open_at(self, time_ns: int) -> bool:
        return any(first <= time_ns < last for first, last in self._sessions_of(int(trading_day(time_ns)[0])))

    def _sessions_of(self, day: int) -> list[tuple[int, int]]:
        if day not in self._sessions:
            self._sessions[day] = self._compute_sessions(day)
        return self._sessions[day]

    @cached_property
    def _sessions(self) -> dict[int, list[tuple[int, int]]]:
        return {}

    def _compute_sessions(self, day: int) -> list[tuple[int, int]]:
        # Day 0 was a Thursday.
        weekday = (day + 3) % 7
        if (weekday > 4 and not self.weekends) or day in self.holidays:
            return []
        first_day, last_day = weekday == 0 and not self.weekends, weekday == 4 and not self.weekends
        start = trading_day_start(day)
        opening = self._minute("week_open" if first_day else "daily_break_end") - _ROLL
        # A day is 23 or 25 hours long where the clocks change, which is on a Sunday.
        length = (trading_day_start(day + 1) - start) // MINUTE_NS
        close = self._minute("week_close" if last_day else "daily_break_start") - _ROLL + length
        first, last = start + opening * MINUTE_NS, start + close * MINUTE_NS
        found: list[tuple[int, int]] = []
        for from_ns, to_ns in self.second_break.within(first, last) if self.second_break else []:
            if first < from_ns:
                found.append((first, from_ns))
            first = to_ns
        return [*found, (first, last)] if first < last else found

    def _minute(self, name: str) -> int:
        found = _TIME.fullmatch(getattr(self, name))
        if not found:
            raise ConfigurationError(f"{name}={getattr(self, name)!r} is not a time of day: write it like 16:58.")
        return 60 * int(found[1]) + int(found[2])


#: The trading hours of an instrument by its name.
HoursOf = Callable[[str], TradingHours]


def instrument_hours(name: str) -> TradingHours:
    """Return the hours that OANDA published for an instrument.

    Raises
    ------
    DataError
        If the name is unknown.
    """
    return TradingHours.of(instrument_calendar(name))

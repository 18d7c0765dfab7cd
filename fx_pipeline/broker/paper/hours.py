"""When orders fill: the trading week with its daily break and holidays, in New York time."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import DAY_MINUTES, MINUTE_NS, FxCalendar, trading_day, trading_day_start
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import default_holidays

Int64 = npt.NDArray[np.int64]

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_ROLL = 17 * 60


@dataclass(frozen=True)
class TradingHours:
    """Trading hours of the paper broker, by default those that OANDA published for FX.

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
        if calendar.break_start_minute == calendar.break_end_minute:
            return cls("17:00", "17:00", "17:00", "17:00", calendar.holidays)
        start, end = (
            f"{minute // 60:02d}:{minute % 60:02d}"
            for minute in (calendar.break_start_minute, calendar.break_end_minute)
        )
        return cls(start, end, end, start, calendar.holidays)

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
            return np.zeros(len(times), dtype=bool)
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
            session = self._session(day)
            if session is None:
                continue
            # Without a break one day's close is the next day's opening: nothing changes then.
            if edges and edges[-1] == session[0]:
                edges[-1] = session[1]
            else:
                edges.extend(session)
        return np.array([edge for edge in edges if start_ns <= edge < end_ns], dtype=np.int64)

    def _is_open_at(self, time_ns: int) -> bool:
        session = self._session(int(trading_day(time_ns)[0]))
        return session is not None and session[0] <= time_ns < session[1]

    def _session(self, day: int) -> tuple[int, int] | None:
        if day not in self._sessions:
            self._sessions[day] = self._compute_session(day)
        return self._sessions[day]

    @cached_property
    def _sessions(self) -> dict[int, tuple[int, int] | None]:
        return {}

    def _compute_session(self, day: int) -> tuple[int, int] | None:
        # Day 0 was a Thursday.
        weekday = (day + 3) % 7
        if weekday > 4 or day in self.holidays:
            return None
        start = trading_day_start(day)
        opening = self._minute("week_open" if weekday == 0 else "daily_break_end") - _ROLL
        close = self._minute("week_close" if weekday == 4 else "daily_break_start") - _ROLL + DAY_MINUTES
        return start + opening * MINUTE_NS, start + close * MINUTE_NS

    def _minute(self, name: str) -> int:
        found = _TIME.fullmatch(getattr(self, name))
        if not found:
            raise ConfigurationError(f"{name}={getattr(self, name)!r} is not a time of day: write it like 16:58.")
        return 60 * int(found[1]) + int(found[2])

"""Granularities of candles, and where each candle starts.

Candles up to an hour start at whole multiples of their length. Longer ones start where a day does: at `hour` o'clock of
`timezone`, through changes of its clocks; a week starts at the day that begins on `weekday`, and a month at the day
that begins nearest to the midnight with which the month does (at 17:00 New York, the evening before).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.market.calendar import NEW_YORK

Int64 = npt.NDArray[np.int64]

_SECOND_NS = 1_000_000_000
#: Length of each granularity in seconds; that of M is its longest.
GRANULARITIES = {
    **{f"S{length}": length for length in (5, 10, 15, 30)},
    **{f"M{length}": 60 * length for length in (1, 2, 4, 5, 10, 15, 30)},
    **{f"H{length}": 3600 * length for length in (1, 2, 3, 4, 6, 8, 12)},
    "D": 86_400,
    "W": 7 * 86_400,
    "M": 31 * 86_400,
}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Alignment(NamedTuple):
    """Where days and weeks start.

    Attributes
    ----------
    hour : int
        0 to 23.
    timezone : str
        IANA name.
    weekday : int
        0 (Monday) to 6.
    """

    hour: int = 17
    timezone: str = NEW_YORK
    weekday: int = 4


class Granularity(NamedTuple):
    """A granularity with its alignment."""

    name: str
    alignment: Alignment = Alignment()

    @property
    def length_ns(self) -> int:
        """Length of a candle; of the longest for M."""
        return GRANULARITIES[self.name] * _SECOND_NS

    def starts(self, time_ns: Int64) -> Int64:
        """Return the starts of the candles in which these times lie; (T,) int64, UTC nanoseconds."""
        if self._is_fixed:
            return time_ns - time_ns % self.length_ns
        bounds = self._bounds(time_ns)
        return bounds[np.searchsorted(bounds, time_ns, side="right") - 1]

    def ends(self, time_ns: Int64) -> Int64:
        """Return the starts of the candles that follow; (T,) int64, UTC nanoseconds."""
        if self._is_fixed:
            return time_ns - time_ns % self.length_ns + self.length_ns
        bounds = self._bounds(time_ns)
        return bounds[np.searchsorted(bounds, time_ns, side="right")]

    def start(self, time_ns: int) -> int:
        """Return the start of the candle in which that time lies."""
        return int(self.starts(np.array([time_ns], np.int64))[0])

    def end(self, time_ns: int) -> int:
        """Return the end of the candle in which that time lies."""
        return int(self.ends(np.array([time_ns], np.int64))[0])

    @property
    def _is_fixed(self) -> bool:
        return self.length_ns <= 3600 * _SECOND_NS

    def _bounds(self, time_ns: Int64) -> Int64:
        if not len(time_ns):
            return np.zeros(1, np.int64)
        years = np.array([time_ns.min(), time_ns.max()]).astype("datetime64[ns]").astype("datetime64[Y]").astype(int)
        return _bounds(self, int(years[0]) + 1969, int(years[1]) + 1972)


@lru_cache(maxsize=64)
def _bounds(granularity: Granularity, first_year: int, last_year: int) -> Int64:
    hour, timezone, weekday = granularity.alignment
    dates = pd.date_range(f"{first_year}-01-01", f"{last_year}-12-31", unit="ns")
    local = dates + pd.Timedelta(hours=hour)
    utc = local.tz_localize(timezone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")
    days: Int64 = utc.tz_convert("UTC").as_unit("ns").asi8
    if granularity.name == "D":
        bounds = days
    elif granularity.name == "W":
        bounds = days[dates.day_of_week == weekday]
    elif granularity.name == "M":
        named = dates + pd.Timedelta(days=1) if hour >= 12 else dates
        bounds = days[named.day == 1]
    else:
        steps = granularity.length_ns * np.arange(25 * 3600 * _SECOND_NS // granularity.length_ns + 1)
        inside = days[:-1, None] + steps
        bounds = inside[inside < days[1:, None]]
    return np.unique(bounds)

"""Bars into candles of OANDA's longer granularities, minutes also into shorter ones.

Candles up to an hour start at whole multiples of their length. Longer ones start where a day does: at `hour` o'clock of
`timezone`, through changes of its clocks; a week starts at the day that begins on `weekday`, and a month at the day
that begins nearest to the midnight with which the month does (at 17:00 New York, the evening before).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.ticks import TICK_STEP_NS, TICKS_IN_BAR
from fx_pipeline.market.calendar import NEW_YORK
from fx_pipeline.market.candles import PRICE_COLUMNS

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
_HIGHS, _LOWS, _OPENS, _CLOSES = (
    [number for number, name in enumerate(PRICE_COLUMNS) if name.endswith(field)] for field in ("_h", "_l", "_o", "_c")
)


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


def aggregate(bars: Bars, granularity: Granularity) -> Bars:
    """Return the candles of a granularity that bars of a finer one make, in order; `time` is the candle's start.

    Aggregating the joined results of two parts gives the same as aggregating the parts joined.
    """
    if not len(bars.time):
        return bars
    starts = granularity.starts(bars.time)
    first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
    if len(first) == len(starts):
        return bars._replace(time=starts)
    last = np.append(first[1:], len(starts)) - 1
    prices = np.empty((len(first), len(PRICE_COLUMNS)))
    prices[:, _OPENS] = bars.prices[first][:, _OPENS]
    prices[:, _HIGHS] = np.maximum.reduceat(bars.prices[:, _HIGHS], first)
    prices[:, _LOWS] = np.minimum.reduceat(bars.prices[:, _LOWS], first)
    prices[:, _CLOSES] = bars.prices[last][:, _CLOSES]
    volume = np.add.reduceat(bars.volume, first)
    return Bars(starts[first], prices, volume, np.logical_or.reduceat(bars.quotes_modelled, first))


def smooth(candles: Bars, previous_close: npt.NDArray[np.float64] | None) -> Bars:
    """Return candles that open at the close of the one before; highs and lows take the new open in.

    Parameters
    ----------
    previous_close : (3,) float64 or None
        Closes of bid, mid and ask before the first candle; it keeps its open when absent.
    """
    prices = candles.prices.copy()
    opens = np.concatenate(
        [prices[:1, _OPENS] if previous_close is None else previous_close[None], prices[:-1, _CLOSES]]
    )
    prices[:, _OPENS] = opens
    prices[:, _HIGHS] = np.maximum(prices[:, _HIGHS], opens)
    prices[:, _LOWS] = np.minimum(prices[:, _LOWS], opens)
    return candles._replace(prices=prices)


def closes(bars: Bars) -> npt.NDArray[np.float64] | None:
    """Return the last closes of bid, mid and ask; (3,) float64, or None without bars."""
    return bars.prices[-1, _CLOSES] if len(bars.time) else None


def ticks(bars: Bars, decimals: int) -> Bars:
    """Return the ticks of M1 bars as the exchange has them (`ticks.bar_ticks`), each as a bar that lasts an instant.

    Volumes add up to the bar's, but no tick has none.

    Parameters
    ----------
    decimals : int
        Displayed decimals.
    """
    count = len(bars.time)
    sides = bars.prices.reshape(count, 3, 4)
    opens, highs, lows, closing = (sides[:, :, field] for field in range(4))
    points = np.rint(sides[:, 1] * 10.0**decimals)
    high_first = (points[:, 1] - points[:, 0] <= points[:, 0] - points[:, 2])[:, None]
    path = np.stack([opens, np.where(high_first, highs, lows), np.where(high_first, lows, highs), closing], axis=1)
    path[:, :, 2] = np.maximum(path[:, :, 2], path[:, :, 0])
    so_far = bars.volume[:, None] * np.arange(TICKS_IN_BAR + 1) // TICKS_IN_BAR
    return Bars(
        (bars.time[:, None] + TICK_STEP_NS * np.arange(TICKS_IN_BAR)).ravel(),
        np.repeat(path.reshape(TICKS_IN_BAR * count, 3), 4, axis=1),
        np.maximum(np.diff(so_far, axis=1), 1).ravel(),
        np.repeat(bars.quotes_modelled, TICKS_IN_BAR),
    )


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

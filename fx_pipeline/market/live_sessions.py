"""Sessions as a live trader has them: begun by what is known at their first bar, and ended by a rule.

Sessions of training are chosen afterwards, as those without a gap (`fx_pipeline.sessions.index`): who is judged on
such sessions never trades into a gap. Here nothing looks ahead. What holds: whether a session begins or ends at a bar
depends on the bars up to it, on the calendar and on the end of the span, so cutting the future off changes none that
has begun. Where it stops: a bar that follows a gap is known at its close, so what is open over a gap is closed there,
at the price to which the gap has led.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import SESSION_BARS, WINDOW_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, TRADING_WEEK_MINUTES, FxCalendar, is_open, week_minutes

#: A longer time from one bar to the next is a gap.
MAX_GAP_MINUTES = 10
#: A market that has moved less in as many bars as a session has is no market.
MIN_RANGE_PIPS = 1.0
Int64 = npt.NDArray[np.int64]


def session_lengths(time_ns: Int64, starts: npt.ArrayLike, session_bars: int = SESSION_BARS) -> Int64:
    """Count the bars of sessions that begin at given bars.

    A session ends with its `session_bars`-th bar, with the first bar after a gap of more than `MAX_GAP_MINUTES`, with
    the first one in the last `MAX_GAP_MINUTES` of the trading week, or with the last bar there is.

    Parameters
    ----------
    time_ns : (T,) int64
    starts : (S,) array-like
        Bar indices.

    Returns
    -------
    (S,) int64
        1 or more.
    """
    starts = np.asarray(starts, dtype=np.int64)
    stop = week_minutes(time_ns) >= TRADING_WEEK_MINUTES - MAX_GAP_MINUTES if len(time_ns) else np.empty(0, np.bool_)
    stop[1:] |= np.diff(time_ns) > MAX_GAP_MINUTES * MINUTE_NS
    stops = np.append(np.flatnonzero(stop), len(time_ns) - 1)
    following = stops[np.minimum(np.searchsorted(stops[:-1], starts, side="right"), len(stops) - 1)]
    return np.minimum(session_bars, following - starts + 1)


def live_starts(
    market: MarketArrays,
    calendar: FxCalendar,
    start_ns: int,
    end_ns: int,
    session_bars: int = SESSION_BARS,
    window_bars: int = WINDOW_BARS,
) -> Int64:
    """List the bars at which a trader who sees nothing of the future begins its sessions, one after the other.

    A session begins at the first bar after the one before it that lies in [start, end), whose first observation is
    warmed up, in a minute in which trading is scheduled to go on for the whole session (to the end of the week, a daily
    break or a holiday of the calendar, or the end of the span, `MAX_GAP_MINUTES` to spare), and at which the last
    `session_bars` bars have moved by `MIN_RANGE_PIPS`.

    Parameters
    ----------
    market : MarketArrays
    calendar : FxCalendar
        Of the instrument.
    start_ns, end_ns : int
        The span, UTC nanoseconds.

    Returns
    -------
    (S,) int64
        Bar indices, ascending; sessions of `session_lengths` from them do not overlap.
    """
    time = market.time
    cold = np.concatenate(([0], np.cumsum(~np.isfinite(market.features).all(axis=1))))
    bars = np.arange(len(time))
    ready = (bars >= window_bars - 1) & (time >= start_ns) & (time < end_ns)
    ready &= cold[bars + 1] == cold[np.maximum(bars + 1 - window_bars, 0)]
    ready &= _scheduled_minutes(time, calendar, end_ns) >= session_bars + MAX_GAP_MINUTES
    lengths = session_lengths(time, bars, session_bars)
    found: list[int] = []
    free = 0
    for bar in np.flatnonzero(ready).tolist():
        if bar < free:
            continue
        before = slice(max(bar + 1 - session_bars, 0), bar + 1)
        if market.high[before].max() - market.low[before].min() < MIN_RANGE_PIPS * market.pip * (1 - 1e-9):
            continue
        found.append(bar)
        free = bar + int(lengths[bar])
    return np.asarray(found, dtype=np.int64)


def _scheduled_minutes(time_ns: Int64, calendar: FxCalendar, end_ns: int) -> Int64:
    # Of each bar, for how many minutes from its own on candles are expected without a gap; 0 where none is expected.
    if not len(time_ns):
        return np.empty(0, dtype=np.int64)
    minutes = calendar.expected_minutes(int(time_ns[0]), end_ns)
    minutes = minutes[is_open(minutes)] if len(minutes) else minutes
    if not len(minutes):
        return np.zeros(len(time_ns), dtype=np.int64)
    last = np.append(np.flatnonzero(np.diff(minutes) > MAX_GAP_MINUTES * MINUTE_NS), len(minutes) - 1)
    place = np.minimum(np.searchsorted(minutes, time_ns), len(minutes) - 1)
    left = last[np.searchsorted(last, place)] - place + 1
    return np.where(minutes[place] == time_ns, left, 0)

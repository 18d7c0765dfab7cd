"""Sessions as a live trader has them: begun by what is known at their first bar, and ended by a rule.

Sessions of training are chosen afterwards, as those without a gap (`fx_pipeline.sessions.index`): who is judged on
such sessions never trades into a gap. Here nothing looks ahead. What holds: whether a session begins or ends at a bar
depends on the bars up to it, on the calendar and on the end of the span, so cutting the future off changes none that
has begun. Where it stops: a bar that follows a gap is known at its close, so what is open over a gap is closed there,
at the price to which the gap has led.

Where sessions need not lie inside one trading week, the weekend is no gap: what is open is held over it.
"""

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.alignment import expected_bars, trading_minutes_between
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import TRADING_WEEK_MINUTES, FxCalendar, is_open, trading_week, week_minutes
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
_M1_RULES = SessionRules()
MAX_GAP_MINUTES, MIN_RANGE_PIPS = _M1_RULES.max_gap_bars, _M1_RULES.min_range_pips


def after_gap(time_ns: Int64, rules: SessionRules = _M1_RULES, timeframe: Timeframe = M1) -> Bool:
    """Whether a session that holds the bar before each bar is broken at it.

    It is where more than `max_gap_bars` bars of time lie between the two, and where sessions lie inside one trading
    week, also where a weekend does. Where they need not, time at which the week is over is not counted.

    Parameters
    ----------
    time_ns : (T,) int64
        Opens of the bars, in order.

    Returns
    -------
    (T,) bool
        The first bar has no gap before it.
    """
    gap = np.zeros(len(time_ns), np.bool_)
    if len(time_ns) < 2:
        return gap
    if rules.within_week:
        step = np.diff(time_ns)
        gap[1:] = step > rules.max_gap_bars * timeframe.bar_ns
        # A gap may be allowed to be longer than a weekend is.
        gap[1:] |= (step > timeframe.bar_ns) & (np.diff(trading_week(time_ns)) != 0)
    else:
        gap[1:] = trading_minutes_between(time_ns) > rules.max_gap_bars * timeframe.minutes
    return gap


def session_lengths(
    time_ns: Int64, starts: npt.ArrayLike, rules: SessionRules = _M1_RULES, timeframe: Timeframe = M1
) -> Int64:
    """Count the bars of sessions that begin at given bars.

    A session ends with its `rules.bars`-th bar, with the first bar after a gap (`after_gap`), where it lies inside a
    week with the first one in the last `max_gap_bars` bars of the trading week, or with the last bar there is.

    Parameters
    ----------
    time_ns : (T,) int64
    starts : (S,) array-like
        Bar indices.
    rules : SessionRules
    timeframe : Timeframe
        Of the bars.

    Returns
    -------
    (S,) int64
        1 or more.
    """
    starts = np.asarray(starts, dtype=np.int64)
    stop = after_gap(time_ns, rules, timeframe)
    if rules.within_week and len(time_ns):
        stop |= week_minutes(time_ns) >= TRADING_WEEK_MINUTES - rules.max_gap_bars * timeframe.minutes
    stops = np.append(np.flatnonzero(stop), len(time_ns) - 1)
    following = stops[np.minimum(np.searchsorted(stops[:-1], starts, side="right"), len(stops) - 1)]
    return np.minimum(rules.bars, following - starts + 1)


def live_starts(
    market: MarketArrays, calendar: FxCalendar, start_ns: int, end_ns: int, rules: SessionRules = _M1_RULES
) -> Int64:
    """List the bars at which a trader who sees nothing of the future begins its sessions, one after the other.

    A session begins at the first bar after the one before it that lies in [start, end), whose first observation is
    warmed up, at which trading is scheduled to go on for the whole session (to the end of the week, a daily break or a
    holiday of the calendar that is a gap, or the end of the span, `max_gap_bars` to spare), and at which the last
    `rules.bars` bars have moved by `min_range_pips`.

    Parameters
    ----------
    market : MarketArrays
        Its timeframe is that of the bars.
    calendar : FxCalendar
        Of the instrument.
    start_ns, end_ns : int
        The span, UTC nanoseconds.
    rules : SessionRules

    Returns
    -------
    (S,) int64
        Bar indices, ascending; sessions of `session_lengths` from them do not overlap.
    """
    time = market.time
    cold = np.concatenate(([0], np.cumsum(~np.isfinite(market.features).all(axis=1))))
    bars = np.arange(len(time))
    ready = (bars >= rules.window_bars - 1) & (time >= start_ns) & (time < end_ns)
    ready &= cold[bars + 1] == cold[np.maximum(bars + 1 - rules.window_bars, 0)]
    ready &= _scheduled_bars(market, calendar, end_ns, rules) >= rules.bars + rules.max_gap_bars
    lengths = session_lengths(time, bars, rules, market.timeframe)
    found: list[int] = []
    free = 0
    for bar in np.flatnonzero(ready).tolist():
        if bar < free:
            continue
        before = slice(max(bar + 1 - rules.bars, 0), bar + 1)
        if market.high[before].max() - market.low[before].min() < rules.min_range_pips * market.pip * (1 - 1e-9):
            continue
        found.append(bar)
        free = bar + int(lengths[bar])
    return np.asarray(found, dtype=np.int64)


def _scheduled_bars(market: MarketArrays, calendar: FxCalendar, end_ns: int, rules: SessionRules) -> Int64:
    # Of each bar, how many from its own on are expected without a gap; 0 where none is expected.
    time = market.time
    if not len(time):
        return np.empty(0, dtype=np.int64)
    expected = expected_bars(calendar, int(time[0]), end_ns, market.timeframe)
    if rules.within_week and len(expected):
        expected = expected[is_open(expected)]
    if not len(expected):
        return np.zeros(len(time), dtype=np.int64)
    last = np.append(np.flatnonzero(after_gap(expected, rules, market.timeframe)[1:]), len(expected) - 1)
    place = np.minimum(np.searchsorted(expected, time), len(expected) - 1)
    left = last[np.searchsorted(last, place)] - place + 1
    return np.where(expected[place] == time, left, 0)

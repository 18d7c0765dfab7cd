"""The valid-session index: SPEC section 6, computed in one pass."""

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import SESSION_BARS, WINDOW_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, is_open, trading_week
from fx_pipeline.market.live_sessions import MAX_GAP_MINUTES, MIN_RANGE_PIPS


def valid_starts(
    market: MarketArrays,
    stride: int = 1,
    session_bars: int = SESSION_BARS,
    window_bars: int = WINDOW_BARS,
    max_gap_minutes: int = MAX_GAP_MINUTES,
    min_range_pips: float = MIN_RANGE_PIPS,
) -> npt.NDArray[np.int64]:
    """List the bars at which a valid session starts.

    A session is `session_bars` consecutive bars, each at most `max_gap_minutes` after the one before, all inside one
    trading week, with a high-low range of at least `min_range_pips`, whose first observation (`window_bars` bars that
    end at its first bar) is fully warmed up. Gaps before the session, inside that first observation, do not count.

    Parameters
    ----------
    market : MarketArrays
    stride : int
        Keep every start that lies at least `stride` bars after the one kept before; 1 keeps all, `session_bars` makes
        sessions that do not overlap.

    Returns
    -------
    (S,) int64
        Bar indices, ascending.
    """
    warm = np.asarray(np.isfinite(market.features).all(axis=1))
    rules = (stride, session_bars, window_bars, max_gap_minutes, min_range_pips)
    return scan_sessions(market.time, warm, market.high, market.low, market.pip, *rules)[0]


def scan_sessions(
    time_ns: npt.NDArray[np.int64],
    warm: npt.NDArray[np.bool_],
    high: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    pip: float,
    stride: int = 1,
    session_bars: int = SESSION_BARS,
    window_bars: int = WINDOW_BARS,
    max_gap_minutes: int = MAX_GAP_MINUTES,
    min_range_pips: float = MIN_RANGE_PIPS,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """List the valid starts, as `valid_starts` does, from the columns that they depend on, and each session's range.

    Parameters
    ----------
    time_ns : (T,) int64
    warm : (T,) bool
        Whether all features of a bar are there.
    high, low : (T,) float64

    Returns
    -------
    starts : (S,) int64
        Bar indices, ascending. A start depends on the `window_bars` - 1 bars before it, and on the session.
    range_pips : (S,) float64
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1, not {stride}.")
    week, open_ = trading_week(time_ns), is_open(time_ns)
    breaks = np.zeros(len(time_ns), dtype=np.bool_)
    breaks[1:] = (np.diff(time_ns) > max_gap_minutes * MINUTE_NS) | (np.diff(week) != 0)
    breaks |= ~open_
    breaks[1:] |= ~open_[:-1]
    min_range = min_range_pips * pip * (1 - 1e-9)
    starts, ranges = _scan(breaks, warm, high, low, session_bars, window_bars, min_range, stride)
    return starts, ranges / pip


@numba.njit(cache=True, nogil=True)
def _scan(breaks, warm, high, low, session_bars, window_bars, min_range, stride):  # type: ignore[no-untyped-def]
    size = len(high)
    starts, ranges = np.empty(size, dtype=np.int64), np.empty(size)
    count = 0
    high_queue, low_queue = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    high_head = high_tail = low_head = low_tail = 0
    run_start = 0
    last_cold = -1
    kept = -stride
    for t in range(size):
        if breaks[t]:
            run_start = t
            high_head = high_tail
            low_head = low_tail
        if not warm[t]:
            last_cold = t
        while high_tail > high_head and high[high_queue[high_tail - 1]] <= high[t]:
            high_tail -= 1
        high_queue[high_tail] = t
        high_tail += 1
        while low_tail > low_head and low[low_queue[low_tail - 1]] >= low[t]:
            low_tail -= 1
        low_queue[low_tail] = t
        low_tail += 1
        start = t - session_bars + 1
        if high_queue[high_head] < start:
            high_head += 1
        if low_queue[low_head] < start:
            low_head += 1
        if start < run_start or start - window_bars < last_cold or start < kept + stride:
            continue
        spread = high[high_queue[high_head]] - low[low_queue[low_head]]
        if spread >= min_range:
            starts[count], ranges[count] = start, spread
            count += 1
            kept = start
    return starts[:count], ranges[:count]


def starts_inside(
    market: MarketArrays, starts: npt.NDArray[np.int64], start_ns: int, end_ns: int, session_bars: int = SESSION_BARS
) -> npt.NDArray[np.int64]:
    """Keep the sessions that lie wholly inside [start, end): the last bar closes before `end`.

    Returns
    -------
    (S,) int64
    """
    first, last = market.time[starts], market.time[starts + session_bars - 1] + MINUTE_NS
    return starts[(first >= start_ns) & (last <= end_ns)]

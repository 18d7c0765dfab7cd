"""The valid-session index, computed in one pass."""

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import is_open
from fx_pipeline.market.live_sessions import after_gap
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe


def valid_starts(market: MarketArrays, rules: SessionRules = SessionRules(), stride: int = 1) -> npt.NDArray[np.int64]:
    """List the bars at which a valid session starts.

    A session is `rules.bars` consecutive bars, each at most `max_gap_bars` lengths of a bar after the one before, with
    a high-low range of at least `min_range_pips`, whose first observation (`window_bars` bars that end at its first
    bar) is fully warmed up. Gaps before the session, inside that first observation, do not count. It lies inside one trading
    week; without `within_week` it may go on over weekends, whose closed hours are then no part of a gap.

    Parameters
    ----------
    market : MarketArrays
    rules : SessionRules
    stride : int
        Keep every start that lies at least `stride` bars after the one kept before; 1 keeps all, `rules.bars` makes
        sessions that do not overlap.

    Returns
    -------
    (S,) int64
        Bar indices, ascending.
    """
    warm = np.asarray(np.isfinite(market.features).all(axis=1))
    columns = (market.time, warm, market.high, market.low, market.pip)
    return scan_sessions(*columns, rules, market.timeframe, stride)[0]


def scan_sessions(
    time_ns: npt.NDArray[np.int64],
    warm: npt.NDArray[np.bool_],
    high: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    pip: float,
    rules: SessionRules = SessionRules(),
    timeframe: Timeframe = M1,
    stride: int = 1,
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
    min_range = rules.min_range_pips * pip * (1 - 1e-9)
    sizes = (rules.bars, rules.window_bars, min_range, stride)
    starts, ranges = _scan(_breaks(time_ns, rules, timeframe), warm, high, low, *sizes)
    return starts, ranges / pip


def _breaks(time_ns: npt.NDArray[np.int64], rules: SessionRules, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
    """Bars (T,) that no session has beside the bar before: after a gap, and stray prints of the weekend."""
    open_, breaks = is_open(time_ns), after_gap(time_ns, rules, timeframe)
    breaks |= ~open_
    breaks[1:] |= ~open_[:-1]
    return breaks


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
    market: MarketArrays,
    starts: npt.NDArray[np.int64],
    start_ns: int,
    end_ns: int,
    rules: SessionRules = SessionRules(),
) -> npt.NDArray[np.int64]:
    """Keep the sessions that lie wholly inside [start, end): the last bar closes before `end`.

    Returns
    -------
    (S,) int64
    """
    first, last = market.time[starts], market.time[starts + rules.bars - 1] + market.timeframe.bar_ns
    return starts[(first >= start_ns) & (last <= end_ns)]

"""Bars of longer timeframes from one-minute bars: complete ones alone, with how many minutes each holds.

What holds: a bar is made of the minutes that open inside it, and of nothing else. It is there when all of it lies
between the first and the last moment of which the minutes are known (`known_span`); a minute without a tick is no hole,
so that a quiet hour may hold a few minutes only, and a bar of which no minute was traded is not there. Where it stops:
of days that nobody downloaded it knows nothing; the number of minutes shows what lies at their edge.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.market.alignment import bar_ends, bar_starts
from fx_pipeline.market.calendar import DAY_MINUTES, MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import BAR_SCHEMA, CANDLE_SCHEMA, SIDES
from fx_pipeline.market.timeframe import Timeframe

Int64 = npt.NDArray[np.int64]
# Longer than a weekend with a holiday on each side of it.
_LOOK_NS = 8 * DAY_MINUTES * MINUTE_NS


def resample(candles: pa.Table, timeframe: Timeframe, from_ns: int, until_ns: int) -> pa.Table:
    """Build the bars of a timeframe that begin and end inside a span of known minutes.

    Parameters
    ----------
    candles : Table
        M1 bars as `CANDLE_SCHEMA`, sorted and unique on time.
    timeframe : Timeframe
    from_ns, until_ns : int
        The minutes of [from, until) are known, UTC nanoseconds.

    Returns
    -------
    Table
        `BAR_SCHEMA`, sorted and unique on time. Of each side the open is that of the first minute, the close of the
        last one; volumes are summed; quotes are modelled where those of any minute are; the source is synthetic where
        any minute is, else that of the first.
    """
    time = _times(candles)
    starts = bar_starts(time, timeframe)
    first = np.flatnonzero(np.diff(starts, prepend=starts[:1] - 1)) if len(starts) else np.empty(0, np.int64)
    opens = starts[first]
    whole = (opens >= from_ns) & (bar_ends(opens, timeframe) <= until_ns)
    if not whole.any():
        return BAR_SCHEMA.empty_table()
    last = np.append(first[1:], len(starts)) - 1
    columns: dict[str, pa.Array] = {"time": pa.array(opens).cast(CANDLE_SCHEMA.field("time").type)}
    for side in SIDES:
        columns[f"{side}_o"] = pa.array(_column(candles, f"{side}_o")[first])
        columns[f"{side}_h"] = pa.array(np.maximum.reduceat(_column(candles, f"{side}_h"), first))
        columns[f"{side}_l"] = pa.array(np.minimum.reduceat(_column(candles, f"{side}_l"), first))
        columns[f"{side}_c"] = pa.array(_column(candles, f"{side}_c")[last])
    columns["volume"] = pa.array(np.add.reduceat(_column(candles, "volume"), first))
    columns["quotes_modelled"] = pa.array(np.logical_or.reduceat(_column(candles, "quotes_modelled"), first))
    columns["source"] = _sources(candles, first)
    columns["minutes"] = pa.array(np.diff(first, append=len(starts)), pa.int32())
    bars = pa.Table.from_arrays([columns[name] for name in BAR_SCHEMA.names], schema=BAR_SCHEMA)
    return bars.filter(pa.array(whole)).combine_chunks()


def known_span(time_ns: Int64, calendar: FxCalendar, now_ns: int) -> tuple[int, int]:
    """Return from when to when the minutes of a market are known of which these are the bars.

    Before the first bar and after the last one that is as far as no candle is expected, and not beyond now: so the last
    bar of a week is complete when the week is over, and not only when the next one begins.

    Parameters
    ----------
    time_ns : (T,) int64
        Opens of M1 bars, in order.

    Returns
    -------
    (int, int)
        [from, until), UTC nanoseconds; empty without a bar.
    """
    if not len(time_ns):
        return 0, 0
    first, last = int(time_ns[0]), int(time_ns[-1]) + MINUTE_NS
    before = calendar.expected_minutes(first - _LOOK_NS, first)
    after = calendar.expected_minutes(last, last + _LOOK_NS)
    start = int(before[-1]) + MINUTE_NS if len(before) else first - _LOOK_NS
    return start, max(last, min(int(after[0]) if len(after) else last + _LOOK_NS, now_ns))


def _sources(candles: pa.Table, first: npt.NDArray[np.intp]) -> pa.Array:
    # The few names by number: as text they would take longer than all prices.
    encoded = candles["source"].combine_chunks().dictionary_encode()
    names, numbers = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    found = numbers[first]
    if "synthetic" in names:
        synthetic = names.index("synthetic")
        found = np.where(np.logical_or.reduceat(numbers == synthetic, first), synthetic, found)
    return pa.array(names, pa.string()).take(pa.array(found))


def _column(candles: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(candles[name].to_numpy())


def _times(table: pa.Table) -> Int64:
    return np.asarray(table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64))

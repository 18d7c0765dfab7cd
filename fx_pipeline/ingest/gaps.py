"""Gaps of a month against the FX calendar: expected bars that are not there, and bars where none is expected.

Minutes are expected from the FX week less the daily break and the holidays (`FxCalendar`), and a longer bar where one
of its minutes is. Those between the first and the last bar that are not there are "missing"; bars at other times are
"unexpected", and stay in the lake like any other. What a month lacks before its first and after its last bar shows in
the overview across months (`overview`), which knows that there is data on both sides of it.

A session's own rule is another one: no gap over ten bars between its bars, whatever the calendar expects there.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.layout import gaps_path
from fx_pipeline.market.alignment import bar_ends, bar_opens, expected_bars
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.files import read_table
from fx_pipeline.market.lake_month import rebuild
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]

#: A run of consecutive bars, [start, end), that is missing or unexpected, and how many minutes it lasts.
GAP_SCHEMA = pa.schema(
    [
        pa.field("start", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("end", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("minutes", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


class GapCount(NamedTuple):
    """Bars of a span: expected, of those present and missing, bars where none is expected, and the longest gap."""

    expected: int
    present: int
    missing: int
    unexpected: int
    longest_gap_minutes: int
    longest_gap_start_ns: int | None

    @property
    def missing_percent(self) -> float:
        """Share of the expected bars that are missing."""
        return 100.0 * self.missing / max(1, self.expected)


def gap_table(time_ns: Int64, calendar: FxCalendar, timeframe: Timeframe = M1) -> pa.Table:
    """Return the gaps of bars against the FX calendar, between the first and the last of them.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens of the timeframe, sorted.

    Returns
    -------
    Table
        `GAP_SCHEMA`, sorted by start.
    """
    return find_gaps(time_ns, calendar, timeframe)[0]


def count_gaps(time_ns: Int64, start_ns: int, end_ns: int, calendar: FxCalendar, timeframe: Timeframe = M1) -> GapCount:
    """Count the bars that open in [start, end) against the FX calendar.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens of the timeframe inside [start, end), sorted.
    """
    return _count(_compare(time_ns, start_ns, end_ns, calendar, timeframe))


def find_gaps(time_ns: Int64, calendar: FxCalendar, timeframe: Timeframe = M1) -> tuple[pa.Table, GapCount]:
    """Return the gaps of bars between the first and the last of them, and their count: `gap_table` and `count_gaps`."""
    start, end = (int(time_ns[0]), int(time_ns[-1]) + 1) if len(time_ns) else (0, 0)
    compared = _compare(time_ns, start, end, calendar, timeframe)
    rows: list[tuple[int, int, int, str]] = []
    for kind, bars in (("missing", compared.missing), ("unexpected", compared.unexpected)):
        starts, ends, lengths = _runs(bars, timeframe)
        rows += [(*run, kind) for run in zip(starts.tolist(), ends.tolist(), lengths.tolist(), strict=True)]
    rows.sort()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    # Arrow takes no integers for times with a zone, but casts them.
    arrays = [pa.array(columns[0], pa.int64()), pa.array(columns[1], pa.int64()), *map(pa.array, columns[2:])]
    table = pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, GAP_SCHEMA, strict=True)], schema=GAP_SCHEMA
    )
    return table, _count(compared)


def read_gaps(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> pa.Table:
    """Return the gap table of a month (`GAP_SCHEMA`); empty when the lake has no such month.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = gaps_path(lake, instrument, month, timeframe)
    return read_table(path, GAP_SCHEMA, rebuild(path)) if path.exists() else GAP_SCHEMA.empty_table()


class _Compared(NamedTuple):
    # How many bars are expected, those of them that are missing, and those that are there and not expected.
    expected: int
    missing: Int64
    unexpected: Int64
    timeframe: Timeframe


def _compare(time_ns: Int64, start_ns: int, end_ns: int, calendar: FxCalendar, timeframe: Timeframe) -> _Compared:
    opens = bar_opens(start_ns, end_ns, timeframe)
    if timeframe == M1:
        expected = calendar.is_expected(opens)
    else:
        expected = np.isin(opens, expected_bars(calendar, start_ns, end_ns, timeframe), assume_unique=True)
    present = np.zeros(len(opens), bool)
    present[np.searchsorted(opens, time_ns)] = True
    return _Compared(int(expected.sum()), opens[expected & ~present], opens[present & ~expected], timeframe)


def _count(compared: _Compared) -> GapCount:
    starts, _, lengths = _runs(compared.missing, compared.timeframe)
    longest = int(np.argmax(lengths)) if len(lengths) else None
    return GapCount(
        expected=compared.expected,
        present=compared.expected - len(compared.missing),
        missing=len(compared.missing),
        unexpected=len(compared.unexpected),
        longest_gap_minutes=0 if longest is None else int(lengths[longest]),
        longest_gap_start_ns=None if longest is None else int(starts[longest]),
    )


def _runs(opens: Int64, timeframe: Timeframe) -> tuple[Int64, Int64, Int64]:
    # Start, end and minutes of each run. A weekend, a break or a holiday ends a run: nothing is missing there.
    if not len(opens):
        return opens, opens, opens
    ends = bar_ends(opens, timeframe)
    first = np.append(0, np.flatnonzero(opens[1:] != ends[:-1]) + 1)
    last = np.append(first[1:], len(opens)) - 1
    return opens[first], ends[last], (ends[last] - opens[first]) // MINUTE_NS

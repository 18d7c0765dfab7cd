"""Gaps of a month against the FX calendar: expected minutes without a candle, and candles in minutes that have none.

Minutes are expected from the FX week less the daily break and the holidays (`FxCalendar`). Those between the first and
the last bar without a candle are "missing"; candles at other times are "unexpected", and stay in the lake like any
other. What a month lacks before its first and after its last bar shows in the overview across months (`overview`),
which knows that there is data on both sides of it.

A session's own rule is another one: no gap over ten minutes between its bars, whatever the calendar expects there.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.layout import gaps_path
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.files import read_table
from fx_pipeline.market.lake_month import rebuild

Int64 = npt.NDArray[np.int64]

#: A run of consecutive minutes, [start, end), that is missing or unexpected.
GAP_SCHEMA = pa.schema(
    [
        pa.field("start", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("end", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("minutes", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)


class GapCount(NamedTuple):
    """Minutes of a span: expected, of those with and without a bar, bars where none is expected, longest gap."""

    expected: int
    present: int
    missing: int
    unexpected: int
    longest_gap_minutes: int
    longest_gap_start_ns: int | None

    @property
    def missing_percent(self) -> float:
        """Share of the expected minutes that have no bar."""
        return 100.0 * self.missing / max(1, self.expected)


def gap_table(time_ns: Int64, calendar: FxCalendar) -> pa.Table:
    """Return the gaps of bars against the FX calendar, between the first and the last of them.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens on the minute, sorted.

    Returns
    -------
    Table
        `GAP_SCHEMA`, sorted by start.
    """
    return find_gaps(time_ns, calendar)[0]


def count_gaps(time_ns: Int64, start_ns: int, end_ns: int, calendar: FxCalendar) -> GapCount:
    """Count the minutes of [start, end) against the FX calendar.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens on the minute inside [start, end), sorted.
    """
    return _count(_compare(time_ns, start_ns, end_ns, calendar))


def find_gaps(time_ns: Int64, calendar: FxCalendar) -> tuple[pa.Table, GapCount]:
    """Return the gaps of bars between the first and the last of them, and their count: `gap_table` and `count_gaps`."""
    start, end = (int(time_ns[0]), int(time_ns[-1]) + MINUTE_NS) if len(time_ns) else (0, 0)
    compared = _compare(time_ns, start, end, calendar)
    rows: list[tuple[int, int, int, str]] = []
    for kind, minutes in (("missing", compared.missing), ("unexpected", compared.unexpected)):
        starts, lengths = _runs(minutes)
        ends = starts + lengths * MINUTE_NS
        rows += [(*run, kind) for run in zip(starts.tolist(), ends.tolist(), lengths.tolist(), strict=True)]
    rows.sort()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    # Arrow takes no integers for times with a zone, but casts them.
    arrays = [pa.array(columns[0], pa.int64()), pa.array(columns[1], pa.int64()), *map(pa.array, columns[2:])]
    table = pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, GAP_SCHEMA, strict=True)], schema=GAP_SCHEMA
    )
    return table, _count(compared)


def read_gaps(lake: Path, instrument: str, month: str) -> pa.Table:
    """Return the gap table of a month (`GAP_SCHEMA`); empty when the lake has no such month.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = gaps_path(lake, instrument, month)
    return read_table(path, GAP_SCHEMA, rebuild(path)) if path.exists() else GAP_SCHEMA.empty_table()


class _Compared(NamedTuple):
    # How many minutes are expected, those of them without a bar, and those with a bar that are not expected.
    expected: int
    missing: Int64
    unexpected: Int64


def _compare(time_ns: Int64, start_ns: int, end_ns: int, calendar: FxCalendar) -> _Compared:
    first = -(-start_ns // MINUTE_NS) * MINUTE_NS
    minutes = np.arange(first, end_ns, MINUTE_NS, dtype=np.int64)
    expected = calendar.is_expected(minutes)
    present = np.zeros(len(minutes), bool)
    present[(time_ns - first) // MINUTE_NS] = True
    return _Compared(int(expected.sum()), minutes[expected & ~present], minutes[present & ~expected])


def _count(compared: _Compared) -> GapCount:
    starts, lengths = _runs(compared.missing)
    longest = int(np.argmax(lengths)) if len(lengths) else None
    return GapCount(
        expected=compared.expected,
        present=compared.expected - len(compared.missing),
        missing=len(compared.missing),
        unexpected=len(compared.unexpected),
        longest_gap_minutes=0 if longest is None else int(lengths[longest]),
        longest_gap_start_ns=None if longest is None else int(starts[longest]),
    )


def _runs(minutes: Int64) -> tuple[Int64, Int64]:
    # First minute and length of each run. A weekend, a break or a holiday ends a run: nothing is missing there.
    if not len(minutes):
        return minutes, minutes
    first = np.append(0, np.flatnonzero(np.diff(minutes) != MINUTE_NS) + 1)
    return minutes[first], np.diff(first, append=len(minutes))

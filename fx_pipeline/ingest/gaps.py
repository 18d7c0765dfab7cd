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
        Bar opens, sorted.

    Returns
    -------
    Table
        `GAP_SCHEMA`, sorted by start.
    """
    rows: list[tuple[int, int, int, str]] = []
    if len(time_ns):
        expected = calendar.expected_minutes(int(time_ns[0]), int(time_ns[-1]) + MINUTE_NS)
        absent = np.setdiff1d(expected, time_ns, assume_unique=True)
        for kind, minutes in (("missing", absent), ("unexpected", time_ns[~calendar.is_expected(time_ns)])):
            rows += [(int(run[0]), int(run[-1]) + MINUTE_NS, len(run), kind) for run in _runs(minutes)]
    rows.sort()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    # Arrow takes no integers for times with a zone, but casts them.
    arrays = [pa.array(columns[0], pa.int64()), pa.array(columns[1], pa.int64()), *map(pa.array, columns[2:])]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, GAP_SCHEMA, strict=True)], schema=GAP_SCHEMA
    )


def count_gaps(time_ns: Int64, start_ns: int, end_ns: int, calendar: FxCalendar) -> GapCount:
    """Count the minutes of [start, end) against the FX calendar.

    Parameters
    ----------
    time_ns : (T,) int64
        Bar opens inside [start, end), sorted.
    """
    expected = calendar.expected_minutes(start_ns, end_ns)
    absent = np.setdiff1d(expected, time_ns, assume_unique=True)
    longest = max(_runs(absent), key=len, default=absent)
    present = len(expected) - len(absent)
    return GapCount(
        expected=len(expected),
        present=present,
        missing=len(absent),
        unexpected=len(time_ns) - present,
        longest_gap_minutes=len(longest),
        longest_gap_start_ns=int(longest[0]) if len(longest) else None,
    )


def read_gaps(lake: Path, instrument: str, month: str) -> pa.Table:
    """Return the gap table of a month (`GAP_SCHEMA`); empty when the lake has no such month.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = gaps_path(lake, instrument, month)
    remedy = "Remove it and the month's bars, and both are built again from the raw pages."
    return read_table(path, GAP_SCHEMA, remedy) if path.is_file() else GAP_SCHEMA.empty_table()


def _runs(minutes: Int64) -> list[Int64]:
    # A weekend, a break or a holiday ends a run: nothing is missing there.
    breaks = np.flatnonzero(np.diff(minutes) != MINUTE_NS) + 1
    return [run for run in np.split(minutes, breaks) if len(run)]

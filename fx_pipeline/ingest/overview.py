"""An instrument's gaps month by month, and its newest bar: what is looked at to trust the data of years."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.gaps import GapCount, count_gaps
from fx_pipeline.ingest.layout import lake_months, lake_path, quarantine_path
from fx_pipeline.market.alignment import expected_bars
from fx_pipeline.market.calendar import FxCalendar
from fx_pipeline.market.candles import QUARANTINE_SCHEMA
from fx_pipeline.market.files import read_table
from fx_pipeline.market.lake_month import read_lake_month
from fx_pipeline.market.months import month_bounds, months_between
from fx_pipeline.market.timeframe import M1, Timeframe


class MonthGaps(NamedTuple):
    """A month of an instrument against the FX calendar."""

    month: str
    bars: int
    gaps: GapCount

    def record(self) -> dict[str, Any]:
        """Return the month as plain values: bars, percent, and the longest gap's start in UTC."""
        start = self.gaps.longest_gap_start_ns
        return {
            "month": self.month,
            "bars": self.bars,
            "expected": self.gaps.expected,
            "present": self.gaps.present,
            "missing": self.gaps.missing,
            "missing_percent": round(self.gaps.missing_percent, 3),
            "unexpected": self.gaps.unexpected,
            "longest_gap_minutes": self.gaps.longest_gap_minutes,
            "longest_gap_start": None if start is None else f"{np.datetime64(start, 'ns').astype('datetime64[m]')}Z",
        }


def month_gaps(
    lake: Path,
    instrument: str,
    calendar: FxCalendar,
    wanted: Collection[str] | None = None,
    timeframe: Timeframe = M1,
) -> list[MonthGaps]:
    """Return the gaps of every month from an instrument's first bar to its last one.

    A month in between that the lake does not have is all missing, and so is the part of a month that lies between the
    data of its neighbours: nothing is lost at the seams.

    Parameters
    ----------
    wanted : collection of str, optional
        Only these of the months.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    stored = lake_months(lake, instrument, timeframe)
    if not stored:
        return []
    ends = (
        bar_times(lake, instrument, stored[0], timeframe)[0],
        bar_times(lake, instrument, stored[-1], timeframe)[-1] + 1,
    )
    found: list[MonthGaps] = []
    for month in months_between(*map(int, ends)):
        if wanted is not None and month not in wanted:
            continue
        bounds = month_bounds(month)
        start, end = max(bounds[0], int(ends[0])), min(bounds[1], int(ends[1]))
        times = bar_times(lake, instrument, month, timeframe) if month in stored else np.empty(0, np.int64)
        found.append(MonthGaps(month, len(times), count_gaps(times, start, end, calendar, timeframe)))
    return found


def expected_of(calendar: FxCalendar, month: str, now_ns: int, timeframe: Timeframe = M1) -> int:
    """Return how many bars of a whole month, up to now, the FX calendar expects."""
    start, end = month_bounds(month)
    return len(expected_bars(calendar, start, min(end, now_ns), timeframe))


def total(months: list[MonthGaps]) -> MonthGaps:
    """Sum up the months of an instrument; the month is then the span, and the longest gap that of any month."""
    counts = [month.gaps for month in months]
    longest = max(counts, key=lambda count: count.longest_gap_minutes)
    return MonthGaps(
        f"{months[0].month}..{months[-1].month}",
        sum(month.bars for month in months),
        GapCount(
            expected=sum(count.expected for count in counts),
            present=sum(count.present for count in counts),
            missing=sum(count.missing for count in counts),
            unexpected=sum(count.unexpected for count in counts),
            longest_gap_minutes=longest.longest_gap_minutes,
            longest_gap_start_ns=longest.longest_gap_start_ns,
        ),
    )


def bar_times(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> npt.NDArray[np.int64]:
    """Return the bar opens of a month of the lake.

    Returns
    -------
    (T,) int64
        UTC nanoseconds, sorted; a month of the lake has at least one.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    column = read_lake_month(lake_path(lake, instrument, month, timeframe), ["time"])["time"]
    return np.asarray(column.cast(pa.int64()).to_numpy())


def count_quarantined(data_dir: Path, instrument: str, start_ns: int, end_ns: int, timeframe: Timeframe = M1) -> int:
    """Count the bars that open in [start, end) and were set aside, on import or on building the lake.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    times = pa.schema([QUARANTINE_SCHEMA.field("time")])
    count = 0
    # A name that begins with a dot is a file that is being written, or that a kill left half written.
    for path in sorted(quarantine_path(data_dir, instrument, "x", timeframe).parent.glob("[!.]*.parquet")):
        asset = f"{timeframe.slug}_candles"
        mend = f"move it away; importing the file, or materialising {asset} of {instrument}, makes it again."
        found = read_table(path, times, mend)["time"].cast(pa.int64()).to_numpy()
        count += int(((found >= start_ns) & (found < end_ns)).sum())
    return count


def newest_bar(lake: Path, instrument: str, timeframe: Timeframe = M1) -> int | None:
    """Return the open of an instrument's newest bar, UTC nanoseconds; None when the lake has none.

    Raises
    ------
    DataError
        If its file cannot be read.
    """
    stored = lake_months(lake, instrument, timeframe)
    return int(bar_times(lake, instrument, stored[-1], timeframe)[-1]) if stored else None

"""Spikes out of a file's rows, month by month with the bars beside it, into the quarantine."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.buckets import Buckets, Rows
from fx_pipeline.ingest.judge import refused_rows
from fx_pipeline.ingest.sides import GivenSides
from fx_pipeline.ingest.spikes import BESIDE_BARS, find_spikes, near_ends, price_sides, reason_of
from fx_pipeline.market.months import month_bounds
from fx_pipeline.market.timeframe import M1, Timeframe

#: More spikes than that, and than this share of the rows, are no bad bars: the file is not what it seems.
_FEW, _MOST_SHARE = 10, 0.01


def take_out(
    buckets: Buckets,
    sides: GivenSides,
    instrument: str,
    candidates: npt.NDArray[np.int64],
    rows: int,
    timeframe: Timeframe = M1,
) -> list[pa.Table]:
    """Take spikes out of the buckets, and return them as `judge.IMPORT_QUARANTINE_SCHEMA`, a table a month and reason.

    Nothing is taken out when they are too many to be bad bars.

    Parameters
    ----------
    buckets : Buckets
        Settled: sorted, unique on time.
    candidates : (N,) int64
        From `spikes.Scan`.
    rows : int
        Rows of the file.
    """
    found: dict[str, npt.NDArray[np.int8]] = {}
    months = buckets.months
    for number, month in enumerate(months):
        first, last = np.searchsorted(candidates, month_bounds(month))
        # A run that began in the month before shows by the step at its end, which may lie here.
        if first == last:
            continue
        own = buckets.take(month)
        before, after = near_ends(own.time, candidates[first:last])
        parts = [own]
        if before and number:
            parts.insert(0, _end(buckets.take(months[number - 1]), slice(-BESIDE_BARS, None)))
        lead = len(parts[0]) if len(parts) > 1 else 0
        if after and number + 1 < len(months):
            parts.append(_end(buckets.take(months[number + 1]), slice(None, BESIDE_BARS)))
        joined = Rows.concatenate(parts)
        prices = dict(zip(sides.columns, joined.prices, strict=True))
        judged = find_spikes(
            instrument,
            joined.time,
            price_sides(prices, sides.modelled),
            number > 0,
            number + 1 < len(months),
            timeframe,
        )
        marks = judged.marks[lead : lead + len(own)]
        if marks.any():
            found[month] = marks
    count = sum(int((marks > 0).sum()) for marks in found.values())
    if count > max(_FEW, _MOST_SHARE * rows):
        return []
    tables: list[pa.Table] = []
    for month, marks in found.items():
        own = buckets.take(month)
        tables += [
            refused_rows(own.part(marks == mark), sides, reason_of(mark)) for mark in np.unique(marks[marks > 0])
        ]
        buckets.replace(month, own.part(marks == 0))
    return tables


def _end(rows: Rows, part: slice) -> Rows:
    # Copies: a view would keep the whole month in memory.
    return Rows(*(array[..., part].copy() for array in rows.arrays))

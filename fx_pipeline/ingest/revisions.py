"""Revisions: bars of the lake that the broker has changed or withdrawn since, with old and new values.

They are kept beside the lake's month, in the order in which they were found, and written before the month's new bars:
a build that is killed in between finds the same revision again, and does not note it twice.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.layout import is_timeframe, revisions_folder
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.files import read_table, write_table
from fx_pipeline.market.timeframe import M1, Timeframe

_VALUES = [field for field in CANDLE_SCHEMA if field.name != "time"]
CHANGED, REMOVED = "changed", "removed"

#: `noted` is when the month was built, where that is known; a removed bar has no new values.
REVISION_SCHEMA = pa.schema(
    [
        CANDLE_SCHEMA.field("time"),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("noted", pa.timestamp("ns", tz="UTC")),
        *(pa.field(f"old_{field.name}", field.type) for field in _VALUES),
        *(pa.field(f"new_{field.name}", field.type) for field in _VALUES),
    ]
)
_REMEDY = "move it away and run again; what it says of older changes is not to be found elsewhere."


def find_revisions(old: pa.Table, new: pa.Table, noted_ns: int | None = None) -> pa.Table:
    """Return the bars of `old` that `new` has with other values, or not at all.

    Parameters
    ----------
    old, new : Table
        `CANDLE_SCHEMA`, sorted and unique on time.

    Returns
    -------
    Table
        `REVISION_SCHEMA`, sorted by time.
    """
    if not len(old) or old.equals(new):
        return REVISION_SCHEMA.empty_table()
    old_times, new_times = _times(old), _times(new)
    _, in_old, in_new = np.intersect1d(old_times, new_times, assume_unique=True, return_indices=True)
    differs = np.zeros(len(in_old), dtype=bool)
    for field in _VALUES:
        differs |= old[field.name].to_numpy()[in_old] != new[field.name].to_numpy()[in_new]
    removed = np.setdiff1d(np.arange(len(old_times)), in_old, assume_unique=True)
    rows = np.concatenate([in_old[differs], removed])
    counterparts = pa.array(
        np.concatenate([in_new[differs], np.zeros(len(removed), np.int64)]), mask=np.arange(len(rows)) >= differs.sum()
    )
    before, after = old.take(pa.array(rows)), new.take(counterparts) if len(new) else None
    columns = [
        before["time"],
        pa.array([CHANGED] * int(differs.sum()) + [REMOVED] * len(removed), pa.string()),
        pa.array([noted_ns] * len(rows), pa.int64()).cast(REVISION_SCHEMA.field("noted").type),
        *(before[field.name] for field in _VALUES),
        *(pa.nulls(len(rows), field.type) if after is None else after[field.name] for field in _VALUES),
    ]
    return pa.Table.from_arrays(columns, schema=REVISION_SCHEMA).sort_by("time").combine_chunks()


def note_revisions(path: Path, found: pa.Table) -> int:
    """Add revisions to the file of a month, and return how many it holds by then.

    Raises
    ------
    DataError
        If the file is there and cannot be read.
    """
    known = read_revisions(path)
    if not len(found):
        return len(known)
    compared = [name for name in REVISION_SCHEMA.names if name != "noted"]
    newest: dict[int, tuple[object, ...]] = {}
    for time, row in _rows(known, compared):
        newest[time] = row
    fresh: npt.NDArray[np.bool_] = np.array([newest.get(time) != row for time, row in _rows(found, compared)])
    added = found.filter(pa.array(fresh))
    if len(added):
        write_table(path, pa.concat_tables([known, added]))
    return len(known) + len(added)


class RevisedMonth(NamedTuple):
    """Revisions of a month that were noted in some span; `noted_ns` is when the newest was."""

    instrument: str
    month: str
    changed: int
    removed: int
    noted_ns: int


def revised_since(lake: Path, since_ns: int, timeframe: Timeframe = M1) -> list[RevisedMonth]:
    """Return the months of the lake with revisions that were noted at or after a time, by instrument and month.

    Raises
    ------
    DataError
        If a file of revisions cannot be read.
    """
    found: list[RevisedMonth] = []
    for path in sorted(revisions_folder(lake, timeframe).glob("*/*.parquet")):
        # Most were last written long ago.
        if is_timeframe(path.parent.name) or path.stat().st_mtime_ns < since_ns:
            continue
        revisions = read_revisions(path)
        noted = revisions["noted"].cast(pa.int64()).fill_null(0).to_numpy()
        recent = noted >= since_ns
        if recent.any():
            changed = int(np.sum(np.array(revisions["kind"].to_pylist(), dtype=str)[recent] == CHANGED))
            removed = int(recent.sum()) - changed
            found.append(RevisedMonth(path.parent.name, path.stem, changed, removed, int(noted.max())))
    return found


def read_revisions(path: Path) -> pa.Table:
    """Return the revisions of a month (`REVISION_SCHEMA`), in the order in which they were found; empty without a file.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    return read_table(path, REVISION_SCHEMA, _REMEDY) if path.exists() else REVISION_SCHEMA.empty_table()


def _rows(table: pa.Table, names: list[str]) -> list[tuple[int, tuple[object, ...]]]:
    columns = [table[name].to_pylist() for name in names if name != "time"]
    return list(zip(_times(table).tolist(), zip(*columns, strict=True), strict=True))


def _times(table: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64))

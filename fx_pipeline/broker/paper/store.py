"""The paper server's candles: one parquet file an instrument and month, `candles/{INSTRUMENT}/{YYYY-MM}.parquet`.

Those of other timeframes than M1 lie beside them, in `candles_h1/...`.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fx_pipeline.market.atomic import atomic_path
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.disk import clear_disk_errors, read_stored
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.files import count_rows, decode_table, read_table, table_bytes
from fx_pipeline.market.months import month_bounds, month_of
from fx_pipeline.market.timeframe import M1, TIMEFRAMES, Timeframe

_REMEDY = "move it away and import the candles again."
_MONTH_FILE = re.compile(r"(\d.*)\.parquet")
_VALUES = [name for name in CANDLE_SCHEMA.names if name != "time"]
_SERVED = pa.schema([field for field in CANDLE_SCHEMA if field.name != "source"])


@dataclass(frozen=True)
class Upsert:
    """What an upsert did to the store.

    Attributes
    ----------
    added, unchanged, changed : int
        Bars that are new, that stood there with the same values, and that replaced other values.
    changed_times : tuple of int
        UTC nanoseconds of the changed bars.
    written : tuple of str
        Months whose file was written; a month in which nothing changed keeps its file.
    """

    added: int
    unchanged: int
    changed: int
    changed_times: tuple[int, ...]
    written: tuple[str, ...]


@dataclass(frozen=True)
class MonthChange:
    """What candles change in a month of the store.

    Attributes
    ----------
    path : Path
        The month's file.
    data : bytes or None
        Its new content; None when nothing changes.
    added, unchanged : int
    changed_times : tuple of int
        As of `Upsert`.
    """

    path: Path
    data: bytes | None
    added: int
    unchanged: int
    changed_times: tuple[int, ...]


def candles_folder(store: Path, instrument: str, timeframe: Timeframe = M1) -> Path:
    """Folder of one instrument's candles in the store."""
    return _candles(store, timeframe) / instrument


def month_path(store: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """File of one instrument's month in the store."""
    return candles_folder(store, instrument, timeframe) / f"{month}.parquet"


def instruments(store: Path) -> list[str]:
    """Return the instruments of which the store has candles of any timeframe, sorted."""
    return sorted(
        {
            folder.name
            for timeframe in TIMEFRAMES.values()
            for folder in _candles(store, timeframe).glob("*")
            if folder.is_dir() and months(store, folder.name, timeframe)
        }
    )


def stored_timeframes(store: Path, instrument: str) -> list[Timeframe]:
    """Return the timeframes of which the store has candles of an instrument, the finest first."""
    return [timeframe for timeframe in TIMEFRAMES.values() if months(store, instrument, timeframe)]


def _candles(store: Path, timeframe: Timeframe) -> Path:
    return store / ("candles" if timeframe == M1 else f"candles_{timeframe.slug}")


def months(store: Path, instrument: str, timeframe: Timeframe = M1) -> list[str]:
    """Return the months of which the store has candles, in order."""
    try:
        names = os.listdir(candles_folder(store, instrument, timeframe))
    except FileNotFoundError:
        return []
    return sorted(found[1] for name in names if (found := _MONTH_FILE.fullmatch(name)))


def span(store: Path, instrument: str, timeframe: Timeframe = M1) -> tuple[int, int] | None:
    """Return the open times of the first and the last stored bar, UTC nanoseconds; None when there is no bar."""
    known = months(store, instrument, timeframe)
    if not known:
        return None
    first = _times(read_month(store, instrument, known[0], timeframe))
    last = _times(read_month(store, instrument, known[-1], timeframe))
    return int(first[0]), int(last[-1])


def read_month(store: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> pa.Table:
    """Return the stored candles of a month.

    Raises
    ------
    DataError
        If the file cannot be read, or holds what is no month of candles.
    """
    path = month_path(store, instrument, month, timeframe)
    return _checked(path, read_table(path, CANDLE_SCHEMA, _REMEDY))


def read_values(store: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> tuple[pa.Table, str]:
    """Return the stored candles of a month without their sources, and the SHA-256 of the file from which they come.

    Raises
    ------
    DataError
        If the file cannot be read, or holds what is no month of candles.
    """
    path = month_path(store, instrument, month, timeframe)
    data = read_stored(path, _REMEDY)
    return _checked(path, decode_table(data, path, _SERVED, _REMEDY)), hashlib.sha256(data).hexdigest()


def _checked(path: Path, table: pa.Table) -> pa.Table:
    # What a damaged file may hold although it can be read; of values nothing else vouches for them.
    wrong = None
    if not len(table):
        wrong = "it has no candle"
    elif any(column.null_count for column in table.columns):
        wrong = "values are missing"
    else:
        times, prices = _times(table), [table[name].to_numpy() for name in PRICE_COLUMNS]
        if np.any(np.diff(times) <= 0):
            wrong = "its candles are out of order"
        elif {month_of(int(times[0])), month_of(int(times[-1]))} != {path.stem}:
            wrong = "its candles are of another month"
        elif not all(0.0 < column.min() <= column.max() < np.inf for column in prices):
            wrong = "a price is not positive"
    if wrong:
        raise DataError(f"{path} is damaged ({wrong}): {_REMEDY}")
    return table


def upsert(store: Path, instrument: str, candles: pa.Table, timeframe: Timeframe = M1) -> Upsert:
    """Put candles into the store; a bar that is there already is replaced.

    Parameters
    ----------
    candles : Table
        `CANDLE_SCHEMA`, sorted and unique on `time`.

    Raises
    ------
    DataError
        If the candles are not sorted and unique, or a stored file cannot be read. Nothing is written then.
    """
    candles = candles.cast(CANDLE_SCHEMA)
    times = _times(candles)
    if np.any(np.diff(times) <= 0):
        raise DataError(f"candles of {instrument} for the store must be sorted and unique on time.")
    changes: list[MonthChange] = []
    position = 0
    while position < len(times):
        month = month_of(int(times[position]))
        end = int(np.searchsorted(times, month_bounds(month)[1]))
        changes.append(month_change(store, instrument, month, candles.slice(position, end - position), timeframe))
        position = end
    return write_changes(changes)


def month_change(store: Path, instrument: str, month: str, candles: pa.Table, timeframe: Timeframe = M1) -> MonthChange:
    """Return what putting candles into a month would change; nothing is written yet.

    Parameters
    ----------
    candles : Table
        `CANDLE_SCHEMA`, sorted and unique on `time`, of that month.

    Raises
    ------
    DataError
        If the stored file cannot be read.
    """
    path = month_path(store, instrument, month, timeframe)
    if not path.is_file():
        return MonthChange(path, table_bytes(candles), len(candles), 0, ())
    old = read_month(store, instrument, month, timeframe)
    if old.equals(candles):
        return MonthChange(path, None, 0, len(candles), ())
    merged, differing = merge(old, candles)
    added = len(merged) - len(old)
    data = table_bytes(merged) if added or differing else None
    return MonthChange(path, data, added, len(candles) - added - len(differing), tuple(differing))


def write_changes(changes: Iterable[MonthChange]) -> Upsert:
    """Write the files of months: all, or none when one of them cannot be made.

    Each file is first written whole beside its place; only when all are there do they take it, one after another. A
    month in which nothing changed keeps its file. A process killed in between leaves each month old or new, and the
    same candles again finish the work.

    Raises
    ------
    FxPipelineError
        If the disk is full or the store is not writable.
    """
    added = unchanged = 0
    changed_times: list[int] = []
    written: list[str] = []
    with contextlib.ExitStack() as staged:
        for change in changes:
            added, unchanged = added + change.added, unchanged + change.unchanged
            changed_times += change.changed_times
            if change.data is not None:
                # Entered before the file, so that errors of its renaming, too, are said clearly.
                staged.enter_context(clear_disk_errors(change.path))
                with clear_disk_errors(change.path):
                    staged.enter_context(atomic_path(change.path)).write_bytes(change.data)
                written.append(change.path.stem)
    return Upsert(added, unchanged, len(changed_times), tuple(changed_times), tuple(written))


def merge(old: pa.Table, new: pa.Table) -> tuple[pa.Table, list[int]]:
    """Unite two sorted `CANDLE_SCHEMA` tables on time; `new` wins. Also return the times at which they differ."""
    old_times, new_times = _times(old), _times(new)
    _, in_old, in_new = np.intersect1d(old_times, new_times, assume_unique=True, return_indices=True)
    differs = np.zeros(len(in_old), dtype=bool)
    for name in _VALUES:
        differs |= old[name].to_numpy()[in_old] != new[name].to_numpy()[in_new]
    kept = np.ones(len(old_times), dtype=bool)
    kept[in_old] = False
    merged = pa.concat_tables([old.filter(pa.array(kept)), new]).sort_by("time")
    return merged.combine_chunks(), new_times[in_new[differs]].tolist()


def row_count(store: Path, instrument: str, timeframe: Timeframe = M1) -> int:
    """Return the number of stored bars, from the files' footers.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    known = months(store, instrument, timeframe)
    return sum(count_rows(month_path(store, instrument, month, timeframe), _REMEDY) for month in known)


def _times(table: pa.Table) -> np.ndarray:
    return np.asarray(table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64))

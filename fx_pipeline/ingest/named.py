"""Parquet and CSV with named columns: a time, and open/high/low/close of one side, or of bid, mid and ask."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.header import first_line, skip_line
from fx_pipeline.ingest.parsed import Parsed, Source, TextForm, unreadable_rows
from fx_pipeline.ingest.text import file_error, read_blocks, read_times, split_rows, to_nanoseconds
from fx_pipeline.market.candles import SIDES
from fx_pipeline.market.errors import DataError

Int64 = npt.NDArray[np.int64]

EXPECTED = "time, open, high, low, close and optionally volume, or bid_open .. ask_close"
_TIME = ("time", "timestamp", "datetime", "date", "gmt time")
_VOLUME = ("volume", "tick_volume", "tickvol", "ticks", "vol")
_FIELDS = ("open", "high", "low", "close")
_NUMBER = re.compile(r"^\d+(?:\.\d+)?$")
#: Without minutes, an offset is one only after a time of the day: dates end in two digits, too.
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d|:\d\d(?:\.\d+)?[+-]\d\d)$")
#: ISO times that need no parser: most files have nothing else.
_NAIVE = ("YYYY-MM-DD hh:mm:ss", "YYYY-MM-DD hh:mm")
_ZONED = ("YYYY-MM-DD hh:mm:ssZ", "YYYY-MM-DD hh:mm:ss+00:00")
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class _Batch:
    table: pa.RecordBatch
    done: float
    cut: bool = False


def open_parquet(path: Path) -> Source:
    """Open a parquet file with named columns.

    Raises
    ------
    DataError
        If it is not parquet, is cut short, or has other columns.
    """
    try:
        # An open file, not the path: a folder of parquet files is not one file.
        file = pq.ParquetFile(path.open("rb"))
    except OSError as error:
        if error.errno:
            raise file_error(path, error) from error
        raise _not_parquet(path, error) from error
    except pa.ArrowException as error:
        raise _not_parquet(path, error) from error
    if not file.metadata.num_rows:
        raise DataError(f"{path} holds columns and no rows: export or download it again.")
    names = [name.lower().strip() for name in file.schema_arrow.names]
    time, prices, volume = _columns(path, names)
    batches = _batches(path, file, names)
    first = next(batches)
    head = first.table[time]
    scale = _epoch_scale(head.to_numpy(zero_copy_only=False)) if _is_number(head) else 1
    zones = _Zones(path)
    zoned = head.type.tz is not None if pa.types.is_timestamp(head.type) else _carry_a_zone(head.cast(pa.string()))

    def parse(batch: _Batch) -> Parsed:
        table = batch.table
        column = table[time]
        if pa.types.is_timestamp(column.type):
            # A zone is only a label there: the stored instants are UTC.
            local_ns = _datetimes(pd.Series(column.to_numpy(zero_copy_only=False)))
        elif _is_number(column):
            local_ns = _epochs(column.to_numpy(zero_copy_only=False), scale)
        else:
            local_ns = _time_texts(column.cast(pa.string()), zones)
        numbers = {name: _floats(path, table, source) for name, source in prices.items()}
        ticks = _floats(path, table, volume) if volume else np.zeros(len(table))
        parsed = Parsed(np.arange(1, len(table) + 1), local_ns, numbers, ticks, len(table))
        if "quotes_modelled" in names and pa.types.is_boolean(table["quotes_modelled"].type):
            flags = table["quotes_modelled"].to_numpy(zero_copy_only=False)
            parsed.quotes_modelled = np.asarray(flags.astype(bool))
        parsed.unreadable = unreadable_rows(parsed)
        return parsed

    return Source(UTC, chain([first], batches), parse, zoned=zoned)


def open_csv(path: Path) -> Source:
    """Open a CSV file with a header of named columns.

    Raises
    ------
    DataError
        If it is not text or has other columns.
    """
    header, blocks = first_line(read_blocks(path))
    delimiter = max(",;\t", key=header.count)
    names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
    time, prices, volume = _columns(path, names)
    if len(set(names)) != len(names):
        raise DataError(f"{path}, row 1: a column name stands twice in {header!r}.")
    blocks = skip_line(path, blocks)
    first = next(blocks)
    rows = split_rows(first.data, delimiter, names)
    assert rows is not None
    cells = _unquoted(rows.columns[time])
    form = TextForm(delimiter, tuple(names), _csv_times(path, time, cells), prices, volume)
    return Source(UTC, chain([first], blocks), form.parse, first_row=2, zoned=_carry_a_zone(cells))


def is_header(names: list[str]) -> bool:
    """Whether a first line's cells, in lower case, name columns rather than hold values."""
    fields = {f"{side}{field}" for side in ("", *(f"{side}_" for side in SIDES)) for field in _FIELDS}
    return bool(({*_TIME, *_VOLUME} | fields) & set(names))


def _csv_times(path: Path, time: str, cells: pa.StringArray) -> Callable[[Mapping[str, pa.Array]], Int64]:
    # The first block says whether times are epochs, and in which unit: one block must not be read unlike another.
    numbers = cells.filter(pc.match_substring_regex(cells, _NUMBER.pattern))
    if 2 * len(numbers) > len(cells):
        scale = _epoch_scale(_integers(numbers))
        return lambda columns: _epochs(_integers(_unquoted(columns[time])), scale)
    zones = _Zones(path)
    return lambda columns: _time_texts(_unquoted(columns[time]), zones)


class _Zones:
    # Whether the times of a file carry a zone: all of them or none.
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[bool] = set()

    def add(self, *zoned: bool) -> None:
        self._seen.update(zoned)
        if len(self._seen) > 1:
            raise DataError(f"{self._path}: some times carry a zone and others do not: make them alike.")


def _carry_a_zone(cells: pa.StringArray) -> bool:
    # Some times with a zone and some without are refused elsewhere.
    return bool(pc.any(pc.match_substring_regex(cells, _OFFSET.pattern)).as_py())


def _unquoted(cells: pa.StringArray) -> pa.StringArray:
    return pc.utf8_trim(cells, '"')


def _integers(cells: pa.StringArray) -> npt.NDArray[np.float64] | Int64:
    try:
        return np.asarray(cells.cast(pa.int64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        numbers = pd.to_numeric(pd.Series(cells.to_pylist(), dtype=object), errors="coerce")
        return np.asarray(numbers.to_numpy())


def _not_parquet(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a whole parquet file ({reason}): download it again, or check --format.")


def _batches(path: Path, file: pq.ParquetFile, names: list[str]) -> Iterator[_Batch]:
    read = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS):
            read += len(batch)
            yield _Batch(batch.rename_columns(names), read / file.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _not_parquet(path, error) from error


def _columns(path: Path, names: list[str]) -> tuple[str, dict[str, str], str | None]:
    time = next((name for name in _TIME if name in names), None)
    volume = next((name for name in _VOLUME if name in names), None)
    prices: dict[str, str] = {}
    for side in (*SIDES, ""):
        for field in _FIELDS:
            spellings = (f"{side}_{field}", f"{side}_{field[0]}") if side else (field, field[0])
            found = next((name for name in spellings if name in names), None)
            # Columns without a side are the mid of a file that also has bid and ask.
            target = f"{side or 'one'}_{field[0]}"
            if found is not None:
                prices[target] = found
    complete = [side for side in (*SIDES, "one") if all(f"{side}_{field[0]}" in prices for field in _FIELDS)]
    partial = {name.split("_")[0] for name in prices} - set(complete) - {"one"}
    if time is None or not complete or partial:
        wrong = "no time column" if time is None else f"incomplete {' and '.join(sorted(partial)) or 'price'} columns"
        raise DataError(f"{path}, row 1: {wrong} in {', '.join(names)}. Expected are {EXPECTED}.")
    prices = {name: source for name, source in prices.items() if name.split("_")[0] in complete}
    if {"bid", "ask"} <= set(complete) and "one" in complete:
        one = {name: prices.pop(name) for name in [f"one_{field[0]}" for field in _FIELDS]}
        if "mid" not in complete:
            prices |= {name.replace("one", "mid"): source for name, source in one.items()}
    return time, prices, volume


def _is_number(column: pa.Array) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _floats(path: Path, table: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: column {name} does not hold numbers ({str(error).splitlines()[0]}).") from error


def _datetimes(times: pd.Series) -> Int64:
    index = pd.DatetimeIndex(times)
    return to_nanoseconds(np.asarray(index.asi8), {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[index.unit])


def _epoch_scale(values: npt.NDArray[np.float64] | Int64) -> int:
    # Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by the size of most.
    finite = np.isfinite(values) & (np.abs(values) < 2**62)
    typical = float(np.median(np.abs(values[finite]))) if finite.any() else 0.0
    return next(scale for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1)) if typical < limit)


def _epochs(values: npt.NDArray[np.float64] | Int64, scale: int) -> Int64:
    finite = np.isfinite(values) & (np.abs(values) < 2**62)
    return to_nanoseconds(np.where(finite, np.where(finite, values, 0).astype(np.int64), NO_TIME), scale)


def _time_texts(cells: pa.StringArray, zones: _Zones) -> Int64:
    for forms, zoned in ((_NAIVE, False), (_ZONED, True)):
        for separator in (" ", "T"):
            times = read_times(cells, *(form.replace(" ", separator) for form in forms))
            if not (times == NO_TIME).any():
                zones.add(zoned)
                return times
    texts = pd.Series(cells.to_pylist(), dtype=object)
    # Among ISO times a number is an epoch, even where its digits would make a date (1512120700).
    dates = texts.where(~texts.fillna("").str.fullmatch(_NUMBER))
    parsed = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    zones.add(*texts[parsed.notna()].str.contains(_OFFSET).unique().tolist())
    return _datetimes(parsed)

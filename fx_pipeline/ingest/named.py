"""Parquet and CSV with named columns: a time, and open/high/low/close of one side, or of bid, mid and ask."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.parsed import Parsed, parsed_text, unreadable_rows
from fx_pipeline.ingest.text import file_error, read_text, split_rows, to_nanoseconds
from fx_pipeline.market.candles import SIDES
from fx_pipeline.market.errors import DataError

EXPECTED = "time, open, high, low, close and optionally volume, or bid_open .. ask_close"
_TIME = ("time", "timestamp", "datetime", "date", "gmt time")
_VOLUME = ("volume", "tick_volume", "tickvol", "ticks", "vol")
_FIELDS = ("open", "high", "low", "close")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")


def read_parquet(path: Path) -> Parsed:
    """Read a parquet file with named columns.

    Raises
    ------
    DataError
        If it is not parquet, is cut short, or has other columns.
    """
    try:
        # Bytes, not the path: a folder of parquet files is not one file.
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except OSError as error:
        if error.errno:
            raise file_error(path, error) from error
        raise _not_parquet(path, error) from error
    except pa.ArrowException as error:
        raise _not_parquet(path, error) from error
    if not len(table):
        raise DataError(f"{path} holds columns and no rows: export or download it again.")
    table = table.rename_columns([name.lower().strip() for name in table.column_names])
    time, prices, volume = _columns(path, table.column_names)
    column = table[time]
    if pa.types.is_timestamp(column.type):
        # A zone is only a label there: the stored instants are UTC.
        local_ns = _datetimes(pd.Series(column.to_numpy()))
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        local_ns = _epochs(column.to_numpy())
    else:
        local_ns = _time_texts(path, pd.Series(column.cast(pa.string()).to_pylist(), dtype=object))
    numbers = {name: _floats(path, table, source) for name, source in prices.items()}
    ticks = _floats(path, table, volume) if volume else np.zeros(len(table))
    parsed = Parsed(np.arange(1, len(table) + 1), local_ns, numbers, ticks, UTC)
    if "quotes_modelled" in table.column_names and pa.types.is_boolean(table["quotes_modelled"].type):
        parsed.quotes_modelled = np.asarray(table["quotes_modelled"].to_numpy().astype(bool))
    parsed.unreadable = unreadable_rows(parsed)
    return parsed


def read_csv(path: Path) -> Parsed:
    """Read a CSV file with a header of named columns.

    Raises
    ------
    DataError
        If it is not text or has other columns.
    """
    data = read_text(path)
    header = data.split(b"\n", 1)[0].decode().strip()
    delimiter = max(",;\t", key=header.count)
    names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
    time, prices, volume = _columns(path, names)
    if len(set(names)) != len(names):
        raise DataError(f"{path}, row 1: a column name stands twice in {header!r}.")
    rows = split_rows(path, data, delimiter, names, skip_lines=1)
    texts = pd.Series(rows.columns[time].to_pylist(), dtype=object).str.strip('"')
    if len(texts) and texts.str.fullmatch(_NUMBER).all():
        local_ns = _epochs(pd.to_numeric(texts).to_numpy())
    else:
        local_ns = _time_texts(path, texts)
    return parsed_text(rows, local_ns, prices, volume, UTC)


def is_header(names: list[str]) -> bool:
    """Whether a first line's cells, in lower case, name columns rather than hold values."""
    fields = {f"{side}{field}" for side in ("", *(f"{side}_" for side in SIDES)) for field in _FIELDS}
    return bool(({*_TIME, *_VOLUME} | fields) & set(names))


def _not_parquet(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a whole parquet file ({reason}): download it again, or check --format.")


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


def _floats(path: Path, table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: column {name} does not hold numbers ({str(error).splitlines()[0]}).") from error


def _datetimes(times: pd.Series) -> npt.NDArray[np.int64]:
    index = pd.DatetimeIndex(times)
    return to_nanoseconds(np.asarray(index.asi8), {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[index.unit])


def _epochs(values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by the size of most.
    finite = np.isfinite(values) & (np.abs(values) < 2**62)
    typical = float(np.median(np.abs(values[finite]))) if finite.any() else 0.0
    scale = next(
        scale for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1)) if typical < limit
    )
    return to_nanoseconds(np.where(finite, np.where(finite, values, 0).astype(np.int64), NO_TIME), scale)


def _time_texts(path: Path, texts: pd.Series) -> npt.NDArray[np.int64]:
    with_offset = texts.fillna("").str.contains(_OFFSET)
    # Among ISO times a number is an epoch, even where its digits would make a date (1512120700).
    dates = texts.where(~texts.fillna("").str.fullmatch(_NUMBER))
    parsed = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    readable = parsed.notna()
    if with_offset[readable].any() and not with_offset[readable].all():
        raise DataError(f"{path}: some times carry a zone and others do not: make them alike.")
    return _datetimes(parsed)

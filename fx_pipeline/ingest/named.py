"""Parquet and CSV with named columns: a time, and open/high/low/close of one side, or of bid, mid and ask."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fx_pipeline.ingest.clock import UTC
from fx_pipeline.ingest.columns import EXPECTED as EXPECTED
from fx_pipeline.ingest.columns import Columns, TimeColumn, columns_of, distinct_names, plain_names, zone_clock
from fx_pipeline.ingest.container import EmptyFileError, file_error, is_packed
from fx_pipeline.ingest.header import first_line, skip_line
from fx_pipeline.ingest.naming import instrument_of, side_of
from fx_pipeline.ingest.parsed import Parsed, Source, TextForm, first_rows, unreadable_rows
from fx_pipeline.ingest.quotes import split_cells, unquoted, usual_delimiter
from fx_pipeline.ingest.text import Block, decimal_mark, read_blocks, split_rows
from fx_pipeline.ingest.times import TimeForm, datetimes, epoch_scale, epochs, time_form
from fx_pipeline.market.errors import DataError

Int64 = npt.NDArray[np.int64]

_BATCH_ROWS = 65_536
#: What stands in a column of price sides, whatever it is called.
_SIDE_WORDS = frozenset(("bid", "bids", "ask", "asks", "offer", "mid"))


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
    if is_packed(path):
        raise DataError(f"{path} holds parquet inside an archive: unpack it first.")
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
        raise EmptyFileError(f"{path} holds columns and no rows: export or download it again.")
    names = distinct_names(path, plain_names(file.schema_arrow.names))
    columns = columns_of(path, names)
    batches = _batches(path, file, names)
    first = next(batches)
    read_time, form = _parquet_times(path, columns.times, first.table, partial(_reread, path, file, names))
    tags = _tags(columns, names, {name: _texts(first.table[name]) for name in names if _is_text(first.table[name])})

    def parse(batch: _Batch) -> Parsed:
        table = batch.table
        numbers = {name: _floats(path, table, source) for name, source in columns.prices.items()}
        ticks = _floats(path, table, columns.volume) if columns.volume else np.zeros(len(table))
        rows = np.arange(1, len(table) + 1)
        said = {name: first_rows(_texts(table[name]), rows) for name in tags}
        parsed = Parsed(rows, read_time(table), numbers, ticks, len(table), said=said)
        if "quotes_modelled" in names and pa.types.is_boolean(table["quotes_modelled"].type):
            flags = table["quotes_modelled"].to_numpy(zero_copy_only=False)
            parsed.quotes_modelled = np.asarray(flags.astype(bool))
        parsed.unreadable = unreadable_rows(parsed)
        return parsed

    source = Source(UTC, chain([first], batches), parse)
    return _told(path, source, columns, form, tags, {name: _texts(first.table[name]) for name in tags})


def open_csv(path: Path) -> Source:
    """Open a CSV file with a header of named columns.

    Raises
    ------
    DataError
        If it is not text or has other columns.
    """
    header, blocks = first_line(path, read_blocks(path))
    delimiter = header.delimiter or usual_delimiter(header.text)
    row = f", row {header.row}"
    names = distinct_names(path, plain_names(split_cells(header.text, delimiter)), row)
    columns = columns_of(path, names, row)
    blocks = skip_line(path, blocks)
    first = next(blocks)
    names = _widened(path, first, delimiter, names, columns, header.row)
    cells = _cells(first, delimiter, names)

    def every() -> Iterator[Mapping[str, pa.StringArray]]:
        _, again = first_line(path, read_blocks(path))
        for block in skip_line(path, again):
            yield _cells(block, delimiter, names)

    form = time_form(path, columns.times, cells, every, row)
    decimal = decimal_mark(*(cells[name] for name in columns.prices.values()))
    tags = _tags(columns, names, cells)
    text = TextForm(delimiter, tuple(names), form.read, columns.prices, columns.volume, decimal, tuple(tags))
    said = ("decimals: they stand after a comma",) if decimal == "," else ()
    source = Source(UTC, chain([first], blocks), text.parse, first_row=header.row + 1, assumptions=said)
    return _told(path, source, columns, form, tags, cells)


def _told(
    path: Path, source: Source, columns: Columns, form: TimeForm, tags: dict[str, str], cells: Mapping[str, pa.Array]
) -> Source:
    # The source with what its columns, and the first of its rows, say of it.
    value = {subject: _only_value(cells[name]) for name, subject in reversed(tags.items())}
    zone = next((column.zone for column in reversed(form.columns) if column.zone), "")
    clock = UTC if form.zoned else zone_clock(zone)
    said = list(form.assumptions)
    if not form.columns[0].named:
        said.append("time: in the first column, which has no name")
    needed = f"its times are those of {zone!r}, and the file does not say which zone that is" if clock is None else ""
    return replace(
        source,
        clock=clock or UTC,
        zoned=form.zoned,
        instrument=instrument_of(value.get("instrument", "")),
        side=columns.side or side_of(value.get("side", "")),
        clock_why=f"as the name of its column says ({zone.upper()})" if zone and clock is not None else "",
        clock_needed=needed,
        tags=tags,
        assumptions=(*source.assumptions, *said),
    )


def _tags(columns: Columns, names: Sequence[str], cells: Mapping[str, pa.Array]) -> dict[str, str]:
    # Columns that say what the rows are: by their name, or because an instrument or a price side stands in them.
    used = {*columns.prices.values(), columns.volume, *(column.name for column in columns.times)}
    found: dict[str, str] = {name: subject for name, subject in columns.tags.items() if name in cells}
    for name in [name for name, subject in found.items() if subject in ("base", "quote")]:
        # Other columns are called so, too.
        if not re.fullmatch("[A-Za-z]{3}", _first_value(cells[name])):
            del found[name]
    for name in names:
        if name in used or name not in cells:
            continue
        value = _first_value(cells[name])
        if instrument_of(value):
            found.setdefault(name, "instrument")
        elif value.strip().lower() in _SIDE_WORDS:
            found.setdefault(name, "side")
    return found


def _first_value(cells: pa.Array) -> str:
    return next(
        (str(cell).strip() for cell in cells.slice(0, 100).to_pylist() if cell is not None and str(cell).strip()), ""
    )


def _only_value(cells: pa.Array) -> str:
    # What all rows say: of several, the reading of the rows tells.
    values = {str(value).strip() for value in cells.unique().to_pylist() if value is not None}
    return values.pop() if len(values) == 1 else ""


def _cells(block: Block, delimiter: str, names: Sequence[str]) -> Mapping[str, pa.StringArray]:
    data, mark = unquoted(block.data, delimiter) if b'"' in block.data else (block.data, delimiter)
    rows = split_rows(data, mark, names)
    assert rows is not None
    return rows.columns


def _widened(
    path: Path, block: Block, delimiter: str, names: list[str], columns: Columns, header_row: int
) -> list[str]:
    # The names with one more for an empty cell at the end of each row; and what else makes all rows too long.
    lines = [line.decode() for line in block.data[:65_536].splitlines() if line.strip()][:20]
    rows = [split_cells(line, delimiter) for line in lines]
    if not rows or any(len(cells) == len(names) for cells in rows):
        return names
    if all(len(cells) == len(names) + 1 and not cells[-1].strip() for cells in rows):
        return [*names, "#"]
    where = f"{path}, row {header_row + 1}: {len(rows[0])} cells stand below {len(names)} names ({lines[0][:80]!r})"
    if delimiter == "," and len(rows[0]) >= len(names) + len(columns.prices):
        raise DataError(
            f"{where}: its prices have a decimal comma, and commas stand between the cells too. Export it with "
            "semicolons between the cells, or with decimal points."
        )
    raise DataError(f"{where}: the header and the rows do not fit together. Expected are {EXPECTED}.")


def _not_parquet(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{path} is not a whole parquet file ({reason}): download it again, or check --format.")


def _batches(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> Iterator[_Batch]:
    read = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS):
            read += len(batch)
            yield _Batch(batch.rename_columns(list(names)), read / file.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _not_parquet(path, error) from error


def _reread(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> Iterable[Mapping[str, pa.StringArray]]:
    for batch in _batches(path, file, names):
        yield {name: _texts(batch.table[name]) for name in names}


def _parquet_times(
    path: Path,
    candidates: Sequence[TimeColumn],
    first: pa.RecordBatch,
    every: Callable[[], Iterable[Mapping[str, pa.StringArray]]],
) -> tuple[Callable[[pa.RecordBatch], Int64], TimeForm]:
    for column in candidates:
        name, held = column.name, first[column.name]
        if pa.types.is_timestamp(held.type) and (len(candidates) == 1 or not _is_midnight(held)):
            # A zone is only a label there: the stored instants are UTC.
            form = TimeForm(path, (column,), zoned=held.type.tz is not None)
            return partial(_stored_times, name), form
        if _is_number(held) and not _is_compact(held):
            scale = epoch_scale(held.to_numpy(zero_copy_only=False))
            return partial(_stored_epochs, name, scale), TimeForm(path, (column,), scale=scale)
    wanted = [column.name for column in candidates]
    form = time_form(path, candidates, {name: _texts(first[name]) for name in wanted}, every)
    return lambda table: form.read({column.name: _texts(table[column.name]) for column in form.columns}), form


def _stored_times(name: str, table: pa.RecordBatch) -> Int64:
    return datetimes(pd.Series(table[name].to_numpy(zero_copy_only=False)))


def _stored_epochs(name: str, scale: int, table: pa.RecordBatch) -> Int64:
    return epochs(table[name].to_numpy(zero_copy_only=False), scale)


def _is_midnight(column: pa.Array) -> bool:
    # Days, kept as times: another column has the time of the day.
    stored = datetimes(pd.Series(column.to_numpy(zero_copy_only=False)))
    return bool((stored % (86_400 * 10**9) == 0).all())


def _is_compact(column: pa.Array) -> bool:
    # Whole numbers like 20240105 or 1900: dates, or times of a day, and not seconds since 1970.
    values = column.to_numpy(zero_copy_only=False)
    return bool(pa.types.is_integer(column.type) and len(values) and np.median(values) < 10**8)


def _is_number(column: pa.Array) -> bool:
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _is_text(column: pa.Array) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(column: pa.Array) -> pa.StringArray:
    return column.cast(pa.string()).fill_null("")


def _floats(path: Path, table: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: column {name} does not hold numbers ({str(error).splitlines()[0]}).") from error

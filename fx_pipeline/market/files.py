"""Files of bytes and tables, written atomically, only when they differ, with errors that say what to do."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fx_pipeline.market.atomic import atomic_write_bytes
from fx_pipeline.market.disk import clear_disk_errors, read_stored
from fx_pipeline.market.errors import DataError, FxPipelineError, NewerVersionError

#: Of the parquet files: what `schema` says of columns and types stands in the file itself.
SCHEMA = 1
_VERSION = b"fx_pipeline.schema"


def write_bytes(path: Path, data: bytes, sync: bool = True) -> bool:
    """Write `data` atomically unless the file holds just that; return whether it was written.

    Parameters
    ----------
    sync : bool
        Whether to flush it to disk. Without that, a power cut may leave the old file or an empty one.

    Raises
    ------
    StorageError
        If the disk is full or the folder is not writable. The old file, if any, is then untouched.
    """
    with clear_disk_errors(path):
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
        atomic_write_bytes(path, data, sync)
    return True


def table_bytes(table: pa.Table) -> bytes:
    """Return the table as parquet (zstd, with checksums of its pages); equal tables give equal bytes."""
    sink = io.BytesIO()
    # Chunks and pandas' metadata would show in the bytes although they carry no data.
    table = table.combine_chunks().replace_schema_metadata({_VERSION: str(SCHEMA)})
    # Times rise by a minute: as differences they take a quarter off the file, and no time to look up in a dictionary.
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in times],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        write_page_checksum=True,
    )
    return sink.getvalue()


def write_table(path: Path, table: pa.Table) -> bool:
    """Write a table as parquet atomically unless the file holds just that; return whether it was written."""
    return write_bytes(path, table_bytes(table))


def read_table(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """Read the columns of `schema` from a parquet file.

    Parameters
    ----------
    path : Path
    schema : Schema
    remedy : str
        What to do when it cannot be used, as the end of a sentence.

    Raises
    ------
    DataError
        If it cannot be read, a column is missing, of another type or empty where it may not be, or a newer version
        wrote it; the message ends with `remedy`.
    """
    return decode_table(read_stored(path, remedy), path, schema, remedy)


def decode_table(data: bytes, path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """Return the columns of `schema` of a parquet file's bytes; `path` and errors as of `read_table`."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        version = int((file.schema_arrow.metadata or {}).get(_VERSION, SCHEMA))
        if version > SCHEMA:
            raise NewerVersionError(
                f"{path} was written by a newer version of fx-pipeline (schema {version}, this one reads {SCHEMA}): "
                f"update the code. To go on with this version, move the file away and {remedy}"
            )
        table = file.read(schema.names).select(schema.names)
        for field in schema:
            found = table.schema.field(field.name).type
            if found != field.type:
                raise DataError(f"{path} is damaged ({field.name} is {found}, not {field.type}): {remedy}")
            if not field.nullable and table[field.name].null_count:
                raise DataError(f"{path} is damaged ({field.name} has rows without a value): {remedy}")
        return table.cast(schema)
    except DataError:
        raise
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise DataError(f"{path} is damaged ({_reason(error)}): {remedy}") from error


def count_rows(path: Path, remedy: str) -> int:
    """Return the number of rows of a parquet file, from its footer; errors as of `read_table`."""
    try:
        return int(pq.read_metadata(pa.BufferReader(read_stored(path, remedy))).num_rows)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FxPipelineError):
            raise
        raise DataError(f"{path} is damaged ({_reason(error)}): {remedy}") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip("'\"").splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__


def remove_file(path: Path) -> bool:
    """Remove a file if it is there; return whether it was."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True

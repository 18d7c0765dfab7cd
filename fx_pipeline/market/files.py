"""Files of bytes and tables, written atomically, only when they differ, with errors that say what to do."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fx_pipeline.market.atomic import atomic_write_bytes
from fx_pipeline.market.errors import DataError, FxPipelineError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def clear_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into an error that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise FxPipelineError(
                f"the disk is full: {path} was not written, and what stood there before is untouched. "
                "Free some space and run again."
            ) from error
        if error.errno in _FORBIDDEN:
            raise FxPipelineError(
                f"{path} may not be written: make its folder writable or choose another data folder."
            ) from error
        raise


def write_bytes(path: Path, data: bytes, sync: bool = True) -> bool:
    """Write `data` atomically unless the file holds just that; return whether it was written.

    Parameters
    ----------
    sync : bool
        Whether to flush it to disk. Without that, a power cut may leave the old file or an empty one.

    Raises
    ------
    FxPipelineError
        If the disk is full or the folder is not writable. The old file, if any, is then untouched.
    """
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return False
    with clear_disk_errors(path):
        atomic_write_bytes(path, data, sync)
    return True


def table_bytes(table: pa.Table) -> bytes:
    """Return the table as parquet (zstd); equal tables give equal bytes."""
    sink = io.BytesIO()
    # Chunks and pandas' metadata would show in the bytes although they carry no data.
    table = table.combine_chunks().replace_schema_metadata(None)
    # Times rise by a minute: as differences they take a quarter off the file, and no time to look up in a dictionary.
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in times],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
    )
    return sink.getvalue()


def write_table(path: Path, table: pa.Table) -> bool:
    """Write a table as parquet atomically unless the file holds just that; return whether it was written."""
    return write_bytes(path, table_bytes(table))


def read_table(path: Path, schema: pa.Schema, remedy: str) -> pa.Table:
    """Read a parquet file that must have `schema`.

    Raises
    ------
    DataError
        If it cannot be read or has other columns; the message ends with `remedy`.
    """
    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not the parquet file that it should be ({reason}). {remedy}") from error


def remove_file(path: Path) -> bool:
    """Remove a file if it is there; return whether it was."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True

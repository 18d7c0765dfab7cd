"""The one place that opens the DuckDB file: features and sessions, all of which can be rebuilt from the lake.

Every connection, and every cursor of it, works in UTC: what a time with a zone means beside one without depends on
DuckDB's time zone, which is the machine's by default.
"""

import contextlib
import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from fx_pipeline.market.disk import clear_disk_errors
from fx_pipeline.market.errors import DataError, FxPipelineError, NewerVersionError, OlderVersionError, StorageError

#: Of the tables in the file.
SCHEMA = 1
#: Longest wait for another process to let go of the file.
LOCK_WAIT_S = 30.0
REBUILD = (
    "move it, and a .wal beside it, away and materialise feature_table and valid_sessions: all of it is made again "
    "from the lake."
)
_FULL = ("no space left", "disk is full", "disk quota", "file too large", "max_temp_directory_size")
_FORBIDDEN = ("read-only file system", "permission denied", "operation not permitted")


class WarehouseLockedError(FxPipelineError):
    """Another process holds the DuckDB file."""


@contextlib.contextmanager
def open_warehouse(
    path: Path, read_only: bool = False, lock_wait_s: float = LOCK_WAIT_S
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file, waiting for another process's lock, and close it at the end.

    Parameters
    ----------
    path : Path
    read_only : bool
        Several processes may read at a time; one that writes is alone.
    lock_wait_s : float

    Raises
    ------
    DataError
        If it is to be read and does not exist, is not a DuckDB file, damaged, or of another version.
    StorageError
        If the disk is full, or the file may not be written.
    WarehouseLockedError
        If the lock is not free in time; the message names the process that holds it.
    """
    if read_only and not path.exists():
        raise DataError(f"{path} does not exist: materialise feature_table first.")
    connection = _connect(path, read_only, lock_wait_s)
    try:
        with _explained(path):
            # Cursors do not inherit what their connection alone is set to.
            connection.execute("SET GLOBAL TimeZone='UTC'")
            connection.execute("SET TimeZone='UTC'")
            _check_version(connection, path, read_only)
            yield connection
    finally:
        connection.close()


def unreadable(connection: duckdb.DuckDBPyConnection, reason: object) -> DataError:
    """Return the error that says that what a table of the file holds cannot be used."""
    row = connection.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchone()
    return DataError(f"{row[0] if row else 'the warehouse'} is damaged ({reason}): {REBUILD}")


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Make what the body does one transaction: all of it, or nothing when the body raises."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Where the write failed, DuckDB may have ended the transaction itself: then this fails too, and must not hide
        # what went wrong first. What was not committed is not there when the file is opened again.
        with contextlib.suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


def insert_tables(connection: duckdb.DuckDBPyConnection, name: str, tables: Iterator[pa.Table]) -> None:
    """Insert what an iterator makes into a table, by the names of the columns, as one statement.

    One statement puts whole groups of rows on disk while it goes on; one a table would keep all of a transaction in
    memory. An error of the iterator is raised as it is.
    """
    first = next(tables, None)
    if first is None:
        return
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for table in itertools.chain([first], tables):
                yield from table.to_batches()
        except BaseException as error:
            failed.append(error)
            raise

    connection.register("new_rows", pa.RecordBatchReader.from_batches(first.schema, batches()))
    try:
        columns = ", ".join(first.column_names)
        connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM new_rows")
    except duckdb.Error:
        if failed:
            raise failed[0] from None
        raise
    finally:
        # In a transaction that has failed, this fails as well, and is over with it.
        with contextlib.suppress(duckdb.Error):
            connection.unregister("new_rows")


def _connect(path: Path, read_only: bool, lock_wait_s: float) -> duckdb.DuckDBPyConnection:
    if not read_only:
        with clear_disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a DuckDB file: {REBUILD}")
    deadline = time.monotonic() + lock_wait_s
    # The jitter only spreads processes over time; no result depends on it.
    jitter = random.Random(time.monotonic_ns())
    while True:
        try:
            with _explained(path):
                return duckdb.connect(str(path), read_only=read_only)
        except _Held as held:
            if time.monotonic() > deadline:
                raise WarehouseLockedError(
                    f"{path} is held by another process for {lock_wait_s:.0f} s: close it (a DuckDB shell or a "
                    f"notebook?) and run again. DuckDB says: {held}"
                ) from held.__cause__
            time.sleep(jitter.uniform(0.05, 0.3))


class _Held(WarehouseLockedError):
    pass


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        words = str(error).lower()
        if "could not set lock" in words or "different configuration" in words:
            raise _Held(said) from error
        if any(sign in words for sign in _FULL):
            raise StorageError(
                f"the disk is full: {path} was not written, and what stood there before is untouched. Free some space "
                f"and run again. DuckDB says: {said}"
            ) from error
        if any(sign in words for sign in _FORBIDDEN) or (
            isinstance(error, duckdb.InvalidInputException) and "read-only" in words
        ):
            raise StorageError(
                f"{path} may not be written: make it and its folder writable or choose another data folder. "
                f"DuckDB says: {said}"
            ) from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise StorageError(f"memory is short for {path}: close other programs. DuckDB says: {said}") from error
        raise DataError(f"{path} cannot be used, it may be damaged: {REBUILD} DuckDB says: {said}") from error


def _check_version(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> None:
    tables = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'warehouse_version'"
    known = connection.execute(tables).fetchone()
    if known and known[0]:
        row = connection.execute("SELECT max(version) FROM warehouse_version").fetchone()
        version = row[0] if row and row[0] is not None else SCHEMA
        if version > SCHEMA:
            raise NewerVersionError(
                f"{path} was written by a newer version of fx-pipeline (schema {version}, this one reads {SCHEMA}): "
                f"update the code. To go on with this version, {REBUILD}"
            )
        if version < SCHEMA:
            raise OlderVersionError(
                f"{path} was written by an older version of fx-pipeline (schema {version}, this one reads {SCHEMA}): "
                f"{REBUILD}"
            )
    elif not read_only:
        # A file from before there was a version is of the first.
        with transaction(connection):
            connection.execute("CREATE TABLE warehouse_version (version INTEGER NOT NULL)")
            connection.execute("INSERT INTO warehouse_version VALUES (?)", [SCHEMA])

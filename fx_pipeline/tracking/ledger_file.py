"""The sqlite file of the trial ledger: its tables, what they refuse, and what is said when it cannot be used."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from fx_pipeline.market.atomic import TEMPORARY_PREFIX, atomic_path
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.tracking.ledger_chain import CHAINED, append

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    id INTEGER PRIMARY KEY,
    trial_key TEXT NOT NULL UNIQUE,
    recorded_by TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    instrument TEXT NOT NULL,
    window TEXT NOT NULL,
    agent TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    seed INTEGER NOT NULL,
    checkpoint_hash TEXT NOT NULL,
    data_fingerprint TEXT NOT NULL,
    costs TEXT NOT NULL,
    expectancy_pips REAL,
    sharpe_per_trade REAL,
    trades INTEGER NOT NULL,
    evaluation_code TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS reports (
    id INTEGER PRIMARY KEY,
    trial_key TEXT NOT NULL REFERENCES trials (trial_key),
    report_hash TEXT NOT NULL,
    UNIQUE (trial_key, report_hash)
);
CREATE TABLE IF NOT EXISTS series (
    trial_key TEXT PRIMARY KEY REFERENCES trials (trial_key),
    session_ns BLOB NOT NULL,
    pnl_pips BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS sealed_openings (
    id INTEGER PRIMARY KEY,
    instrument TEXT NOT NULL,
    checkpoint_hash TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    evaluation TEXT NOT NULL,
    opened_by TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    UNIQUE (instrument, checkpoint_hash, start_ns)
);
CREATE TABLE IF NOT EXISTS evidence (
    trial_key TEXT PRIMARY KEY REFERENCES trials (trial_key),
    valid_start_ns INTEGER NOT NULL,
    valid_end_ns INTEGER NOT NULL,
    days_sha256 TEXT NOT NULL REFERENCES days (days_sha256),
    trained_seed_sha TEXT NOT NULL,
    evidence BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS days (
    days_sha256 TEXT PRIMARY KEY,
    days BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    recorded_by TEXT NOT NULL,
    recorded_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_id TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS chain (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    hash TEXT NOT NULL,
    UNIQUE (name, row_key)
);
"""
# Grows by one whenever a table, a column or a trigger is added: all of them are made where they are missing.
_VERSION = 6
#: From this version on every row is chained.
_CHAINED = 5
#: Tables, and what is unique in a row of each beside its rowid.
_TABLES = {
    "trials": ("trial_key",),
    "reports": ("trial_key", "report_hash"),
    "series": ("trial_key",),
    "sealed_openings": ("instrument", "checkpoint_hash", "start_ns"),
    "evidence": ("trial_key",),
    "days": ("days_sha256",),
    "events": ("id",),
    "identity": ("id",),
    "chain": ("name", "row_key"),
}
# Columns that files of an earlier version lack; what they hold was scored by code that nobody knows. Those without a
# value are no part of the content that is chained, so that rows from before them keep their hash.
_ADDED = (
    ("trials", "evaluation_code", "TEXT NOT NULL DEFAULT ''"),
    ("trials", "origin", "TEXT"),
    ("trials", "recipe", "TEXT"),
    ("reports", "lineage_sha256", "TEXT"),
    ("reports", "recorded_by", "TEXT"),
    ("reports", "recorded_at", "TEXT"),
)
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the trial ledger is append-only'); END;
"""
# REPLACE removes the row that is in its way without a DELETE that a trigger would see.
_NO_REPLACE = """
CREATE TRIGGER IF NOT EXISTS {table}_no_REPLACE BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid OR ({same}))
BEGIN SELECT RAISE(ABORT, 'the trial ledger is append-only'); END;
"""
#: Longest wait inside sqlite, which hears no signal meanwhile.
_SLICE_S = 2.0


class LedgerLockedError(FxPipelineError):
    """Another process holds the trial ledger."""


@contextlib.contextmanager
def connected(path: Path, patience_s: float) -> Iterator[sqlite3.Connection]:
    """Open the ledger for one transaction, and make it if there is none; at an error nothing of it stays.

    Raises
    ------
    DataError
        If it is no ledger, damaged, or of a newer version.
    LedgerLockedError
        If another process holds it for longer than `patience_s`.
    FxPipelineError
        If the disk is full, or the file must not be written.
    """
    with _clear(path):
        if not path.exists():
            _make(path)
        if not path.stat().st_size:
            raise DataError(
                f"{path}, the trial ledger, is empty: put a copy of it back. If it is gone for good, remove it, "
                "and `fx-pipeline ledger recover` carries over what reports and MLflow tell of it."
            )
        connection = sqlite3.connect(path, timeout=min(_SLICE_S, patience_s), isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            # A rollback journal, synced at every commit: what is recorded survives a crash of the machine too.
            for statement in ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON", "BEGIN IMMEDIATE"):
                _patiently(connection, statement, path, patience_s)
            _bring_up_to_date(connection, path)
            yield connection
            _patiently(connection, "COMMIT", path, patience_s)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            connection.close()


def _make(path: Path) -> None:
    # Whole or not at all: an empty file is one that lost what it had.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}-{path.name}")
    try:
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            _bring_up_to_date(connection, path)
            connection.execute("COMMIT")
        # Another process may have been faster, and recorded trials already.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _patiently(connection: sqlite3.Connection, statement: str, path: Path, patience_s: float) -> None:
    began_s = time.monotonic()
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            waited_s = time.monotonic() - began_s
            if waited_s >= patience_s:
                raise LedgerLockedError(
                    f"{path}, the trial ledger, is held by another process, for {waited_s:.0f} s: close what has it "
                    "open (a database browser, a copy?), and run again."
                ) from error


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == _VERSION:
        return
    if version > _VERSION:
        raise DataError(
            f"{path}, the trial ledger, was written by a newer version of fx_pipeline (version {version}; this one "
            f"knows {_VERSION}): update fx_pipeline, or use the data folder with the version that wrote it."
        )
    earlier = {name: _count(connection, name) for name in CHAINED if _has(connection, name)}
    if earlier and version < _CHAINED:
        _keep_copy(path, version)
    # `executescript` would commit first: one statement at a time keeps the schema inside the transaction.
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    for table, column, kind in _ADDED:
        if column not in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    for table, unique in _TABLES.items():
        for verb in ("UPDATE", "DELETE"):
            connection.execute(_APPEND_ONLY.format(table=table, verb=verb))
        same = " AND ".join(f"{column} = NEW.{column}" for column in unique)
        connection.execute(_NO_REPLACE.format(table=table, same=same))
    if not _count(connection, "identity"):
        connection.execute("INSERT INTO identity (id, ledger_id) VALUES (1, ?)", (os.urandom(16).hex(),))
        if earlier:
            _carry_over(connection, version, earlier)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _carry_over(connection: sqlite3.Connection, version: int, rows: Mapping[str, int]) -> None:
    """Chain the rows of a file that had no chain, after a row that says so: nobody vouches for what was before."""
    content = json.dumps({"from_version": version, "rows": rows}, sort_keys=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    connection.execute(
        "INSERT INTO events (kind, content, recorded_by, recorded_at) VALUES ('carried over', ?, '', ?)", (content, at)
    )
    append(connection, "events", connection.execute("SELECT max(id) FROM events").fetchone()[0])
    for name, key in CHAINED.items():
        if name != "events":
            for row in connection.execute(f"SELECT {key} FROM {name} ORDER BY rowid").fetchall():
                append(connection, name, row[0])


def _keep_copy(path: Path, version: int) -> None:
    # The transaction has written nothing yet, and holds the file: it is whole. SQLite itself reads it: whatever else
    # this process opened and closed there would take the lock away.
    kept = path.with_name(f"{path.name}.version-{version}")
    if not kept.exists():
        with (
            atomic_path(kept) as temporary,
            contextlib.closing(sqlite3.connect(path)) as present,
            contextlib.closing(sqlite3.connect(temporary)) as copy,
        ):
            present.backup(copy)


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    return found.fetchone() is not None


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextlib.contextmanager
def _clear(path: Path) -> Iterator[None]:
    """Turn what sqlite says into what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise FxPipelineError(
                f"{path}, the trial ledger, cannot be written ({error}): free some space on its disk and run again; "
                "what was recorded is untouched."
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise FxPipelineError(
                f"{path}, the trial ledger, may not be written ({error}): make it and its folder writable, or choose "
                "another data folder."
            ) from error
        raise DataError(
            f"{path} cannot be used as the trial ledger ({error}): put a copy of it back. If it is gone for good, move "
            "it away, and `fx-pipeline ledger recover` carries over what reports and MLflow tell of it."
        ) from error

"""The sqlite file of MLflow's store: how it is made, held by one, and found locked."""

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fx_pipeline.market.atomic import TEMPORARY_PREFIX

SQLITE = "sqlite:///"
#: What sqlite says where another connection holds the file.
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def initialise(database: Path) -> None:
    """Make a fresh store if there is none; the caller holds the lock.

    The migrations run on a temporary file that is renamed into place when they are done: a process killed half-way
    leaves no half-made store behind.
    """
    if database.exists():
        return
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    # Named as `market.atomic` names its files. What others left here is of killed processes: the lock is ours.
    for leftover in database.parent.glob(f"{TEMPORARY_PREFIX}*-{database.name}*"):
        leftover.unlink(missing_ok=True)
    temporary = database.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{database.name}")
    engine = create_engine(f"{SQLITE}{temporary}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, database)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The kernel drops the lock when its holder dies, however it dies.
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def quiet() -> None:
    """Let MLflow send nothing and log little."""
    # MLflow 3 sends usage data unless told not to, and logs its migrations.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It also logs every error of the database, which it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def is_locked(error: BaseException) -> bool:
    """Whether an error of MLflow's is that another process holds the store, or that its server is busy."""
    cause: BaseException | None = error
    while cause is not None:
        # The lower byte is the code, the others say more of it.
        if isinstance(cause, sqlite3.Error) and (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF in _LOCKED:
            return True
        cause = cause.__cause__ or cause.__context__
    return "database is locked" in str(error)


def first_line(error: BaseException) -> str:
    """Return what an error says, without what a database adds below."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

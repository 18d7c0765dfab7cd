"""What a full, read-only or damaged disk does to the stores of others: Dagster's history and MLflow's, both SQLite.

Their own errors name no file, and come through several layers. Here they become one line.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fx_pipeline.market.disk import explain_os_error
from fx_pipeline.market.errors import FxPipelineError, StorageError

_FULL = ("database or disk is full",)
_FORBIDDEN = ("readonly database", "unable to open database file")
_DAMAGED = ("malformed", "file is not a database", "not a database")
_LOST = {
    "mlflow.db": "curves and the model registry start anew, checkpoints and reports stay",
    "ledger.db": "restore it from a copy (docs/ledger.md): without it the number of trials is lost, and with it what "
    "scores mean",
}
_HISTORY = "the history of runs starts anew, data, checkpoints and reports stay"


def explain_storage_error(error: BaseException, data_dir: Path) -> FxPipelineError | None:
    """Return what an error says of the disk or of an SQLite file below the data folder; None if it says nothing.

    Parameters
    ----------
    error : BaseException
        It, what caused it and what it was raised beside are looked at.
    data_dir : Path
    """
    for cause in _chain(error):
        if isinstance(cause, FxPipelineError):
            return cause
        explained = None
        if isinstance(cause, OSError):
            explained = explain_os_error(cause)
        elif isinstance(cause, sqlite3.Error):
            explained = _explain_sqlite(cause, data_dir)
        if explained is not None:
            return explained
    return None


def damaged_databases(data_dir: Path) -> list[Path]:
    """Return the SQLite files below the data folder that cannot be read to their end."""
    return [path for path in sorted(data_dir.rglob("*.db")) if path.is_file() and not _is_sound(path)]


def _explain_sqlite(error: sqlite3.Error, data_dir: Path) -> FxPipelineError | None:
    said = str(error)
    words = said.lower()
    # SQLite reports an "I/O error", too, for a file that it cannot lengthen.
    full = any(sign in words for sign in _FULL) or ("disk i/o error" in words and _is_full(data_dir))
    if full:
        return StorageError(
            f"the disk is full: SQLite could not write to a store below {data_dir} (Dagster's history, MLflow's or the "
            "ledger); what stood there before is untouched. Free some space and run again."
        )
    if any(sign in words for sign in _FORBIDDEN):
        return StorageError(
            f"SQLite may not write to its stores below {data_dir} (Dagster's history, MLflow's or the ledger; it says: "
            f"{said}): make the folder and the .db files in it writable or choose another data folder with FX_DATA_DIR."
        )
    if any(sign in words for sign in _DAMAGED):
        found = damaged_databases(data_dir)
        if not found:
            return StorageError(f"an SQLite file below {data_dir} is damaged ({said}): restore it from a copy.")
        remedies = "; ".join(f"move {path} away ({_LOST.get(path.name, _HISTORY)})" for path in found)
        return StorageError(f"damaged ({said}): {', '.join(map(str, found))}. What to do: {remedies}. Then run again.")
    if "database is locked" in words:
        return StorageError(
            f"an SQLite file below {data_dir} is held by another process (Dagster's history, MLflow's or the ledger): "
            "close what has it open, and run again."
        )
    if "disk i/o error" in words:
        return StorageError(f"the disk failed under an SQLite file below {data_dir}: look after it, then run again.")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    # Dagster raises a user's exception from one that it was the cause of: the chain can be a circle.
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_full(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < 1 << 20
    return False


def _is_sound(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        return not any(sign in str(error).lower() for sign in _DAMAGED)

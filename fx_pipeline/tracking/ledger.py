"""The trial ledger: one row for every configuration whose score was ever computed.

A good result means less the more trials stand behind it, so the count must not depend on anyone's memory: the code
that scores writes the row. The table only grows: the database refuses updates and deletes. A row is identified by
what was evaluated, so evaluating the same thing twice counts once.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What makes two evaluations the same trial.
IDENTITY = ("instrument", "window", "checkpoint_hash", "data_fingerprint", "costs", "seed")
BUSY_TIMEOUT_S = 30.0

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
    trades INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reports (
    id INTEGER PRIMARY KEY,
    trial_key TEXT NOT NULL REFERENCES trials (trial_key),
    report_hash TEXT NOT NULL,
    UNIQUE (trial_key, report_hash)
);
"""
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the trial ledger is append-only'); END;
"""


@dataclass(frozen=True)
class Trial:
    """One evaluated configuration.

    Attributes
    ----------
    instrument, window : str
        OANDA name and key of the walk-forward window.
    agent : str
    config_hash : str
        Hash of the agent's settings.
    seed : int
    checkpoint_hash, data_fingerprint : str
    costs : Mapping
        Settings of the evaluation (costs, fills), JSON-able.
    trades : int
    expectancy_pips, sharpe_per_trade : float or None
        None when the list of trades has none.
    """

    instrument: str
    window: str
    agent: str
    config_hash: str
    seed: int
    checkpoint_hash: str
    data_fingerprint: str
    costs: Mapping[str, Any]
    trades: int
    expectancy_pips: float | None
    sharpe_per_trade: float | None

    @property
    def key(self) -> str:
        """SHA-256 of what identifies the trial: `IDENTITY`, and not who scored it, when, or how well."""
        identity = {name: getattr(self, name) for name in IDENTITY}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


class Ledger:
    """An append-only table of trials in one sqlite file.

    Every call opens and closes the file, so that any number of processes can use it; a killed one leaves whole rows.

    Parameters
    ----------
    path : Path
        Made on first use, with its folder.
    who : str, optional
        Written beside each trial; the user of this process by default.
    clock : callable
        Seconds since the epoch, for the time beside each trial.
    """

    def __init__(self, path: Path, who: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        # A container may have a user without a name.
        self.who = who or os.environ.get("USER") or f"uid {os.getuid()}"
        self._clock = clock

    def record(self, trial: Trial) -> bool:
        """Append a trial; return whether it is new. An already recorded one is left as it was first scored."""
        row = dataclasses.asdict(trial)
        row["costs"] = json.dumps(row["costs"], sort_keys=True, default=str)
        row["trial_key"] = trial.key
        row["recorded_by"] = self.who
        row["recorded_at"] = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        names = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        with self._connection() as connection:
            statement = f"INSERT INTO trials ({names}) VALUES ({places}) ON CONFLICT (trial_key) DO NOTHING"
            return connection.execute(statement, row).rowcount == 1

    def attach_report(self, trial: Trial, report_hash: str) -> None:
        """Append the hash of a report on a recorded trial.

        Raises
        ------
        sqlite3.IntegrityError
            If the trial was never recorded.
        """
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO reports (trial_key, report_hash) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (trial.key, report_hash),
            )

    def count(self, instrument: str | None = None, window: str | None = None) -> int:
        """Number of distinct trials, of an instrument and window or of all."""
        where, values = _filter(instrument, window)
        with self._connection() as connection:
            return int(connection.execute(f"SELECT COUNT(*) FROM trials{where}", values).fetchone()[0])

    def sharpes(self, instrument: str | None = None, window: str | None = None) -> tuple[float, ...]:
        """Sharpe ratios per trade of the trials that have one, in the order in which they were recorded."""
        where, values = _filter(instrument, window, "sharpe_per_trade IS NOT NULL")
        with self._connection() as connection:
            rows = connection.execute(f"SELECT sharpe_per_trade FROM trials{where} ORDER BY id", values).fetchall()
        return tuple(float(row[0]) for row in rows)

    def trials(self, instrument: str | None = None, window: str | None = None) -> list[dict[str, Any]]:
        """Rows of the ledger with the hashes of their reports, oldest first."""
        where, values = _filter(instrument, window)
        with self._connection() as connection:
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM trials{where} ORDER BY id", values)]
            for row in rows:
                row["costs"] = json.loads(row["costs"])
                found = connection.execute(
                    "SELECT report_hash FROM reports WHERE trial_key = ? ORDER BY id", (row["trial_key"],)
                )
                row["report_hashes"] = [hashes[0] for hashes in found]
        return rows

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            # A rollback journal, synced at every commit: what is recorded survives a crash of the machine too.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            _create(connection)
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            connection.close()


def _create(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        return
    # `executescript` would commit first: one statement at a time keeps the schema inside the transaction.
    for statement in _SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    for table in ("trials", "reports"):
        for verb in ("UPDATE", "DELETE"):
            connection.execute(_APPEND_ONLY.format(table=table, verb=verb))
    connection.execute("PRAGMA user_version = 1")


def _filter(instrument: str | None, window: str | None, *conditions: str) -> tuple[str, list[str]]:
    wanted = [(f"{name} = ?", value) for name, value in (("instrument", instrument), ("window", window)) if value]
    clauses = [clause for clause, _ in wanted] + list(conditions)
    return (f" WHERE {' AND '.join(clauses)}" if clauses else "", [value for _, value in wanted])

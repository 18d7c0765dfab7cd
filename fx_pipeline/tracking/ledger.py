"""The trial ledger: one row for every configuration whose score was ever computed.

A good result means less the more trials stand behind it, so the count must not depend on anyone's memory: the code
that scores writes the row. The table only grows: the database refuses updates, deletes and replacements, from whatever
program they come (who drops its triggers, or the file, is not held back). A row is identified by
what was evaluated, so evaluating the same thing twice counts once. Beside each row stands its result a session:
what a family of candidates has in common cannot be told from their totals.

Scores by which a training chose among its own weights are rows too, under a window name of their own
(`selection_window`). They are no trials of the days that a validation judges: unless that name is asked for, nothing
counts them.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.tracking.ledger_file import connected

# What makes two evaluations the same trial.
IDENTITY = ("instrument", "window", "checkpoint_hash", "data_fingerprint", "costs", "seed", "evaluation_code")
#: Longest wait for another process that holds the file: longer than any copy of it takes.
PATIENCE_S = 600.0
_SELECTION = "selection "
# Series are the same bytes on every machine.
_NS, _PIPS = np.dtype("<i8"), np.dtype("<f8")


@dataclass(frozen=True)
class Trial:
    """One evaluated configuration.

    Attributes
    ----------
    instrument, window : str
        OANDA name, and key of the walk-forward window or what `selection_window` makes of it.
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
    session_ns : (T,) int64
        First bar of each judged session, UTC, increasing.
    session_pnl_pips : (T,) float64
        What was made in it, after costs.
    evaluation_code : str
        Digest of the code that computed the score: a mended evaluation makes another trial.
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
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]
    evaluation_code: str

    @property
    def key(self) -> str:
        """The `trial_key` of the trial, which does not know who scored it, when, or how well."""
        return trial_key({name: getattr(self, name) for name in IDENTITY})


def trial_key(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the values of `IDENTITY`."""
    chosen = {name: identity[name] for name in IDENTITY}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()


def selection_window(window: str) -> str:
    """Return the name under which scores stand by which the trainings of a window chose among their weights."""
    return f"{_SELECTION}{window}"


@dataclass(frozen=True)
class ScoredTrial:
    """A row of the ledger with its series.

    Attributes
    ----------
    key, config_hash, data_fingerprint, evaluation_code : str
    costs : Mapping
    seed : int
    session_ns : (T,) int64
    session_pnl_pips : (T,) float64
    """

    key: str
    config_hash: str
    data_fingerprint: str
    evaluation_code: str
    costs: Mapping[str, Any]
    seed: int
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]


class Ledger:
    """An append-only table of trials in one sqlite file.

    Every call opens and closes the file, so that any number of processes can use it; a killed one leaves whole rows.

    Parameters
    ----------
    path : Path
        Made with its folder when the first trial is recorded or the first span opened.
    who : str, optional
        Written beside each trial; the user of this process by default.
    clock : callable
        Seconds since the epoch, for the time beside each trial.
    patience_s : float
        Longest wait while another process holds the file.
    """

    def __init__(
        self,
        path: Path,
        who: str | None = None,
        clock: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.path = Path(path)
        # A container may have a user without a name.
        self.who = who or os.environ.get("USER") or f"uid {os.getuid()}"
        self._clock = clock
        self._patience_s = patience_s

    def record(self, trial: Trial) -> bool:
        """Append a trial with its series; return whether it is new. A recorded one is left as it was first scored.

        Raises
        ------
        ValueError
            If the series is not one finite value a session, in the order of the sessions.
        """
        session_ns = np.asarray(trial.session_ns, _NS)
        pnl_pips = np.asarray(trial.session_pnl_pips, _PIPS)
        if session_ns.ndim != 1 or session_ns.shape != pnl_pips.shape or (np.diff(session_ns) <= 0).any():
            raise ValueError(
                f"a score series has one value a session, sessions increasing: {session_ns.shape} sessions, "
                f"{pnl_pips.shape} values."
            )
        if not np.isfinite(pnl_pips).all():
            raise ValueError("a score is not finite: mend the rollout.")
        row = {
            item.name: getattr(trial, item.name)
            for item in dataclasses.fields(trial)
            if item.name not in ("session_ns", "session_pnl_pips")
        }
        row["costs"] = json.dumps(row["costs"], sort_keys=True, default=str)
        row["trial_key"] = trial.key
        row["recorded_by"] = self.who
        row["recorded_at"] = self._now()
        names = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        with self._connection() as connection:
            known = connection.execute("SELECT 1 FROM trials WHERE trial_key = ?", (trial.key,)).fetchone()
            if known is None:
                connection.execute(f"INSERT INTO trials ({names}) VALUES ({places})", row)
            # Also where the trial is known: a row may come from a file that kept no series.
            if connection.execute("SELECT 1 FROM series WHERE trial_key = ?", (trial.key,)).fetchone() is None:
                connection.execute(
                    "INSERT INTO series (trial_key, session_ns, pnl_pips) VALUES (?, ?, ?)",
                    (trial.key, session_ns.tobytes(), pnl_pips.tobytes()),
                )
            return known is None

    def attach_report(self, trial: Trial, report_hash: str) -> None:
        """Append the hash of a report on a recorded trial.

        Raises
        ------
        sqlite3.IntegrityError
            If the trial was never recorded.
        """
        row = (trial.key, report_hash)
        with self._connection() as connection:
            known = "SELECT 1 FROM reports WHERE trial_key = ? AND report_hash = ?"
            if connection.execute(known, row).fetchone() is None:
                connection.execute("INSERT INTO reports (trial_key, report_hash) VALUES (?, ?)", row)

    def count(self, instrument: str | None = None, window: str | None = None) -> int:
        """Number of distinct trials, of an instrument and window or of all. Scores of a selection have to be named."""
        where, values = _filter(instrument, window, *_unnamed(window))
        with self._connection() as connection:
            return int(connection.execute(f"SELECT COUNT(*) FROM trials{where}", values).fetchone()[0])

    def sharpes(self, instrument: str | None = None, window: str | None = None) -> tuple[float, ...]:
        """Sharpe ratios per trade of the trials that `count` counts and that have one, oldest first."""
        where, values = _filter(instrument, window, "sharpe_per_trade IS NOT NULL", *_unnamed(window))
        with self._connection() as connection:
            rows = connection.execute(f"SELECT sharpe_per_trade FROM trials{where} ORDER BY id", values).fetchall()
        return tuple(float(row[0]) for row in rows)

    def trials(self, instrument: str | None = None, window: str | None = None) -> list[dict[str, Any]]:
        """Rows of the ledger with the hashes of their reports, oldest first, scores of a selection among them."""
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

    def keys(self, instrument: str) -> list[str]:
        """Keys of the trials of an instrument that `count` counts, sorted."""
        if not self.path.exists():
            return []
        where, values = _filter(instrument, None, *_unnamed(None))
        with self._connection() as connection:
            rows = connection.execute(f"SELECT trial_key FROM trials{where} ORDER BY trial_key", values)
            return [row[0] for row in rows]

    def scored(self, instrument: str, window: str) -> list[ScoredTrial]:
        """Trials of a window with their series, oldest first. Those of a file that kept no series are missing."""
        if not self.path.exists():
            return []
        where, values = _filter(instrument, window)
        columns = "trial_key, config_hash, data_fingerprint, evaluation_code, costs, seed, session_ns, pnl_pips"
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT {columns} FROM trials JOIN series USING (trial_key){where} ORDER BY id", values
            ).fetchall()
        return [
            ScoredTrial(
                key=row["trial_key"],
                config_hash=row["config_hash"],
                data_fingerprint=row["data_fingerprint"],
                evaluation_code=row["evaluation_code"],
                costs=json.loads(row["costs"]),
                seed=row["seed"],
                session_ns=np.frombuffer(row["session_ns"], _NS),
                session_pnl_pips=np.frombuffer(row["pnl_pips"], _PIPS),
            )
            for row in rows
        ]

    def open_holdout(self, instrument: str, checkpoint_hash: str, start_ns: int, last_ns: int, evaluation: str) -> bool:
        """Open sealed days for a candidate, before it is scored there; return whether it is the first time.

        Parameters
        ----------
        instrument : str
            OANDA name.
        checkpoint_hash : str
            The candidate.
        start_ns, last_ns : int
            Start of the sealed days and open of their last bar, UTC nanoseconds.
        evaluation : str
            Hash of what the score depends on. The same again tells nothing new, and is allowed: a run that was killed
            can be repeated, up to `sealed_until`.

        Raises
        ------
        DataError
            If the candidate has seen any of these days in another way.
        """
        values = (instrument, checkpoint_hash, start_ns, last_ns, evaluation, self.who, self._now())
        with self._connection() as connection:
            # Where the seal begins is a setting: what was seen is told by the bars, not by its name.
            found = connection.execute(
                "SELECT start_ns, last_ns, evaluation, opened_by, opened_at FROM sealed_openings "
                "WHERE instrument = ? AND checkpoint_hash = ? AND last_ns >= ? ORDER BY id",
                (instrument, checkpoint_hash, start_ns),
            ).fetchall()
            for row in found:
                if (row["start_ns"], row["last_ns"], row["evaluation"]) != (start_ns, last_ns, evaluation):
                    raise DataError(
                        f"this candidate has seen sealed days of {instrument} already ({row['opened_by']}, "
                        f"{row['opened_at']}), from another day on, up to another bar or under other costs: they are "
                        "opened once for a candidate. Seal newer days (FX_HOLDOUT_START) instead."
                    )
            if not found:
                connection.execute(
                    "INSERT INTO sealed_openings (instrument, checkpoint_hash, start_ns, last_ns, evaluation, "
                    "opened_by, opened_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
        return not found

    def sealed_until(self, instrument: str, checkpoint_hash: str, start_ns: int) -> int | None:
        """Last bar (UTC nanoseconds) up to which sealed days were opened for a candidate; None if they were not."""
        if not self.path.exists():
            return None
        with self._connection() as connection:
            row = connection.execute(
                "SELECT last_ns FROM sealed_openings WHERE instrument = ? AND checkpoint_hash = ? AND start_ns = ?",
                (instrument, checkpoint_hash, start_ns),
            ).fetchone()
        return None if row is None else int(row["last_ns"])

    def holdout_openings(self, instrument: str, start_ns: int | None) -> int:
        """Number of candidates that have seen bars of an instrument at or after `start_ns`; None: that were sealed."""
        if not self.path.exists():
            return 0
        query = "SELECT COUNT(DISTINCT checkpoint_hash) FROM sealed_openings WHERE instrument = ?"
        values: list[str | int] = [instrument]
        if start_ns is not None:
            query += " AND last_ns >= ?"
            values.append(start_ns)
        with self._connection() as connection:
            return int(connection.execute(query, values).fetchone()[0])

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")

    def _connection(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return connected(self.path, self._patience_s)


def _unnamed(window: str | None) -> tuple[str, ...]:
    """Conditions that leave out what only a window's name can ask for."""
    return () if window else (f"window NOT LIKE '{_SELECTION}%'",)


def _filter(instrument: str | None, window: str | None, *conditions: str) -> tuple[str, list[str]]:
    wanted = [(f"{name} = ?", value) for name, value in (("instrument", instrument), ("window", window)) if value]
    clauses = [clause for clause, _ in wanted] + list(conditions)
    return (f" WHERE {' AND '.join(clauses)}" if clauses else "", [value for _, value in wanted])

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
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fx_pipeline.market.errors import DataError
from fx_pipeline.market.prints import DAY, Days
from fx_pipeline.tracking.choices import Bars, Choices, Look, count_choices
from fx_pipeline.tracking.ledger_chain import CHAINED, Head, append, hash_at, head, verify
from fx_pipeline.tracking.ledger_file import connected
from fx_pipeline.tracking.trials import (
    LOOKS,
    NS,
    OF_EVIDENCE,
    OF_TRIAL,
    PIPS,
    REPLAY,
    SCORED,
    SELECTION,
    Reported,
    ScoredTrial,
    Trial,
    is_choice,
    lineage_sha256,
    look_of,
    require_series,
    scored_trial,
    selection_window,
    trial_key,
)

__all__ = ["Ledger", "Reported", "ScoredTrial", "Trial", "lineage_sha256", "selection_window", "trial_key"]

#: Longest wait for another process that holds the file: longer than any copy of it takes.
PATIENCE_S = 600.0


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

    def record(self, trial: Trial, judged: bool = False) -> bool:
        """Append a trial with its series; return whether it is new. A recorded one is left as it was first scored.

        `judged` says that a report on it is about to be made: this row is there whatever becomes of the report.

        Raises
        ------
        ValueError
            If the series is not one finite value a session, in the order of the sessions.
        """
        return self.record_many([trial], judged)[0]

    def record_many(self, trials: Sequence[Trial], judged: bool = False) -> list[bool]:
        """Append trials in one transaction, as `record` does one: all of them, or none at an error."""
        for trial in trials:
            require_series(trial)
        with self._connection() as connection:
            return [self._record(connection, trial, judged) for trial in trials]

    def record_recovered(self, trials: Sequence[Trial], kind: str, content: Mapping[str, Any]) -> None:
        """Append trials that were carried over from elsewhere, marked as such, and what is said of that, at once."""
        with self._connection() as connection:
            for trial in trials:
                self._record(connection, trial, judged=True, origin=kind)
            self._note(connection, kind, content)

    def note(self, kind: str, content: Mapping[str, Any]) -> None:
        """Append something that happened to the file itself."""
        with self._connection() as connection:
            self._note(connection, kind, content)

    def _note(self, connection: sqlite3.Connection, kind: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, sort_keys=True, default=str)
        self._insert(connection, "events", {"kind": kind, "content": text, **self._by()})

    def _record(self, connection: sqlite3.Connection, trial: Trial, judged: bool, origin: str | None = None) -> bool:
        key = trial.key
        known = _has(connection, "trials", key)
        if not known:
            row = {name: getattr(trial, name) for name in OF_TRIAL}
            row["costs"] = json.dumps(row["costs"], sort_keys=True, default=str)
            row["recipe"] = row["recipe"] or None
            self._insert(connection, "trials", {"trial_key": key, **row, **self._by(), "origin": origin})
        # Also where the trial is known: a row may come from a file that kept no series, or no evidence.
        if not _has(connection, "series", key):
            series = {"session_ns": np.asarray(trial.session_ns, NS).tobytes()}
            series["pnl_pips"] = np.asarray(trial.session_pnl_pips, PIPS).tobytes()
            self._insert(connection, "series", {"trial_key": key, **series})
        if trial.valid_end_ns and not _has(connection, "evidence", key):
            days, sha256 = np.asarray(trial.days, DAY).tobytes(), trial.days_sha256
            if not _has(connection, "days", sha256):
                self._insert(connection, "days", {"days_sha256": sha256, "days": days})
            row = {name: getattr(trial, name) for name in OF_EVIDENCE}
            self._insert(connection, "evidence", {"trial_key": key, "days_sha256": sha256, **row})
        if judged:
            self._report(connection, key, Reported("", ""))
        return not known

    def attach_report(self, trial: Trial | str, report_hash: str, lineage: str = "") -> None:
        """Append the hashes of a report on a recorded trial, or of the trial that has this key.

        Parameters
        ----------
        trial : Trial or str
        report_hash : str
            Of its figures.
        lineage : str
            Of its lineage, as `lineage_sha256` makes it.

        Raises
        ------
        sqlite3.IntegrityError
            If the trial was never recorded.
        """
        with self._connection() as connection:
            self._report(connection, trial if isinstance(trial, str) else trial.key, Reported(report_hash, lineage))

    def _report(self, connection: sqlite3.Connection, key: str, report: Reported) -> None:
        same = "SELECT 1 FROM reports WHERE trial_key = ? AND report_hash = ?"
        if connection.execute(same, (key, report.figures_sha256)).fetchone() is None:
            row = {"trial_key": key, "report_hash": report.figures_sha256, "lineage_sha256": report.lineage_sha256}
            self._insert(connection, "reports", {**row, **self._by()})

    def reports(self, key: str) -> list[Reported]:
        """Return the reports on a trial, oldest first."""
        if not self.path.exists():
            return []
        query = "SELECT report_hash, lineage_sha256 FROM reports WHERE trial_key = ? AND report_hash != '' ORDER BY id"
        with self._connection() as connection:
            rows = connection.execute(query, (key,)).fetchall()
        return [Reported(row["report_hash"], row["lineage_sha256"] or "") for row in rows]

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
                    "SELECT report_hash FROM reports WHERE trial_key = ? AND report_hash != '' ORDER BY id",
                    (row["trial_key"],),
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
        return [trial for trial in self._scored("instrument = ? AND window = ?", instrument, window) if trial.kept]

    def of_configuration(self, instrument: str, config_hash: str) -> list[ScoredTrial]:
        """Trials of a configuration on an instrument in all windows, oldest first, without replays, sealed days and
        what trainings chose by. Those of which no series or evidence was kept are among them."""
        found = self._scored("instrument = ? AND config_hash = ?", instrument, config_hash)
        return [trial for trial in found if is_choice(trial.window)]

    def replayed(self, instrument: str, checkpoint_hash: str) -> list[str]:
        """Names of the windows that a model was replayed on after its choice, sorted."""
        if not self.path.exists():
            return []
        query = "SELECT DISTINCT window FROM trials WHERE instrument = ? AND checkpoint_hash = ? ORDER BY window"
        with self._connection() as connection:
            rows = connection.execute(query, (instrument, checkpoint_hash)).fetchall()
        return [row[0].removeprefix(REPLAY) for row in rows if row[0].startswith(REPLAY)]

    def _scored(self, where: str, *values: str) -> list[ScoredTrial]:
        if not self.path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(f"{SCORED} WHERE {where} ORDER BY id", values).fetchall()
        return [scored_trial(row) for row in rows]

    def looks(self) -> tuple[list[Look], dict[str, Days]]:
        """Return every score that somebody saw, but for replays, and the days that they are known by."""
        if not self.path.exists():
            return [], {}
        with self._connection() as connection:
            rows = connection.execute(LOOKS).fetchall()
            days = connection.execute("SELECT days_sha256, days FROM days").fetchall()
        looks = [look_of(row) for row in rows if not row["window"].startswith(REPLAY)]
        return looks, {row["days_sha256"]: np.frombuffer(row["days"], DAY) for row in days}

    def choices(self, own: Look, days: Days, bars: Bars | None = None) -> Choices:
        """Count what was chosen among on the record that ends with a trial of these days; it need not be here yet.

        `bars` are the times and closes of the trial, if candles are to be found whose clock was put forward.
        """
        looks, known = self.looks()
        return count_choices(own, looks, known | {own.days: days}, self.lost(), bars)

    def places(self) -> set[tuple[str, str, str]]:
        """Instrument, window and checkpoint of every trial; and with an empty checkpoint, of every window."""
        if not self.path.exists():
            return set()
        with self._connection() as connection:
            rows = connection.execute("SELECT DISTINCT instrument, window, checkpoint_hash FROM trials").fetchall()
        return {tuple(row) for row in rows} | {(row[0], row[1], "") for row in rows}

    def lost(self) -> int:
        """Number of trials that lost ledgers had, and that could not be carried over from what told of them."""
        return sum(int(event["lost"]) for event in self.events("recovered"))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What was written down of what happened to the file itself, oldest first."""
        if not self.path.exists():
            return []
        query = "SELECT content, recorded_by, recorded_at FROM events WHERE kind = ? ORDER BY id"
        with self._connection() as connection:
            rows = connection.execute(query, (kind,)).fetchall()
        return [json.loads(row["content"]) | {"by": row["recorded_by"], "at": row["recorded_at"]} for row in rows]

    def scored_before(self, kind: str) -> set[tuple[str, str, str, str, int]]:
        """Return instrument, window, checkpoint, configuration and seed of the trials from before the first event of
        a kind."""
        if not self.path.exists():
            return set()
        first = (
            "SELECT min(number) FROM chain WHERE name = 'events' AND row_key IN "
            "(SELECT CAST(id AS TEXT) FROM events WHERE kind = ?)"
        )
        query = (
            "SELECT DISTINCT instrument, window, checkpoint_hash, config_hash, seed FROM trials "
            "JOIN chain ON chain.name = 'trials' AND chain.row_key = trials.trial_key "
            f"WHERE chain.number < ifnull(({first}), chain.number + 1)"
        )
        with self._connection() as connection:
            return {tuple(row) for row in connection.execute(query, (kind,)).fetchall()}

    def hash_at(self, row: int) -> str | None:
        """Return the hash of the chain at a row; None where it is shorter."""
        if not self.path.exists():
            return None
        with self._connection() as connection:
            return hash_at(connection, row)

    def head(self) -> Head:
        """Return what stands for all rows of the ledger; of one that does not exist, an empty id and no rows."""
        if not self.path.exists():
            return Head("", 0, "")
        with self._connection() as connection:
            return head(connection)

    def verify(self) -> list[str]:
        """Walk the chain over all rows; return what is wrong with it, a sentence each."""
        if not self.path.exists():
            return []
        with self._connection() as connection:
            return verify(connection)

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
        opening = {
            "instrument": instrument,
            "checkpoint_hash": checkpoint_hash,
            "start_ns": start_ns,
            "last_ns": last_ns,
            "evaluation": evaluation,
            "opened_by": self.who,
            "opened_at": self._now(),
        }
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
                self._insert(connection, "sealed_openings", opening)
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

    def _insert(self, connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        written = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)
        # Tables that nothing else names are named by their number.
        append(connection, table, row.get(CHAINED[table], written.lastrowid))

    def _by(self) -> dict[str, str]:
        return {"recorded_by": self.who, "recorded_at": self._now()}

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")

    def _connection(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        return connected(self.path, self._patience_s)


def _has(connection: sqlite3.Connection, table: str, key: str) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {CHAINED[table]} = ?"
    return connection.execute(query, (key,)).fetchone() is not None


def _unnamed(window: str | None) -> tuple[str, ...]:
    """Conditions that leave out what only a window's name can ask for."""
    return () if window else (f"window NOT LIKE '{SELECTION}%'",)


def _filter(instrument: str | None, window: str | None, *conditions: str) -> tuple[str, list[str]]:
    wanted = [(f"{name} = ?", value) for name, value in (("instrument", instrument), ("window", window)) if value]
    clauses = [clause for clause, _ in wanted] + list(conditions)
    return (f" WHERE {' AND '.join(clauses)}" if clauses else "", [value for _, value in wanted])

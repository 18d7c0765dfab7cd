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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.market.prints import DAY, Days, no_days
from fx_pipeline.tracking.ledger_chain import CHAINED, Head, append, head, verify
from fx_pipeline.tracking.ledger_file import connected

# What makes two evaluations the same trial.
IDENTITY = ("instrument", "window", "checkpoint_hash", "data_fingerprint", "costs", "seed", "evaluation_code")
#: Longest wait for another process that holds the file: longer than any copy of it takes.
PATIENCE_S = 600.0
_SELECTION, _REPLAY, _SEALED = "selection ", "replay ", "hold-out "
#: Six hours: what sessions are as long as, in rows from before the span of their bars was kept.
_SESSION_NS = 6 * 3_600 * 1_000_000_000
_OF_EVIDENCE = ("valid_start_ns", "valid_end_ns", "trained_seed_sha", "evidence")
_SHOWN = (
    *("instrument", "window", "config_hash", "checkpoint_hash", "data_fingerprint", "evaluation_code"),
    *("key", "seed", "trades"),
)
_SCORED = (
    "SELECT trials.*, trials.trial_key AS key, session_ns, pnl_pips, valid_start_ns, valid_end_ns, trained_seed_sha, "
    "evidence, EXISTS (SELECT 1 FROM reports WHERE reports.trial_key = trials.trial_key) AS reported "
    "FROM trials LEFT JOIN series USING (trial_key) LEFT JOIN evidence USING (trial_key)"
)
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
    valid_start_ns, valid_end_ns : int
        Open of the first bar that was judged, and end of the last one, UTC.
    days : (D,) array of `market.prints.DAY`
        What the days of these bars are recognised by.
    evidence : bytes
        What a track record needs of this score; nothing here looks into it.
    trained_seed_sha : str
        What the training began with (seed, settings, code, data), by its own record.
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
    valid_start_ns: int = 0
    valid_end_ns: int = 0
    days: Days = field(default_factory=no_days)
    evidence: bytes = b""
    trained_seed_sha: str = ""

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


#: Columns of a trial's row that its scorer gives.
_OF_TRIAL = tuple(
    item.name
    for item in dataclasses.fields(Trial)
    if item.name not in ("session_ns", "session_pnl_pips", "days", *_OF_EVIDENCE)
)


@dataclass(frozen=True)
class ScoredTrial:
    """A row of the ledger with its series.

    Attributes
    ----------
    key, instrument, window, config_hash, checkpoint_hash, data_fingerprint, evaluation_code : str
    costs : Mapping
    seed, trades : int
    session_ns : (T,) int64
    session_pnl_pips : (T,) float64
        Empty in `Ledger.of_configuration` where a file kept none.
    valid_start_ns, valid_end_ns : int
        Span of the bars that were judged. Of a row from before it was kept, from the first session to the end of the
        last one as long as sessions are; 0 where it has no series either.
    evidence : bytes
        Empty where none was kept.
    trained_seed_sha : str
    reported : bool
        Whether it was judged, or only scored beside one that was.
    recovered : bool
        Whether it was carried over from reports and runs after its ledger was lost.
    kept : bool
        Whether there is a series, of however many sessions.
    """

    key: str
    instrument: str
    window: str
    config_hash: str
    checkpoint_hash: str
    data_fingerprint: str
    evaluation_code: str
    costs: Mapping[str, Any]
    seed: int
    trades: int
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]
    valid_start_ns: int
    valid_end_ns: int
    evidence: bytes
    trained_seed_sha: str
    reported: bool
    recovered: bool
    kept: bool


@dataclass(frozen=True)
class Reported:
    """A report on a trial, as the ledger knows it.

    Attributes
    ----------
    figures_sha256 : str
        Of its figures.
    lineage_sha256 : str
        Of what it says it was made from (`lineage_sha256`); empty for one of a version that did not keep it.
    """

    figures_sha256: str
    lineage_sha256: str


def lineage_sha256(lineage: Mapping[str, Any]) -> str:
    """Hash what a report says it was made from, without what it says of the ledger, which is written after it."""
    kept = {name: value for name, value in lineage.items() if not name.startswith("ledger_")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, allow_nan=False).encode()).hexdigest()


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
            _require_series(trial)
        with self._connection() as connection:
            return [self._record(connection, trial, judged) for trial in trials]

    def _record(self, connection: sqlite3.Connection, trial: Trial, judged: bool) -> bool:
        key = trial.key
        known = _has(connection, "trials", key)
        if not known:
            row = {name: getattr(trial, name) for name in _OF_TRIAL}
            row["costs"] = json.dumps(row["costs"], sort_keys=True, default=str)
            self._insert(connection, "trials", {"trial_key": key, **row, **self._by()})
        # Also where the trial is known: a row may come from a file that kept no series, or no evidence.
        if not _has(connection, "series", key):
            series = {"session_ns": np.asarray(trial.session_ns, _NS).tobytes()}
            series["pnl_pips"] = np.asarray(trial.session_pnl_pips, _PIPS).tobytes()
            self._insert(connection, "series", {"trial_key": key, **series})
        if trial.valid_end_ns and not _has(connection, "evidence", key):
            days = np.asarray(trial.days, DAY).tobytes()
            sha256 = hashlib.sha256(days).hexdigest()
            if not _has(connection, "days", sha256):
                self._insert(connection, "days", {"days_sha256": sha256, "days": days})
            row = {name: getattr(trial, name) for name in _OF_EVIDENCE}
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

    def _scored(self, where: str, *values: str) -> list[ScoredTrial]:
        if not self.path.exists():
            return []
        with self._connection() as connection:
            rows = connection.execute(f"{_SCORED} WHERE {where} ORDER BY id", values).fetchall()
        return [_scored_trial(row) for row in rows]

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


def is_choice(window: str) -> bool:
    """Whether scores under this name are of a window that candidates are chosen on."""
    return not window.startswith((_SELECTION, _REPLAY, _SEALED))


def _require_series(trial: Trial) -> None:
    session_ns, pnl_pips = np.asarray(trial.session_ns, _NS), np.asarray(trial.session_pnl_pips, _PIPS)
    if session_ns.ndim != 1 or session_ns.shape != pnl_pips.shape or (np.diff(session_ns) <= 0).any():
        raise ValueError(
            f"a score series has one value a session, sessions increasing: {session_ns.shape} sessions, "
            f"{pnl_pips.shape} values."
        )
    if not np.isfinite(pnl_pips).all():
        raise ValueError("a score is not finite: mend the rollout.")


def _has(connection: sqlite3.Connection, table: str, key: str) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {CHAINED[table]} = ?"
    return connection.execute(query, (key,)).fetchone() is not None


def _scored_trial(row: sqlite3.Row) -> ScoredTrial:
    session_ns = np.frombuffer(row["session_ns"] or b"", _NS)
    start_ns, end_ns = row["valid_start_ns"], row["valid_end_ns"]
    if start_ns is None:
        start_ns, end_ns = span_of_sessions(session_ns)
    return ScoredTrial(
        **{name: row[name] for name in _SHOWN},
        costs=json.loads(row["costs"]),
        session_ns=session_ns,
        session_pnl_pips=np.frombuffer(row["pnl_pips"] or b"", _PIPS),
        valid_start_ns=start_ns,
        valid_end_ns=end_ns,
        evidence=row["evidence"] or b"",
        trained_seed_sha=row["trained_seed_sha"] or "",
        reported=bool(row["reported"]),
        recovered=row["origin"] is not None,
        kept=row["session_ns"] is not None,
    )


def span_of_sessions(session_ns: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the span of the bars of some sessions, UTC nanoseconds; (0, 0) without any."""
    return (int(session_ns[0]), int(session_ns[-1]) + _SESSION_NS) if len(session_ns) else (0, 0)


def _unnamed(window: str | None) -> tuple[str, ...]:
    """Conditions that leave out what only a window's name can ask for."""
    return () if window else (f"window NOT LIKE '{_SELECTION}%'",)


def _filter(instrument: str | None, window: str | None, *conditions: str) -> tuple[str, list[str]]:
    wanted = [(f"{name} = ?", value) for name, value in (("instrument", instrument), ("window", window)) if value]
    clauses = [clause for clause, _ in wanted] + list(conditions)
    return (f" WHERE {' AND '.join(clauses)}" if clauses else "", [value for _, value in wanted])

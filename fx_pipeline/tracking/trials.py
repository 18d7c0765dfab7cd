"""What the ledger keeps of a trial, and what it gives back."""

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.prints import DAY, Days, no_days
from fx_pipeline.tracking.choices import Look

# What makes two evaluations the same trial. The same weights may be of two configurations: other code trains them as
# well, or the settings of the search that plays them are others.
IDENTITY = (
    *("instrument", "window", "config_hash", "checkpoint_hash", "data_fingerprint", "costs", "seed"),
    "evaluation_code",
)
#: How names of scores begin that are of no window that candidates are chosen on.
SELECTION, REPLAY, SEALED = "selection ", "replay ", "hold-out "
#: Six hours: what sessions are as long as, in rows from before the span of their bars was kept.
_SESSION_NS = 6 * 3_600 * 1_000_000_000
OF_EVIDENCE = ("valid_start_ns", "valid_end_ns", "trained_seed_sha", "evidence")
_SHOWN = (
    *("instrument", "window", "config_hash", "checkpoint_hash", "data_fingerprint", "evaluation_code"),
    *("key", "seed", "trades"),
)
SCORED = (
    "SELECT trials.*, trials.trial_key AS key, session_ns, pnl_pips, valid_start_ns, valid_end_ns, trained_seed_sha, "
    "evidence, EXISTS (SELECT 1 FROM reports WHERE reports.trial_key = trials.trial_key) AS reported "
    "FROM trials LEFT JOIN series USING (trial_key) LEFT JOIN evidence USING (trial_key)"
)
LOOKS = (
    "SELECT trials.trial_key AS key, instrument, window, config_hash, checkpoint_hash, data_fingerprint, "
    "valid_start_ns, valid_end_ns, days_sha256, substr(session_ns, 1, 8) AS first, substr(session_ns, -8) AS last, "
    "EXISTS (SELECT 1 FROM reports WHERE reports.trial_key = trials.trial_key) AS reported "
    "FROM trials LEFT JOIN series USING (trial_key) LEFT JOIN evidence USING (trial_key) ORDER BY id"
)
# Series are the same bytes on every machine.
NS, PIPS = np.dtype("<i8"), np.dtype("<f8")


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
    recipe : str
        Name of the recipe; empty where it is not known.
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
    recipe: str = ""

    @property
    def days_sha256(self) -> str:
        """Under which the days of the trial are kept."""
        return hashlib.sha256(np.asarray(self.days, DAY).tobytes()).hexdigest()

    @property
    def look(self) -> Look:
        """What counting the choices takes of the trial."""
        return Look(
            key=self.key,
            instrument=self.instrument,
            window=self.window,
            config_hash=self.config_hash,
            checkpoint_hash=self.checkpoint_hash,
            data_fingerprint=self.data_fingerprint,
            start_ns=self.valid_start_ns,
            end_ns=self.valid_end_ns,
            days=self.days_sha256,
            reported=True,
            choice=is_choice(self.window),
        )

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
    return f"{SELECTION}{window}"


#: Columns of a trial's row that its scorer gives.
OF_TRIAL = tuple(
    item.name
    for item in dataclasses.fields(Trial)
    if item.name not in ("session_ns", "session_pnl_pips", "days", *OF_EVIDENCE)
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


def is_choice(window: str) -> bool:
    """Whether scores under this name are of a window that candidates are chosen on."""
    return not window.startswith((SELECTION, REPLAY, SEALED))


def span_of_sessions(session_ns: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the span of the bars of some sessions, UTC nanoseconds; (0, 0) without any."""
    return (int(session_ns[0]), int(session_ns[-1]) + _SESSION_NS) if len(session_ns) else (0, 0)


def require_series(trial: Trial) -> None:
    session_ns, pnl_pips = np.asarray(trial.session_ns, NS), np.asarray(trial.session_pnl_pips, PIPS)
    if session_ns.ndim != 1 or session_ns.shape != pnl_pips.shape or (np.diff(session_ns) <= 0).any():
        raise ValueError(
            f"a score series has one value a session, sessions increasing: {session_ns.shape} sessions, "
            f"{pnl_pips.shape} values."
        )
    if not np.isfinite(pnl_pips).all():
        raise ValueError("a score is not finite: mend the rollout.")


def scored_trial(row: sqlite3.Row) -> ScoredTrial:
    session_ns = np.frombuffer(row["session_ns"] or b"", NS)
    start_ns, end_ns = row["valid_start_ns"], row["valid_end_ns"]
    if start_ns is None:
        start_ns, end_ns = span_of_sessions(session_ns)
    return ScoredTrial(
        **{name: row[name] for name in _SHOWN},
        costs=json.loads(row["costs"]),
        session_ns=session_ns,
        session_pnl_pips=np.frombuffer(row["pnl_pips"] or b"", PIPS),
        valid_start_ns=start_ns,
        valid_end_ns=end_ns,
        evidence=row["evidence"] or b"",
        trained_seed_sha=row["trained_seed_sha"] or "",
        reported=bool(row["reported"]),
        recovered=row["origin"] is not None,
        kept=row["session_ns"] is not None,
    )


def look_of(row: sqlite3.Row) -> Look:
    start_ns, end_ns = row["valid_start_ns"], row["valid_end_ns"]
    if start_ns is None:
        start_ns, end_ns = span_of_sessions(np.frombuffer((row["first"] or b"") + (row["last"] or b""), NS))
    return Look(
        key=row["key"],
        instrument=row["instrument"],
        window=row["window"],
        config_hash=row["config_hash"],
        checkpoint_hash=row["checkpoint_hash"],
        data_fingerprint=row["data_fingerprint"],
        start_ns=start_ns,
        end_ns=end_ns,
        days=row["days_sha256"] or "",
        reported=bool(row["reported"]),
        choice=is_choice(row["window"]),
    )

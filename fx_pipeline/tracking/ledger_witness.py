"""What tells of the trial ledger outside of it: reports, runs in MLflow and Dagster's events name its head and trials.

Whoever can write the file can make a new one, or put an older copy back. Neither has the heads that the others wrote
down, nor all the trials that they tell of. What was found wrong once is written into the ledger, so that no report
that is made again takes it away; it stays until the right file is back, or until `recover` has carried over what is
known of the trials, for everyone to see.

It bounds what it reads: the newest `MOST` of each kind.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.tracking.trials import Trial

#: Newest reports, runs and events that are asked.
MOST = 1_000
#: Experiment of the runs of validations, and the tags by which they tell of the ledger.
EXPERIMENT = "validation"
TAGS = ("ledger_id", "ledger_head", "ledger_rows", "ledger_trials", "checkpoint_sha256", "instrument", "window")
NOTED, RECOVERED = "witness", "recovered"
_NAMED = 2
_WAIT_S = 30.0


@dataclass(frozen=True)
class Witness:
    """What one report, run or event tells.

    Attributes
    ----------
    where : str
        In words.
    instrument, window, checkpoint_hash : str
        Of the trial; a checkpoint that is not known is empty.
    ledger_id, ledger_head : str
        Empty from a version that did not write them down.
    ledger_rows, ledger_trials : int
        How many there were.
    known : Mapping
        What else is known of the trial, for `recover`.
    """

    where: str
    instrument: str
    window: str
    checkpoint_hash: str = ""
    ledger_id: str = ""
    ledger_head: str = ""
    ledger_rows: int = 0
    ledger_trials: int = 0
    known: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def place(self) -> tuple[str, str, str]:
        """Of the trial, as far as a report or a run names it."""
        return self.instrument, self.window, self.checkpoint_hash


@dataclass(frozen=True)
class Recovery:
    """What `recover` did.

    Attributes
    ----------
    recovered, lost : int
        Trials that were carried over, and those of which only the number is known.
    ledgers : int
        Ledgers that are gone.
    """

    recovered: int
    lost: int
    ledgers: int


def report_witnesses(data_dir: Path) -> list[Witness]:
    """Read what the reports below a data folder tell, those beside registered models among them."""
    places = [*data_dir.glob("reports/*/*/*/**/report.json"), *data_dir.glob("models/*/*/report.json")]
    newest = sorted(places, key=lambda path: path.stat().st_mtime_ns, reverse=True)[:MOST]
    return [witness for path in newest if (witness := _of_report(path, data_dir)) is not None]


def run_witnesses(database: Path | None) -> list[Witness]:
    """Read what the runs of validations tell in MLflow's file, deleted ones among them; nothing where there is none.

    Raises
    ------
    sqlite3.DatabaseError
        If it cannot be read.
    """
    if database is None or not database.exists():
        return []
    places = ", ".join("?" for _ in TAGS)
    query = (
        "SELECT runs.run_uuid, runs.status, tags.key, tags.value FROM runs "
        "JOIN experiments ON experiments.experiment_id = runs.experiment_id "
        f"JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key IN ({places}) "
        "WHERE experiments.name = ? ORDER BY runs.start_time DESC LIMIT ?"
    )
    found: dict[str, dict[str, str]] = {}
    with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)) as db:
        for run_id, status, key, value in db.execute(query, (*TAGS, EXPERIMENT, MOST * len(TAGS))):
            found.setdefault(run_id, {"status": status})[key] = value
    # One that did not end may have scored nothing: it tells of the ledger alone.
    of_trial = {run_id: told if told["status"] == "FINISHED" else {} for run_id, told in found.items()}
    return [
        witness_of(f"MLflow run {run_id}", of_trial[run_id].get("instrument", ""), told.get("window", ""), told)
        for run_id, told in found.items()
    ]


def witness_of(where: str, instrument: str, window: str, told: Mapping[str, Any]) -> Witness:
    """Make a witness of what a run or an event has under the names of `TAGS`."""
    return Witness(
        where=where,
        instrument=instrument,
        window=window,
        checkpoint_hash=str(told.get("checkpoint_sha256") or ""),
        ledger_id=str(told.get("ledger_id") or ""),
        ledger_head=str(told.get("ledger_head") or ""),
        ledger_rows=_whole(told.get("ledger_rows")),
        ledger_trials=_whole(told.get("ledger_trials")),
    )


def find_faults(ledger: Ledger, witnesses: Iterable[Witness]) -> list[str]:
    """Compare the ledger with what tells of it; return what is wrong, a sentence each, and note it in the ledger.

    Parameters
    ----------
    ledger : Ledger
    witnesses : iterable of Witness

    Returns
    -------
    list of str
        Empty when the chain is whole and every witness agrees.
    """
    broken = [f"{ledger.path}, the trial ledger, is not as it was written: {line}" for line in ledger.verify()]
    noted = _noted(ledger)
    against = _against(ledger, list(dict.fromkeys([*witnesses, *noted])))
    fresh = {_content(witness): witness for of_kind in against.values() for witness in of_kind}
    for told in noted:
        fresh.pop(_content(told), None)
    for witness in fresh.values():
        ledger.note(NOTED, asdict(witness))
    remedy = (
        f"put the file back as {ledger.path} that these were made with; if it is gone for good, `fx-pipeline ledger "
        "recover` carries over what they tell of its trials, and counts the rest as lost."
    )
    return broken + [
        f"{_names(found)} {'tell' if len(found) > 1 else 'tells'} of {what}: {remedy}"
        for what, found in against.items()
        if found
    ]


def recover(ledger: Ledger, witnesses: Iterable[Witness], reason: str) -> Recovery:
    """Carry over what witnesses tell of trials that the ledger lacks, and count those of which nothing is known.

    Nothing is made good by it: each trial that a lost ledger had counts as one more that was chosen among, seeds and
    replays too, as nobody knows any more which they were.

    Parameters
    ----------
    ledger : Ledger
    witnesses : iterable of Witness
    reason : str
        Why the file is gone; it is kept beside who did this and when.
    """
    heard = list(dict.fromkeys([*_noted(ledger), *witnesses]))
    against = _against(ledger, heard)
    told = [witness for found in against.values() for witness in found]
    places = ledger.places()
    lacking: dict[tuple[str, str, str], Witness] = {}
    # Reports know most, and runs of earlier versions not even the checkpoint.
    for witness in sorted(told, key=lambda found: (not found.known, not found.checkpoint_hash)):
        if not _has(places | _places(lacking), witness):
            lacking[witness.place] = witness
    rows = [_trial(witness) for witness in lacking.values()]
    on_chain = [witness.ledger_trials for witness in heard if witness.ledger_id and witness not in told]
    had: dict[str, int] = {}
    for witness in told:
        had[witness.ledger_id] = max(had.get(witness.ledger_id, 0), witness.ledger_trials)
    own_id = ledger.head().ledger_id
    if own_id in had:
        # An older copy has what its witnesses had that are still on its chain.
        had[own_id] = max(had[own_id] - max(on_chain, default=0), 0)
    lost = max(sum(had.values()) - len(rows), 0)
    heads = sorted({(witness.ledger_id, witness.ledger_head) for witness in told if witness.ledger_id})
    counted = {name: trials for name, trials in had.items() if name and name != own_id}
    content = {"reason": reason, "recovered": len(rows), "lost": lost, "heads": [list(pair) for pair in heads]}
    content["ledgers"] = counted
    ledger.record_recovered(rows, RECOVERED, content)
    return Recovery(len(rows), lost, len([name for name in had if name]))


def _against(ledger: Ledger, witnesses: Sequence[Witness]) -> dict[str, list[Witness]]:
    """Sort out who tells of another ledger, of rows that this one lacks or has otherwise, or of trials it lacks."""
    head, places = ledger.head(), ledger.places()
    recovered = ledger.events(RECOVERED)
    settled = {tuple(pair) for event in recovered for pair in event["heads"]}
    # Dagster tells of heads in between, which nothing else had: as many trials of that ledger are counted already.
    counted = [pair for event in recovered for pair in event.get("ledgers", {}).items()]
    other, younger, rewritten, lacking = [], [], [], []
    for witness in witnesses:
        if witness.ledger_id and (witness.ledger_id, witness.ledger_head) not in settled:
            if any(witness.ledger_id == name and witness.ledger_trials <= trials for name, trials in counted):
                if not _has(places, witness):
                    lacking.append(witness)
                continue
            if witness.ledger_id != head.ledger_id:
                other.append(witness)
                continue
            if witness.ledger_rows > head.rows:
                younger.append(witness)
                continue
            if ledger.hash_at(witness.ledger_rows) != witness.ledger_head:
                rewritten.append(witness)
                continue
        if not _has(places, witness):
            lacking.append(witness)
    return {
        "another trial ledger than the one that is here": other,
        "rows that the trial ledger does not have yet: it is an older copy": younger,
        "other rows than the trial ledger has: it was written anew": rewritten,
        "trials that the trial ledger lacks": lacking,
    }


def _has(places: set[tuple[str, str, str]], witness: Witness) -> bool:
    # Runs of an earlier version name no checkpoint: "" stands for any of a window.
    return not witness.instrument or not witness.window or witness.place in places


def _places(witnesses: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    known = set(witnesses)
    return known | {(instrument, window, "") for instrument, window, _ in known}


def _noted(ledger: Ledger) -> list[Witness]:
    names = {item.name for item in fields(Witness)}
    return [Witness(**{k: v for k, v in event.items() if k in names}) for event in ledger.events(NOTED)]


def _content(witness: Witness) -> tuple[Any, ...]:
    return (*witness.place, witness.ledger_id, witness.ledger_head)


def _names(found: Sequence[Witness]) -> str:
    names = list(dict.fromkeys(witness.where for witness in found))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _of_report(path: Path, data_dir: Path) -> Witness | None:
    try:
        report = json.loads(path.read_bytes())
        figures, lineage = report["figures"], report["lineage"]
        told = {**lineage, "instrument": figures["instrument"], "window": figures["window"]}
        known = {name: figures.get(name) for name in ("agent", "seed", "trades", "expectancy_pips")}
        known |= {name: lineage.get(name) for name in ("data_fingerprint", "costs", "valid_start", "valid_end")}
        witness = witness_of(f"the report {path.relative_to(data_dir)}", told["instrument"], told["window"], told)
    except (OSError, ValueError, KeyError, TypeError):
        # One that cannot be read tells nothing, and is named wherever it is used.
        return None
    return Witness(**{**_shallow(witness), "known": known})


def _shallow(witness: Witness) -> dict[str, Any]:
    return {item.name: getattr(witness, item.name) for item in fields(witness)}


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else 0


def _trial(witness: Witness) -> Trial:
    import numpy as np

    known = witness.known
    start_ns, end_ns = (_ns(known.get(name)) for name in ("valid_start", "valid_end"))
    expectancy = known.get("expectancy_pips")
    return Trial(
        instrument=witness.instrument,
        window=witness.window,
        agent=str(known.get("agent") or ""),
        # Of which configuration it was is not known: each is taken for one of its own.
        config_hash=f"recovered {witness.checkpoint_hash or witness.where}",
        seed=_whole(known.get("seed")),
        checkpoint_hash=witness.checkpoint_hash,
        data_fingerprint=str(known.get("data_fingerprint") or ""),
        costs=dict(known.get("costs") or {}),
        trades=_whole(known.get("trades")),
        expectancy_pips=None if expectancy is None else float(expectancy),
        sharpe_per_trade=None,
        session_ns=np.zeros(0, np.int64),
        session_pnl_pips=np.zeros(0),
        evaluation_code=RECOVERED,
        valid_start_ns=start_ns,
        valid_end_ns=end_ns if start_ns else 0,
    )


def _ns(moment: Any) -> int:
    import pandas as pd

    try:
        return int(pd.Timestamp(moment).as_unit("ns").value) if moment else 0
    except (TypeError, ValueError):
        return 0

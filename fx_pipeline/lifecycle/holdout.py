"""The sealed days: each candidate is judged on them once, when everything else has been decided."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from fx_pipeline.lifecycle.champions import rival
from fx_pipeline.lifecycle.checkpoints import candidate, seed_checkpoints
from fx_pipeline.lifecycle.needs import Run, Terms, Tracking, Warehouse
from fx_pipeline.lifecycle.scores import validate_span, validation_identity
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.verified import verified_report
from fx_pipeline.market.errors import DataError

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger

#: Digits of a checkpoint's hash that name it.
NAME_DIGITS = 12
FILES = ("report.json", "report.html")


def open_sealed_days(
    run: Run,
    settings: Terms,
    warehouse: Warehouse,
    tracking: Tracking,
    agent: str,
    instrument: str,
    key: str,
    named: str,
    find_faults: "Callable[[Ledger], list[str]]",
) -> dict[str, Any] | str:
    """Judge the candidate of a window on the sealed days, or say why there is nothing to open.

    The opening is in the trial ledger before the first decision is taken. A report that stands is read again.

    Parameters
    ----------
    run : Run
    settings : Terms
    warehouse : Warehouse
    tracking : Tracking
    agent, instrument, key : str
    named : str
        First 12 digits of the weights' hash of the candidate for which they are to be opened.
    find_faults : callable
        What is wrong with the ledger, a sentence each.

    Returns
    -------
    dict or str
        The report, which lies in the folder `holdout` of the window's report; or the reason.

    Raises
    ------
    DataError
        If the candidate is not named, or its validation did not pass the gate.
    """
    from fx_pipeline.market.disk import clear_disk_errors
    from fx_pipeline.reuse import identity, report_digest, stamp, stands
    from fx_pipeline.validation.report import read_report, write_report

    start_ns = settings.sealed_from_ns
    if start_ns is None:
        return "no day is sealed: set FX_HOLDOUT_START to the first one."
    checkpoints = seed_checkpoints(settings, agent, instrument, key)
    if not checkpoints:
        place = settings.layout.trainings(agent, instrument, key)
        return f"there is no checkpoint in {place}: materialise {agent}_checkpoint first."
    of_that_name = [found for found in checkpoints if found.sha256[:NAME_DIGITS] == named]
    judged = of_that_name[0] if of_that_name else candidate(checkpoints)
    record, sha256 = judged.record, judged.sha256
    if pd.Timestamp(record["window"]["valid_end"]).value > start_ns:
        return (
            f"window {key} reaches into the sealed days, so its checkpoint was chosen on them: materialise "
            "valid_sessions, and train a window that it plans."
        )
    _require_named(named, sha256, key)
    ledger = tracking.ledger()
    opened_until_ns = ledger.sealed_until(instrument, sha256, start_ns)
    if opened_until_ns is None:
        valid = load_span(settings, warehouse, instrument, key, "valid")
        if isinstance(valid, str):
            return valid
        present = rival(settings, instrument, key, sha256)
        # A report without the comparison will do: the gate asks for none.
        compared = [present["sha256"], None] if present else [None]
        faults = find_faults(ledger)
        of_now = [validation_identity(settings, tracking, valid, key, record, beside, faults) for beside in compared]
        _require_promoted(settings, ledger, agent, instrument, key, of_now)
    span = load_span(settings, warehouse, instrument, key, "sealed", opened_until_ns)
    if isinstance(span, str):
        return span
    last_ns, costs = int(span.market.time[-1]), asdict(settings.judged_costs_of(instrument))
    # Neither code nor other settings: a run that was killed before they changed could never be repeated.
    evaluation = hashlib.sha256(json.dumps([sha256, start_ns, last_ns, costs], sort_keys=True).encode()).hexdigest()
    ledger.open_holdout(instrument, sha256, start_ns, last_ns, evaluation)
    made_from = identity(
        report_digest(),
        evaluation=evaluation,
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        mc_runs=settings.mc_runs,
        gate=asdict(settings.gate),
        openings=ledger.holdout_openings(instrument, start_ns),
    )
    folder = settings.layout.report(agent, instrument, key) / "holdout"
    if stands(folder, made_from, *FILES):
        run.log.info(f"{folder} stands: the same checkpoint, data, settings and code made it.")
        return read_report(folder)
    with clear_disk_errors(folder):
        report = validate_span(
            settings,
            warehouse,
            ledger,
            span,
            judged.folder,
            agent,
            {"dagster_run_id": run.run_id},
            run.progress(f"open the sealed days for {key}"),
        )
        write_report(report, folder)
    stamp(folder, made_from, *FILES)
    return report


def _require_named(name: str, sha256: str, key: str) -> None:
    if name != sha256[:NAME_DIGITS]:
        said = f"names {name!r}" if name else "names no checkpoint"
        raise DataError(
            f"the sealed days are opened once for a candidate, and the run config {said}. Window {key} holds "
            f"{sha256[:NAME_DIGITS]}: to open them for it, launch holdout_report alone with the config "
            f'checkpoint: "{sha256[:NAME_DIGITS]}".'
        )


def _require_promoted(
    settings: Terms, ledger: "Ledger", agent: str, instrument: str, key: str, made_from: Sequence[str]
) -> None:
    from fx_pipeline.reuse import stands
    from fx_pipeline.validation.conditions import CONDITIONS
    from fx_pipeline.validation.gate import judge

    folder = settings.layout.report(agent, instrument, key)
    if not any(stands(folder, identity, *FILES) for identity in made_from):
        raise DataError(
            f"{folder} holds no report of this checkpoint with the present trials, settings and code: materialise "
            "validation_report first."
        )
    # What the file says of itself opens nothing.
    report = verified_report(settings, ledger, agent, instrument, key)
    verdict = judge(report["figures"], settings.gate, CONDITIONS)
    if not verdict.promoted:
        raise DataError(
            f"the gate says {verdict.verdict!r} of {folder}, and sealed days are for candidates that passed it: see "
            "what its conditions ask for, and validate again."
        )

"""The sealed days: each candidate is judged on them once, by hand, when everything else has been decided."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import AGENT, report_version, validation_report
from fx_pipeline.defs.partial import skipped
from fx_pipeline.defs.partitions import asked_key, cell, instrument_window
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.lifecycle.champions import rival
from fx_pipeline.lifecycle.checkpoints import candidate, seed_checkpoints
from fx_pipeline.lifecycle.spans import load_span
from fx_pipeline.lifecycle.verified import verified_report
from fx_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger

#: Digits of a checkpoint's hash that name it.
_NAME_DIGITS = 12


class HoldoutConfig(dg.Config):
    """The candidate for which the sealed days are opened: the first 12 digits of its weights' sha256."""

    checkpoint: str = ""


@dg.asset(
    partitions_def=instrument_window,
    deps=[validation_report],
    group_name="models",
    kinds={"plotly", "numba"},
    owners=OWNERS,
    pool="training",
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="1",
)
def holdout_report(
    context: dg.AssetExecutionContext, config: HoldoutConfig, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """How the checkpoint of a window trades the sealed days, which nothing before has seen. Opens them for it, once.

    The opening is in the trial ledger before the first decision is taken, and every report shows how many there were.
    No job, schedule or sensor materialises this: it is launched by hand, with the candidate named in its config, and
    its validation must have passed the gate.
    """
    from fx_pipeline.defs.ledger_state import ledger_faults
    from fx_pipeline.defs.report_metadata import report_metadata
    from fx_pipeline.lifecycle.scores import validate_span, validation_identity
    from fx_pipeline.market.disk import clear_disk_errors
    from fx_pipeline.reuse import identity, report_digest, stamp, stands
    from fx_pipeline.validation.report import read_report, write_report

    settings = load_settings()
    instrument, key = cell(asked_key(context, instrument_window))
    start_ns = settings.sealed_from_ns
    if start_ns is None:
        yield skipped(context, "no day is sealed: set FX_HOLDOUT_START to the first one.")
        return
    checkpoints = seed_checkpoints(settings, AGENT, instrument, key)
    if not checkpoints:
        place = settings.layout.trainings(AGENT, instrument, key)
        yield skipped(context, f"there is no checkpoint in {place}: materialise muzero_checkpoint first.")
        return
    named = [found for found in checkpoints if found.sha256[:_NAME_DIGITS] == config.checkpoint]
    judged = named[0] if named else candidate(checkpoints)
    record, sha256 = judged.record, judged.sha256
    if pd.Timestamp(record["window"]["valid_end"]).value > start_ns:
        yield skipped(
            context,
            f"window {key} reaches into the sealed days, so its checkpoint was chosen on them: materialise "
            "valid_sessions, and train a window that it plans.",
        )
        return
    _require_named(config.checkpoint, sha256, key)
    ledger = tracking.ledger()
    opened_until_ns = ledger.sealed_until(instrument, sha256, start_ns)
    if opened_until_ns is None:
        valid = load_span(settings, warehouse, instrument, key, "valid")
        if isinstance(valid, str):
            yield skipped(context, valid)
            return
        present = rival(settings, instrument, key, sha256)
        # A report without the comparison will do: the gate asks for none.
        compared = [present["sha256"], None] if present else [None]
        faults = ledger_faults(context.instance, validation_report.key, settings, tracking, ledger)
        _require_promoted(
            settings,
            ledger,
            instrument,
            key,
            [validation_identity(settings, tracking, valid, key, record, beside, faults) for beside in compared],
        )
    span = load_span(settings, warehouse, instrument, key, "sealed", opened_until_ns)
    if isinstance(span, str):
        yield skipped(context, span)
        return
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
    folder = settings.layout.report(AGENT, instrument, key) / "holdout"
    files = ("report.json", "report.html")
    if stands(folder, made_from, *files):
        context.log.info(f"{folder} stands: the same checkpoint, data, settings and code made it.")
        report = read_report(folder)
        yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))
        return
    with clear_disk_errors(folder):
        report = validate_span(
            settings,
            warehouse,
            ledger,
            span,
            judged.folder,
            AGENT,
            {"dagster_run_id": context.run.run_id},
            reporter(context, f"open the sealed days for {key}"),
        )
        write_report(report, folder)
    stamp(folder, made_from, *files)
    yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))


def _require_named(name: str, sha256: str, key: str) -> None:
    from fx_pipeline.market.errors import DataError

    if name != sha256[:_NAME_DIGITS]:
        said = f"names {name!r}" if name else "names no checkpoint"
        raise DataError(
            f"the sealed days are opened once for a candidate, and the run config {said}. Window {key} holds "
            f"{sha256[:_NAME_DIGITS]}: to open them for it, launch holdout_report alone with the config "
            f'checkpoint: "{sha256[:_NAME_DIGITS]}".'
        )


def _require_promoted(
    settings: Settings, ledger: "Ledger", instrument: str, key: str, made_from: Sequence[str]
) -> None:
    from fx_pipeline.market.errors import DataError
    from fx_pipeline.reuse import stands
    from fx_pipeline.validation.conditions import CONDITIONS
    from fx_pipeline.validation.gate import judge

    folder = settings.layout.report(AGENT, instrument, key)
    if not any(stands(folder, identity, "report.json", "report.html") for identity in made_from):
        raise DataError(
            f"{folder} holds no report of this checkpoint with the present trials, settings and code: materialise "
            "validation_report first."
        )
    # What the file says of itself opens nothing.
    report = verified_report(settings, ledger, AGENT, instrument, key)
    verdict = judge(report["figures"], settings.gate, CONDITIONS)
    if not verdict.promoted:
        raise DataError(
            f"the gate says {verdict.verdict!r} of {folder}, and sealed days are for candidates that passed it: see "
            "what its conditions ask for, and validate again."
        )

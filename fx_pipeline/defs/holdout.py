"""The sealed days: each candidate is judged on them once, by hand, when everything else has been decided."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg
import pandas as pd

from fx_pipeline.defs.metadata import OWNERS
from fx_pipeline.defs.models import AGENT, load_span, read_checkpoint, validation_report
from fx_pipeline.defs.partitions import cell, instrument_window
from fx_pipeline.defs.progress import reporter
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.settings import load_settings


@dg.asset(
    partitions_def=instrument_window,
    deps=[validation_report],
    group_name="models",
    kinds={"plotly", "numba"},
    owners=OWNERS,
    pool="training",
    output_required=False,
    backfill_policy=dg.BackfillPolicy.multi_run(1),
    code_version="1",
)
def holdout_report(
    context: dg.AssetExecutionContext, warehouse: Warehouse, tracking: Tracking
) -> Iterator[dg.MaterializeResult]:
    """How the checkpoint of a window trades the sealed days, which nothing before has seen. Opens them for it, once.

    The opening is in the trial ledger before the first decision is taken, and every report shows how many there were.
    No job, schedule or sensor materialises this: it is launched by hand.
    """
    from fx_pipeline.defs.reporting import report_metadata, validate_span
    from fx_pipeline.market.files import clear_disk_errors
    from fx_pipeline.reuse import identity, stamp, stands
    from fx_pipeline.validation.report import read_report, write_report

    settings = load_settings()
    instrument, key = cell(context.partition_key)
    checkpoint = settings.layout.checkpoint(AGENT, instrument, key)
    if not (checkpoint / "checkpoint.json").exists():
        context.log.warning(f"skipped: there is no checkpoint in {checkpoint}: materialise muzero_checkpoint first.")
        return
    span = load_span(warehouse, instrument, key, "sealed")
    if isinstance(span, str):
        context.log.warning(f"skipped: {span}")
        return
    record = read_checkpoint(checkpoint)
    if pd.Timestamp(record["window"]["valid_end"]).value > span.window.valid_start:
        context.log.warning(
            f"skipped: window {key} reaches into the sealed days, so its checkpoint was chosen on them: materialise "
            "valid_sessions, and train a window that it plans."
        )
        return
    made_from = identity(
        checkpoint=record["weights_sha256"],
        data=span.market.fingerprint,
        starts=span.starts.tolist(),
        costs=asdict(settings.costs),
        seed=record["seed"],
    )
    folder = settings.layout.report(AGENT, instrument, key) / "holdout"
    files = ("report.json", "report.html")
    ledger = tracking.ledger()
    ledger.open_holdout(instrument, settings.sealed_span, record["weights_sha256"], made_from)
    if stands(folder, made_from, *files):
        context.log.info(f"{folder} stands: the same checkpoint, data and costs made it.")
        yield dg.MaterializeResult(metadata=report_metadata(read_report(folder), folder))
        return
    with clear_disk_errors(folder):
        report = validate_span(
            settings,
            warehouse,
            ledger,
            span,
            checkpoint,
            AGENT,
            {"dagster_run_id": context.run.run_id},
            reporter(context, f"open the sealed days for {key}"),
        )
        write_report(report, folder)
    stamp(folder, made_from, *files)
    yield dg.MaterializeResult(metadata=report_metadata(report, folder))

"""The sealed days: each candidate is judged on them once, by hand, when everything else has been decided."""

from collections.abc import Iterator

import dagster as dg

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import AGENT, report_version, validation_report
from fx_pipeline.defs.partial import skipped
from fx_pipeline.defs.partitions import asked_key, cell, instrument_window
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.defs.run import run_of
from fx_pipeline.settings import load_settings


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
    from fx_pipeline.lifecycle.holdout import open_sealed_days

    settings = load_settings()
    instrument, key = cell(asked_key(context, instrument_window))
    report = open_sealed_days(
        run_of(context),
        settings,
        warehouse,
        tracking,
        AGENT,
        instrument,
        key,
        config.checkpoint,
        lambda ledger: ledger_faults(context.instance, validation_report.key, settings, tracking, ledger),
    )
    if isinstance(report, str):
        yield skipped(context, report)
        return
    folder = settings.layout.report(AGENT, instrument, key) / "holdout"
    yield dg.MaterializeResult(metadata=plain(report_metadata(report, folder)), data_version=report_version(report))

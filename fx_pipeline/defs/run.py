"""What a step of the lifecycle is told of the Dagster run that it belongs to."""

import dagster as dg

from fx_pipeline.defs.progress import reporter
from fx_pipeline.lifecycle.needs import Run


def run_of(context: dg.AssetExecutionContext) -> Run:
    """Return the run of an asset's context: its id, its log, and where it says how far it is."""
    return Run(context.run.run_id, context.log, lambda stage: reporter(context, stage))

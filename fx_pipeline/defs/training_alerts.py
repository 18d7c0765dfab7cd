"""Asset checks that say when a training has gone wrong; what is wrong is found by the alerts of the agent."""

from pathlib import Path

import dagster as dg

from fx_pipeline.agents.alerts import Alert
from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.progress_file import FAILED, read_progress
from fx_pipeline.agents.record import read_history
from fx_pipeline.agents.registry import agent
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.models import AGENT, muzero_checkpoint
from fx_pipeline.defs.partitions import cell, keys_of
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.settings import load_settings


def _check(alert: Alert) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=muzero_checkpoint, name=alert.name, description=alert.title)
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        problems = []
        keys = keys_of(context, muzero_checkpoint)
        for key in keys:
            for folder in sorted(load_settings().layout.trainings(*cell(key)).glob("seed-*")):
                try:
                    # A skipped window has no history: nothing was trained, so nothing went wrong.
                    found = alert.find(read_history(folder)) or (_divergence(folder) if alert.grave else None)
                except FxPipelineError as error:
                    found = str(error)
                problems += [f"{key} {folder.name}: {found}"] if found else []
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.ERROR if alert.grave else dg.AssetCheckSeverity.WARN,
            metadata=plain({"problems": problems, "partitions": keys}),
        )

    return check


def _divergence(folder: Path) -> str | None:
    """A training that stopped for it made no checkpoint; the one that stands is of an earlier training."""
    progress = read_progress(folder)
    diverged = f"{TrainingDivergedError.__name__}: "
    if progress is None or progress["state"] != FAILED or not progress["error"].startswith(diverged):
        return None
    return f"the latest training stopped: {progress['error']} The checkpoint is of the training before."


TRAINING_ALERTS = [_check(alert) for alert in agent(AGENT).alerts]

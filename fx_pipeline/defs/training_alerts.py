"""Asset checks that say when a training has gone wrong; what is wrong is found by the alerts of the agent."""

from pathlib import Path

import dagster as dg

from fx_pipeline.agents.alerts import Alert
from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.progress_file import FAILED, read_progress
from fx_pipeline.agents.record import read_history
from fx_pipeline.agents.registry import agent
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.models import RecipeModels
from fx_pipeline.defs.partitions import cell, keys_of
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.recipe_terms import terms_of


def _check(models: RecipeModels, alert: Alert) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=models.checkpoint, name=alert.name, description=alert.title)
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        problems = []
        keys = keys_of(context, models.checkpoint)
        for key in keys:
            for folder in sorted(terms_of(models.recipe).layout.trainings(*cell(key)).glob("seed-*")):
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


def training_alerts(models: RecipeModels) -> list[dg.AssetChecksDefinition]:
    """Return the checks of what may go wrong with a training of a recipe's agent."""
    return [_check(models, alert) for alert in agent(models.recipe.agent).alerts]

"""What recipes have in the graph: each its own, and once for all the candles and features that they rest on."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from fx_pipeline.defs.automation import promotion_sensor, retraining_schedule, validation_sensor
from fx_pipeline.defs.candle_checks import candle_checks
from fx_pipeline.defs.certification import certification_asset, certification_checks
from fx_pipeline.defs.checks import features_checks, recipe_checks, sessions_checks
from fx_pipeline.defs.features import feature_assets
from fx_pipeline.defs.freshness import freshness_sensor, watch_freshness
from fx_pipeline.defs.holdout import holdout_asset
from fx_pipeline.defs.jobs import certify_job, ingest_job, recipe_jobs
from fx_pipeline.defs.keeping_current import candle_schedule, keep_current, preparation_sensor, prepare_new_candles
from fx_pipeline.defs.live import live_spec
from fx_pipeline.defs.market_data import candle_assets
from fx_pipeline.defs.models import recipe_models
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.timeframe import M1
from fx_pipeline.recipes.loader import COMPONENTS
from fx_pipeline.recipes.names import plain_name
from fx_pipeline.recipes.recipe import Recipe

#: Parts of `dg.Definitions` by name.
Parts = dict[str, list[Any]]


def recipe_assets(recipe: Recipe) -> Parts:
    """Return what a recipe makes of its sessions: checkpoints, reports, champion, live decisions, and what runs them.

    Returns
    -------
    dict of str to list
        `assets`, `asset_checks`, `jobs`, `sensors` and `schedules`.
    """
    models = recipe_models(recipe)
    jobs = recipe_jobs(models)
    return {
        "assets": [models.checkpoint, models.report, holdout_asset(models), models.champion, live_spec(models)],
        "asset_checks": recipe_checks(models),
        "jobs": [jobs.train, jobs.validate, jobs.promote, jobs.live],
        "sensors": [validation_sensor(models), promotion_sensor(models)],
        "schedules": [retraining_schedule(models)] if recipe.retrain == "weekly" else [],
    }


def data_assets(recipes: Iterable[Recipe]) -> Parts:
    """Return the candles, features, sessions and proofs that recipes rest on, each once, and what keeps them current.

    Returns
    -------
    dict of str to list
        As of `recipe_assets`.
    """
    parts: Parts = {name: [] for name in ("assets", "asset_checks", "jobs", "sensors", "schedules")}
    seen: set[Any] = set()

    def new(what: Any) -> bool:
        is_new = what not in seen
        seen.add(what)
        return is_new

    for recipe in recipes:
        timeframe, table = recipe.bars, recipe.sessions_table
        candles, jobs = candle_assets(timeframe), recipe_jobs(recipe_models(recipe))
        features, sessions = feature_assets(recipe.feature_set, timeframe, recipe.rules)
        if new(timeframe):
            parts["assets"] += [candles.raw, candles.lake]
            parts["asset_checks"] += candle_checks(timeframe)
            parts["jobs"].append(ingest_job(timeframe))
            parts["sensors"].append(watch_freshness if timeframe == M1 else freshness_sensor(timeframe))
            is_m1 = timeframe == M1
            parts["schedules"].append(keep_current if is_m1 else candle_schedule(timeframe, ingest_job(timeframe)))
        if new(table.features):
            parts["assets"].append(features)
            parts["asset_checks"] += features_checks(features, table.features)
        if new(table):
            parts["assets"].append(sessions)
            parts["asset_checks"] += sessions_checks(sessions, table)
            parts["jobs"].append(jobs.prepare)
            name = plain_name(recipe.name, "prepare_new_candles")
            parts["sensors"].append(
                prepare_new_candles
                if table.is_default
                else preparation_sensor(name, candles.lake, ingest_job(timeframe), features, jobs.prepare)
            )
        if new(recipe.agent):
            parts["assets"].append(certification_asset(recipe.agent))
            parts["asset_checks"] += certification_checks(recipe.agent)
            parts["jobs"].append(certify_job(recipe.agent))
    return parts


def joined(*parts: Parts) -> Parts:
    """Return the parts of several as those of one."""
    return {name: [one for part in parts for one in part[name]] for name in parts[0]}


def recipe_definitions(recipe: Recipe) -> dg.Definitions:
    """Return the definitions of a recipe alone, as a component has them; none where FX_USE_RECIPES leaves it out."""
    is_used = any(used.name == recipe.name for used in SETTINGS.used_recipes)
    parts: dict[str, Any] = {**recipe_assets(recipe)} if is_used else {}
    return dg.Definitions(**parts)


def component_definitions() -> list[dg.Definitions]:
    """Return what the folder of components defines; nothing, and in no time, where it holds none."""
    if not any(path.name != "__pycache__" for path in COMPONENTS.iterdir() if path.is_dir()):
        return []
    return [dg.load_from_defs_folder(path_within_project=COMPONENTS)]

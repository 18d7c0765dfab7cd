"""Jobs: what can be launched, scheduled and triggered."""

from functools import cache
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from fx_pipeline.defs.certification import certification_asset
from fx_pipeline.defs.features import feature_table, valid_sessions
from fx_pipeline.defs.leaderboard import leaderboard
from fx_pipeline.defs.live import live_job, live_trading
from fx_pipeline.defs.market_data import candle_assets, m1_candles, raw_candles
from fx_pipeline.defs.models import RecipeModels, recipe_models
from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.recipes.names import plain_name

#: A run whose process is killed is started again, so many times; one that fails is not (`run_retries` in dagster.yaml).
#: All of these may be repeated (a training goes on from its last bundle), and a sensor asks for none of them twice. The
#: live job is not one of them: what its orders came to must be looked at first.
AFTER_A_KILL = {"dagster/max_retries": "3"}

ingest = dg.define_asset_job(
    "ingest",
    selection=[raw_candles, m1_candles],
    tags=AFTER_A_KILL,
    description="Download a month of candles and build its M1 parquet.",
)
prepare = dg.define_asset_job(
    "prepare",
    selection=[feature_table, valid_sessions],
    tags=AFTER_A_KILL,
    description="Bring an instrument's features, sessions and walk-forward windows up to date.",
)


@cache
def ingest_job(timeframe: Timeframe) -> UnresolvedAssetJobDefinition:
    """Return the job that downloads candles of a timeframe and builds its parquet; of one the very same one."""
    if timeframe == M1:
        return ingest
    candles = candle_assets(timeframe)
    return dg.define_asset_job(
        f"ingest_{timeframe.slug}",
        selection=[candles.raw, candles.lake],
        tags=AFTER_A_KILL,
        description=f"Download a month of {timeframe} candles and build its parquet.",
    )


class RecipeJobs(NamedTuple):
    """The jobs of a recipe.

    Attributes
    ----------
    prepare, train, validate, promote : UnresolvedAssetJobDefinition
        The first one is that of the default recipe where the sessions are.
    live : JobDefinition
    """

    prepare: UnresolvedAssetJobDefinition
    train: UnresolvedAssetJobDefinition
    validate: UnresolvedAssetJobDefinition
    promote: UnresolvedAssetJobDefinition
    live: dg.JobDefinition


_MADE: dict[str, RecipeJobs] = {}


def recipe_jobs(models: RecipeModels) -> RecipeJobs:
    """Return the jobs of a recipe; of the same recipe the very same ones."""
    recipe, fields = models.recipe.name, models.recipe.model_dump_json()
    if fields not in _MADE:
        sensor = plain_name(recipe, "validate_new_checkpoints")
        sessions = models.recipe.sessions_table
        of_sessions = dg.define_asset_job(
            plain_name(recipe, "prepare"),
            selection=[sessions.features.asset, sessions.asset],
            tags=AFTER_A_KILL,
            description="Bring an instrument's features, sessions and walk-forward windows up to date.",
        )
        train = dg.define_asset_job(
            plain_name(recipe, "train"),
            selection=[models.checkpoint],
            tags=AFTER_A_KILL,
            description=f"Train the agent on a walk-forward window. `{sensor}` validates what it makes.",
        )
        validate = dg.define_asset_job(
            plain_name(recipe, "validate"),
            selection=[models.report, leaderboard],
            tags=AFTER_A_KILL,
            description="Validate the checkpoints of a walk-forward window, and bring the leaderboard up to date.",
        )
        promote = dg.define_asset_job(
            plain_name(recipe, "promote"),
            selection=[models.champion, leaderboard],
            tags=AFTER_A_KILL,
            description=(
                "Register a validated model and make it the champion of its instrument, if its report allows it; "
                "demote the champion before if it failed."
            ),
        )
        is_default = recipe == DEFAULT_RECIPE
        prepared = prepare if sessions.is_default else of_sessions
        _MADE[fields] = RecipeJobs(prepared, train, validate, promote, live_trading if is_default else live_job(models))
    return _MADE[fields]


#: Of the default recipe.
_OF_DEFAULT = recipe_jobs(recipe_models(default_recipe()))
train, validate, promote = _OF_DEFAULT.train, _OF_DEFAULT.validate, _OF_DEFAULT.promote


@cache
def certify_job(agent: str) -> UnresolvedAssetJobDefinition:
    """Return the job that proves an agent; of one the very same one."""
    return dg.define_asset_job(
        "certify" if agent == default_recipe().agent else f"certify_{agent}",
        selection=[certification_asset(agent)],
        tags=AFTER_A_KILL,
        description="Prove on synthetic markets that the agent learns.",
    )


certify = certify_job(default_recipe().agent)

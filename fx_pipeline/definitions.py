"""The whole pipeline on one page.

    raw_candles -> m1_candles -> feature_table -> valid_sessions
        -> muzero_checkpoint -> validation_report -> champion -> live_decisions
                                                  -> holdout_report
                                                  -> leaderboard (and the champion's mark on it)
    agent_certification

This is the default recipe. Each other one has assets of its own from the checkpoint on (`ppo_gbp_jpy_h1/checkpoint`),
and shares candles, features and sessions with those of the same timeframe, feature set and rules (docs/recipes.md).

Assets per month load and clean candles, assets per instrument compute features and sessions, assets per walk-forward
window train and validate. The certification stands beside them: whether the agent learns at all, on markets whose best
policy is known. A schedule keeps the candles current and a sensor prepares what came in; others validate each new
checkpoint, promote what passes the gate and beats the champion, and demote a champion that fails.
"""

import warnings

import dagster as dg

# Multi-dimensional partition mappings and backfill policies are marked beta, and work.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", message="Non-compliant tag keys")

from fx_pipeline.defs import data_checks, leaderboard, upkeep  # noqa: E402
from fx_pipeline.defs.checks import CHECKS  # noqa: E402
from fx_pipeline.defs.recipe_assets import component_definitions, data_assets, joined, recipe_assets  # noqa: E402
from fx_pipeline.defs.resources import build_resources  # noqa: E402
from fx_pipeline.defs.settings import SETTINGS  # noqa: E402

_used = SETTINGS.used_recipes
_parts = joined(
    data_assets(_used),
    # Those that are components come with their folder.
    *(recipe_assets(recipe) for recipe in _used if not SETTINGS.known_recipes.is_component(recipe.name)),
)
_recipes = dg.Definitions(
    assets=[*_parts["assets"], leaderboard.leaderboard],
    asset_checks=[*_parts["asset_checks"], *CHECKS, *data_checks.CHECKS],
    jobs=[*_parts["jobs"], data_checks.check_data, upkeep.catch_up_tracking],
    sensors=[*_parts["sensors"], data_checks.watch_data, upkeep.tend_runs],
    schedules=_parts["schedules"],
    resources=build_resources(SETTINGS),
    executor=dg.in_process_executor,
)
defs = dg.Definitions.merge(_recipes, *component_definitions())

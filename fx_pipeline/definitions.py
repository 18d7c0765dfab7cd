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


def _definitions() -> dg.Definitions:
    used = SETTINGS.used_recipes
    # Those that are components come with their folder.
    own = [recipe for recipe in used if not SETTINGS.known_recipes.is_component(recipe.name)]
    parts = joined(data_assets(used), *map(recipe_assets, own))
    recipes = dg.Definitions(
        assets=[*parts["assets"], leaderboard.leaderboard],
        asset_checks=[*parts["asset_checks"], *CHECKS, *data_checks.CHECKS],
        jobs=[*parts["jobs"], data_checks.check_data, upkeep.catch_up_tracking],
        sensors=[*parts["sensors"], data_checks.watch_data, upkeep.tend_runs],
        schedules=parts["schedules"],
        resources=build_resources(SETTINGS),
        executor=dg.in_process_executor,
    )
    components = component_definitions()
    return dg.Definitions.merge(recipes, *components) if components else recipes


# Dagster takes a module that holds one of them.
defs = _definitions()

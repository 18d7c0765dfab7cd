"""The whole pipeline on one page.

    raw_candles -> m1_candles -> feature_table -> valid_sessions
        -> muzero_checkpoint -> validation_report -> champion -> live_decisions
                                                  -> holdout_report
                                                  -> leaderboard (and the champion's mark on it)
    agent_certification

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

from fx_pipeline.defs import (  # noqa: E402
    automation,
    certification,
    checks,
    data_checks,
    features,
    freshness,
    holdout,
    jobs,
    keeping_current,
    leaderboard,
    live,
    market_data,
    models,
    upkeep,
)
from fx_pipeline.defs.resources import build_resources  # noqa: E402
from fx_pipeline.defs.settings import SETTINGS  # noqa: E402

defs = dg.Definitions(
    assets=[
        market_data.raw_candles,
        market_data.m1_candles,
        features.feature_table,
        features.valid_sessions,
        models.muzero_checkpoint,
        models.validation_report,
        leaderboard.leaderboard,
        holdout.holdout_report,
        models.champion,
        live.live_decisions,
        certification.agent_certification,
    ],
    asset_checks=[*checks.CHECKS, *data_checks.CHECKS, *certification.CHECKS],
    jobs=[*jobs.JOBS, data_checks.check_data, live.live_trading, upkeep.catch_up_tracking],
    sensors=[
        keeping_current.prepare_new_candles,
        freshness.watch_freshness,
        data_checks.watch_data,
        automation.validate_new_checkpoints,
        automation.promote_best,
        upkeep.tend_runs,
    ],
    schedules=[keeping_current.keep_current, automation.weekly_retraining],
    resources=build_resources(SETTINGS),
    executor=dg.in_process_executor,
)

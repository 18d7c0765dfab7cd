"""Jobs: what can be launched, scheduled and triggered."""

import dagster as dg

from fx_pipeline.defs.certification import agent_certification
from fx_pipeline.defs.features import feature_table, valid_sessions
from fx_pipeline.defs.leaderboard import leaderboard
from fx_pipeline.defs.market_data import m1_candles, raw_candles
from fx_pipeline.defs.models import champion, muzero_checkpoint, validation_report

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
train = dg.define_asset_job(
    "train",
    selection=[muzero_checkpoint],
    tags=AFTER_A_KILL,
    description="Train the agent on a walk-forward window. `validate_new_checkpoints` validates what it makes.",
)
validate = dg.define_asset_job(
    "validate",
    selection=[validation_report, leaderboard],
    tags=AFTER_A_KILL,
    description="Validate the checkpoints of a walk-forward window, and bring the leaderboard up to date.",
)
promote = dg.define_asset_job(
    "promote",
    selection=[champion, leaderboard],
    tags=AFTER_A_KILL,
    description=(
        "Register a validated model and make it the champion of its instrument, if its report allows it; demote the "
        "champion before if it failed."
    ),
)
certify = dg.define_asset_job(
    "certify",
    selection=[agent_certification],
    tags=AFTER_A_KILL,
    description="Prove on synthetic markets that the agent learns.",
)

JOBS = [ingest, prepare, train, validate, promote, certify]

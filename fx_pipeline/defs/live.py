"""The live-trading job. In this version a dry run: one decision, no order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import champion
from fx_pipeline.defs.partitions import instruments
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.settings import load_settings

#: The end of the graph: what the live job decided, as observations.
live_decisions = dg.AssetSpec(
    "live_decisions",
    deps=[champion],
    group_name="live",
    kinds={"pytorch"},
    owners=OWNERS,
    partitions_def=instruments,
    description=(
        "Decisions of the live-trading job, observed here with the model version behind each. This version is a dry "
        "run: it takes one decision on the newest bars and sends no order."
    ),
)


class LiveConfig(dg.Config):
    """Whom to trade."""

    instrument: str


@dg.op(out=dg.Out(dagster_type=dict))
def decide_live(context: dg.OpExecutionContext, config: LiveConfig, warehouse: Warehouse, tracking: Tracking) -> dict:
    """Load the champion, take one decision on the newest bars, record it. No order is sent.

    Nothing is decided unless record, registry and weights name one and the same model, and the weights that were loaded
    are those that were judged. Where the champion was demoted the record says HOLD, so that no decision of it is left
    standing.
    """
    from fx_pipeline.defs.champion_state import report_state
    from fx_pipeline.features.table import load_newest
    from fx_pipeline.lifecycle.champions import read_champion, read_demotion
    from fx_pipeline.lifecycle.reconcile import champion_state, require_acknowledged
    from fx_pipeline.lifecycle.verified import load_judged
    from fx_pipeline.live.decision import bars_needed, decide
    from fx_pipeline.live.lock import AccountLockedError, account_lock
    from fx_pipeline.market.atomic import atomic_write_json
    from fx_pipeline.market.errors import ConfigurationError, DataError

    settings = load_settings()
    try:
        with account_lock(settings.layout.live_lock):
            record = read_champion(settings, config.instrument)
            demotion = read_demotion(settings, config.instrument)
            state = champion_state(settings, tracking, config.instrument)
            report_state(context.instance, champion.key, state)
            if state.stops:
                raise dg.Failure(f"{config.instrument}: {state.name}: {state.said}", allow_retries=False)
            if record is not None:
                require_acknowledged(settings.oanda_environment, settings.live_unproven, record, settings.gate)
                policy = load_judged(record["agent"], Path(record["model"]), record["sha256"])
                with warehouse.get_connection(read_only=True) as connection:
                    market = load_newest(connection, config.instrument, bars_needed(policy))
                decided, _ = decide(policy, market, record["sha256"])
                decision = decided.record()
                decision["champion_state"] = state.name
                decision["model_version"] = f"{record['registered_model']} v{record['version']}"
                said = f"{decision['action']} after the bar of {decision['bar']}"
            elif demotion is not None:
                decision = idle(config.instrument, demotion)
                said = decision["reason"]
            else:
                raise dg.Failure(
                    f"{config.instrument} has no champion: promote a validated model first.", allow_retries=False
                )
            decision["run_id"] = context.run.run_id
            if copied := _copied(settings.data_dir):
                context.log.warning(copied)
                decision["data_folder"] = copied
            atomic_write_json(settings.layout.live_decision(config.instrument), decision)
    except (AccountLockedError, DataError, ConfigurationError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"dry run: {said}, no order sent.")
    context.log_event(
        dg.AssetObservation(
            live_decisions.key,
            partition=config.instrument,
            metadata=plain(
                {key: value if not isinstance(value, tuple) else ", ".join(value) for key, value in decision.items()}
            ),
        )
    )
    return decision


def _copied(data_dir: Path) -> str:
    from fx_pipeline.data_folder import identify
    from fx_pipeline.market.errors import DataError

    try:
        return identify(data_dir).said
    except DataError as error:
        # Not to know where the folder came from is no reason to leave a position alone.
        return str(error)


def idle(instrument: str, demotion: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decision of an instrument without a champion: nothing is opened, and nothing is closed by itself."""
    return {
        "instrument": instrument,
        "action": "HOLD",
        "legal": ("HOLD",),
        "orders_sent": 0,
        "reason": f"no champion, the model of window {demotion['window']} was demoted: {demotion['reason']}",
        "model_version": f"{demotion['registered_model']} v{demotion['version']} (demoted)",
    }


@dg.job(
    executor_def=dg.in_process_executor,
    tags={"fx/live": "true", "dagster/priority": "10", "dagster/max_runtime": "600"},
    description="Dry run of live trading: the champion takes one decision on the newest bars. No order is sent.",
)
def live_trading() -> None:
    """Trade an instrument with its champion; in this version a dry run."""
    decide_live()

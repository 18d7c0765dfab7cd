"""The live-trading job. In this version a dry run: one decision, no order."""

from pathlib import Path
from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import OWNERS, plain
from fx_pipeline.defs.models import RecipeModels, recipe_models
from fx_pipeline.defs.resources import Tracking, Warehouse
from fx_pipeline.recipe_terms import terms_of
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.recipes.names import asset_path, plain_name
from fx_pipeline.validation.champion import Demotion


def live_spec(models: RecipeModels) -> dg.AssetSpec:
    """Return the end of a recipe's graph: what its live job decided, as observations."""
    return dg.AssetSpec(
        dg.AssetKey(asset_path(models.recipe.name, "live_decisions")),
        deps=[models.champion],
        group_name="live",
        kinds={"pytorch"},
        owners=OWNERS,
        partitions_def=models.axes.instruments,
        description=(
            "Decisions of the live-trading job, observed here with the model version behind each. This version is a "
            "dry run: it takes one decision on the newest bars and sends no order."
        ),
    )


class LiveConfig(dg.Config):
    """Whom to trade."""

    instrument: str


def take_decision(
    context: dg.OpExecutionContext, instrument: str, warehouse: Warehouse, tracking: Tracking, models: RecipeModels
) -> dict:
    """Load the champion, take one decision on the newest bars, record it. No order is sent."""
    from fx_pipeline.defs.champion_state import report_state
    from fx_pipeline.features.table import load_newest
    from fx_pipeline.lifecycle.champions import read_champion, read_demotion
    from fx_pipeline.lifecycle.reconcile import champion_state, require_acknowledged
    from fx_pipeline.lifecycle.verified import load_judged
    from fx_pipeline.live.decision import bars_needed, decide
    from fx_pipeline.live.lock import AccountLockedError, account_lock
    from fx_pipeline.market.atomic import atomic_write_json
    from fx_pipeline.market.errors import ConfigurationError, DataError

    recipe, terms = models.recipe, terms_of(models.recipe)
    settings, features = terms.settings, recipe.sessions_table.features
    try:
        with account_lock(terms.layout.live_lock):
            record = read_champion(terms, instrument)
            demotion = read_demotion(terms, instrument)
            state = champion_state(terms, tracking, instrument)
            report_state(context.instance, models.champion.key, state)
            if state.stops:
                raise dg.Failure(f"{instrument}: {state.name}: {state.said}", allow_retries=False)
            if record is not None:
                require_acknowledged(settings.oanda_environment, settings.live_unproven, record, settings.gate)
                policy = load_judged(record.agent, record.model, record.weights_sha256)
                with warehouse.get_connection(read_only=True) as connection:
                    market = load_newest(
                        connection, instrument, bars_needed(policy), features.feature_set, features.timeframe
                    )
                decided, _ = decide(policy, market, record.weights_sha256)
                decision = decided.record()
                decision["champion_state"] = state.name
                decision["model_version"] = f"{record.registered_model} v{record.version}"
                said = f"{decision['action']} after the bar of {decision['bar']}"
            elif demotion is not None:
                decision = idle(instrument, demotion)
                said = decision["reason"]
            else:
                raise dg.Failure(f"{instrument} has no champion: promote a validated model first.", allow_retries=False)
            decision["run_id"] = context.run.run_id
            if copied := _copied(settings.data_dir):
                context.log.warning(copied)
                decision["data_folder"] = copied
            atomic_write_json(terms.layout.live_decision(instrument), decision)
    except (AccountLockedError, DataError, ConfigurationError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info(f"dry run: {said}, no order sent.")
    context.log_event(
        dg.AssetObservation(
            live_spec(models).key,
            partition=instrument,
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


def idle(instrument: str, demotion: Demotion) -> dict[str, Any]:
    """Return the decision of an instrument without a champion: nothing is opened, and nothing is closed by itself."""
    return {
        "instrument": instrument,
        "action": "HOLD",
        "legal": ("HOLD",),
        "orders_sent": 0,
        "reason": f"no champion, the model of window {demotion.window} was demoted: {demotion.reason}",
        "model_version": f"{demotion.registered_model} v{demotion.version} (demoted)",
    }


def live_job(models: RecipeModels) -> dg.JobDefinition:
    """Return the live job of a recipe."""
    recipe = models.recipe.name

    @dg.op(
        name=plain_name(recipe, "decide_live"),
        out=dg.Out(dagster_type=dict),
        description=(
            "Load the champion, take one decision on the newest bars, record it. No order is sent.\n\n"
            "Nothing is decided unless record, registry and weights name one and the same model, and the weights that "
            "were loaded are those that were judged. Where the champion was demoted the record says HOLD, so that no "
            "decision of it is left standing."
        ),
    )
    def decide_live(
        context: dg.OpExecutionContext, config: LiveConfig, warehouse: Warehouse, tracking: Tracking
    ) -> dict:
        return take_decision(context, config.instrument, warehouse, tracking, models)

    @dg.job(
        name=plain_name(recipe, "live_trading"),
        executor_def=dg.in_process_executor,
        tags={"fx/live": "true", "dagster/priority": "10", "dagster/max_runtime": "600"},
        description="Dry run of live trading: the champion takes one decision on the newest bars. No order is sent.",
    )
    def live_trading() -> None:
        decide_live()

    return live_trading


#: Of the default recipe.
live_decisions, live_trading = live_spec(recipe_models(default_recipe())), live_job(recipe_models(default_recipe()))

"""What Dagster shows of whether all that names a champion names the same model."""

from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import plain
from fx_pipeline.lifecycle.reconcile import ChampionState

CHECK = "champion_is_what_was_judged"


def state_evaluation(state: ChampionState, asset: dg.AssetKey) -> dg.AssetCheckEvaluation:
    """Return a state as the check on the asset `champion` shows it."""
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=CHECK,
        passed=not state.stops,
        metadata=plain(states_metadata([state])),
    )


def report_state(instance: dg.DagsterInstance, asset: dg.AssetKey, state: ChampionState) -> None:
    """Show in Dagster a state in which nothing may be traded, whatever run came upon it."""
    if state.stops:
        instance.report_runless_asset_event(state_evaluation(state, asset))


def states_metadata(states: "list[ChampionState]") -> dict[str, Any]:
    """Return what the check shows: each instrument's state by name, and what to do."""
    return {f"{state.instrument}: {state.name}": state.said for state in states}

"""Whether the trial ledger is the one that reports, MLflow and Dagster tell of."""

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from fx_pipeline.defs.events import is_skip
from fx_pipeline.defs.partitions import cell
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.recipes.names import asset_path
from fx_pipeline.settings import Settings
from fx_pipeline.tracking.ledger_witness import (
    MOST,
    Witness,
    find_faults,
    report_witnesses,
    run_witnesses,
    witness_of,
)

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger

#: Under which names a materialisation of a report tells of the ledger.
_SHOWN = {
    "checkpoint sha256": "checkpoint_sha256",
    "ledger id": "ledger_id",
    "ledger head": "ledger_head",
    "ledger rows": "ledger_rows",
    "ledger trials": "ledger_trials",
}


def ledger_faults(
    instance: dg.DagsterInstance, report: dg.AssetKey, settings: Settings, tracking: Tracking, ledger: "Ledger"
) -> list[str]:
    """Return what is wrong with the ledger, a sentence each: then nobody knows how many trials there were.

    Parameters
    ----------
    instance : DagsterInstance
    report : AssetKey
        Of the validation reports of the recipe; those of the others in the graph are asked as well.
    settings : Settings
    tracking : Tracking
    ledger : Ledger
    """
    unread = []
    try:
        runs = run_witnesses(settings.layout.mlflow_database)
    except sqlite3.DatabaseError as error:
        runs = []
        unread = [
            f"{settings.layout.mlflow_database}, MLflow's file, cannot be asked which trials there were ({error}): "
            "validate again when it can be read."
        ]
    # One ledger counts the trials of all recipes.
    of_recipes = (dg.AssetKey(asset_path(recipe.name, "validation_report")) for recipe in settings.used_recipes)
    told = [told for asset in dict.fromkeys([report, *of_recipes]) for told in event_witnesses(instance, asset)]
    heard = [*report_witnesses(settings.data_dir), *runs, *told]
    return find_faults(ledger, heard) + unread


def event_witnesses(instance: dg.DagsterInstance, report: dg.AssetKey) -> list[Witness]:
    """Read what the newest materialisations of the reports tell, and what was observed while they were made."""
    made = instance.fetch_materializations(report, limit=MOST).records
    seen = instance.fetch_observations(report, limit=MOST).records
    told = [_told(record, record.asset_materialization) for record in made if not is_skip(record)]
    # An observation may be of a run that was killed before there was a report: it tells of the ledger alone.
    return told + [replace(_told(record, record.asset_observation), instrument="") for record in seen]


def _told(record: dg.EventLogRecord, event: Any) -> Witness:
    told = {name: event.metadata[shown].value for shown, name in _SHOWN.items() if shown in event.metadata}
    instrument, window = cell(record.partition_key or "")
    return witness_of(f"Dagster run {record.run_id}", instrument, window, told)

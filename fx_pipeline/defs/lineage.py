"""Data versions: what an asset's data are, and what they were made of, in a form that Dagster compares.

A data version is a hash of the data themselves. What lies downstream then shows as out of date when, and only when,
what it was made of has changed; a run that finds nothing new changes no version. `docs/lineage.md` says what the marks
in the UI mean.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import M1, Timeframe

if TYPE_CHECKING:
    from fx_pipeline.features.table import Month

#: By upstream asset: its data version, and the storage id of its newest event when it was read.
Inputs = Mapping[dg.AssetKey, tuple[str, int | None]]
#: Metadata of the session index: the data version of the features that it was made of.
MADE_OF = "made of features"
#: Data version of what holds no data.
EMPTY = "empty"


def version(*parts: Any) -> str:
    """Return a data version of JSON-able parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def pages_version(folder: Path) -> str:
    """Return the data version of a month's raw pages: the hashes of the pages, and where they come from."""
    from fx_pipeline.ingest.raw import read_manifest

    try:
        manifest = read_manifest(folder)
    except DataError:
        # Whoever builds the month says what is wrong with it.
        return EMPTY
    if manifest is None or not manifest["pages"]:
        return EMPTY
    return version(manifest["environment"], [page["sha256"] for page in manifest["pages"]])


def features_version(connection: Any, instrument: str, months: str = "feature_months") -> str:
    """Return the data version of an instrument's features: the months of candles that they were computed from.

    `months` is the table that knows them (`FeatureTable.months`).
    """
    query = f"SELECT month, sha256, version FROM {months} WHERE instrument = ? ORDER BY month"
    return version([list(row) for row in connection.execute(query, [instrument]).fetchall()])


def used_months(
    data_dir: Path, instrument: str, sources: Mapping[str, str] | None = None, timeframe: Timeframe = M1
) -> tuple[list["Month"], list["Month"]]:
    """Return the months of the lake that an instrument's features are made of, and those that are left out.

    Synthetic months are left out as soon as there is a real one. `sources` are those of files that were read before
    (`fx_pipeline.features.table.known_sources`); their hash is taken all the same.
    """
    from fx_pipeline.features.table import Month
    from fx_pipeline.ingest.layout import lake_folder, lake_months, lake_path

    lake = lake_folder(data_dir)
    months = [
        Month.of(lake_path(lake, instrument, month, timeframe), sources)
        for month in lake_months(lake, instrument, timeframe)
    ]
    real = [month for month in months if month.source != "synthetic"]
    used = real or months
    return used, [month for month in months if month not in used]


def version_tags(context: dg.AssetExecutionContext, version: str, inputs: Inputs) -> dict[str, str]:
    """Return the tags by which Dagster knows the data version of a materialisation that an asset logs itself."""
    code = context.assets_def.code_versions_by_key[context.asset_key]
    tags = {
        DATA_VERSION_TAG: version,
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
        CODE_VERSION_TAG: code or context.run.run_id,
    }
    for asset, (data_version, storage_id) in inputs.items():
        tags[get_input_data_version_tag(asset)] = data_version
        tags[get_input_event_pointer_tag(asset)] = NULL_EVENT_POINTER if storage_id is None else str(storage_id)
    return tags

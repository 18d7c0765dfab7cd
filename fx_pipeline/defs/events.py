"""Look-ups in Dagster's event log."""

from collections.abc import Sequence

import dagster as dg

_BATCH = 100


def new_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, after: int
) -> Sequence[dg.EventLogRecord]:
    """Materialisations since a storage id, oldest first. (`@asset_sensor` delivers only the newest of several.)"""
    records = dg.AssetRecordsFilter(asset_key=asset.key, after_storage_id=after)
    return instance.fetch_materializations(records, limit=_BATCH, ascending=True).records


def newest_materialization(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str
) -> dg.EventLogRecord | None:
    """The last materialisation of a partition; None when there is none."""
    records = dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[str(partition)])
    return next(iter(instance.fetch_materializations(records, limit=1).records), None)

"""Look-ups in Dagster's event log."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

_BATCH = 100
#: Metadata of a materialisation that says why nothing was made, and its data version (`partial.skipped`).
SKIPPED = "skipped"


def new_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, after: int
) -> Sequence[dg.EventLogRecord]:
    """Materialisations since a storage id, oldest first, without those that say that nothing was made.

    (`@asset_sensor` delivers only the newest of several.)
    """
    while True:
        records = dg.AssetRecordsFilter(asset_key=asset.key, after_storage_id=after)
        found = instance.fetch_materializations(records, limit=_BATCH, ascending=True).records
        made = [record for record in found if not is_skip(record)]
        # A batch of nothing but skips would hide what lies behind it.
        if made or not found:
            return made
        after = found[-1].storage_id


def is_skip(record: dg.EventLogRecord) -> bool:
    """Whether a materialisation says that nothing was made, and why."""
    return record.asset_materialization is not None and SKIPPED in record.asset_materialization.metadata


def newest_materialization(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str
) -> dg.EventLogRecord | None:
    """The last materialisation of a partition; None when there is none."""
    records = dg.AssetRecordsFilter(asset_key=asset_key, asset_partitions=[str(partition)])
    return next(iter(instance.fetch_materializations(records, limit=1).records), None)


def was_skipped(instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition: str) -> str | None:
    """Why nothing was made of a partition the last time; None where something was, or nothing was tried."""
    record = newest_materialization(instance, asset_key, partition)
    if record is None or record.asset_materialization is None:
        return None
    said = record.asset_materialization.metadata.get(SKIPPED)
    return None if said is None else str(said.value)


def skipped_partitions(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> dict[str, str]:
    """The partitions of which nothing was made the last time, and why."""
    versions = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    # One look-up a skip, and not one a partition.
    skips = [partition for partition, tags in versions.items() if tags.get(DATA_VERSION_TAG) == SKIPPED]
    reasons = {partition: was_skipped(instance, asset_key, partition) for partition in skips}
    return {partition: reason for partition, reason in reasons.items() if reason is not None}


def newest_storage_id(instance: dg.DagsterInstance, asset_key: dg.AssetKey) -> int | None:
    """The storage id of an asset's last materialisation, of any partition; None when there is none."""
    record = next(iter(instance.fetch_materializations(asset_key, limit=1).records), None)
    return None if record is None else record.storage_id

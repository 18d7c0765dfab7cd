"""The axes of the pipeline: instrument, month and walk-forward window."""

from functools import cache

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from fx_pipeline.broker.paper.store import instruments as imported_instruments
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.sessions.names import SessionTable

#: Tags by which Dagster says what a run is asked for.
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
#: Configured instruments, and those whose candles were imported into the paper server.
INSTRUMENTS = tuple(dict.fromkeys([*SETTINGS.instruments, *sorted(imported_instruments(SETTINGS.layout.paper_store))]))

instruments = dg.StaticPartitionsDefinition(list(INSTRUMENTS))
months = dg.MonthlyPartitionsDefinition(start_date=SETTINGS.history_start, fmt="%Y-%m", end_offset=1)
#: Named by the first trading day of validation; `valid_sessions` adds the windows that the data allow.
windows = dg.DynamicPartitionsDefinition(name="walk_forward_window")


@cache
def windows_of(sessions: SessionTable) -> dg.DynamicPartitionsDefinition:
    """Return the windows that an asset of sessions plans."""
    return windows if sessions.is_default else dg.DynamicPartitionsDefinition(name=sessions.windows)


instrument_month = dg.MultiPartitionsDefinition({"instrument": instruments, "month": months})
instrument_window = dg.MultiPartitionsDefinition({"instrument": instruments, "window": windows})

_Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

to_instrument = dg.MultiToSingleDimensionPartitionMapping("instrument")


def key(instrument: str, other: str) -> dg.MultiPartitionKey:
    """Return the partition key of an instrument and a month or window."""
    # Dagster orders dimensions by name: "instrument" comes before both "month" and "window".
    other_name = "month" if len(other) == len("YYYY-MM") else "window"
    return dg.MultiPartitionKey({"instrument": instrument, other_name: other})


def asked_keys(context: _Context, partitions: dg.PartitionsDefinition) -> list[str]:
    """Return the partitions that a run was asked for, whichever way it was launched; none if it names none.

    A job's backfill leaves the tags of its first cell beside those of the range, and `context.partition_keys` then
    sees that cell alone. The range is what was asked for.
    """
    tags = context.run.tags
    if tags.get(RANGE_START) and tags.get(RANGE_END):
        ends = dg.PartitionKeyRange(tags[RANGE_START], tags[RANGE_END])
        with partition_loading_context(dynamic_partitions_store=context.instance):
            return [str(key) for key in partitions.get_partition_keys_in_range(ends)]
    if PARTITION in tags:
        return [tags[PARTITION]]
    # Dagster orders the dimensions of a key by name.
    dimensions = sorted(tag for tag in tags if tag.startswith(f"{PARTITION}/"))
    return ["|".join(tags[dimension] for dimension in dimensions)] if dimensions else []


def asked_key(context: dg.AssetExecutionContext, partitions: dg.PartitionsDefinition) -> str:
    """Return the partition of a run that makes one.

    Raises
    ------
    Failure
        If the run asks for several, for none, or if Dagster would record another one than it asks for.
    """
    keys, name = asked_keys(context, partitions), context.asset_key.to_user_string()
    if not keys:
        raise dg.Failure(
            f"{name} is made partition by partition, and this run names none, or a range that holds none.",
            allow_retries=False,
        )
    if len(keys) > 1:
        raise dg.Failure(
            f"this run asks for {len(keys)} partitions of {name} at once ({keys[0]} to {keys[-1]}), and a run makes "
            "one: launch them as a backfill, which starts a run for each.",
            allow_retries=False,
        )
    recorded = [str(key) for key in context.partition_keys]
    if recorded != keys:
        raise dg.Failure(
            f"the tags of this run ask for {keys[0]} of {name} and name {', '.join(recorded)} as well: launch it "
            "again, with one of them.",
            allow_retries=False,
        )
    return keys[0]


def keys_of(context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition) -> list[str]:
    """Return the partitions of a check's run; one launched by hand without any looks at all that ever materialised."""
    asked = asked_keys(context, asset.partitions_def) if asset.partitions_def else []
    return asked or sorted(context.instance.get_materialized_partitions(asset.key))


def cell(partition_key: str) -> tuple[str, str]:
    """Split a key into (instrument, month or window); keys from a command line are plain strings."""
    instrument, _, other = str(partition_key).partition("|")
    return instrument, other

"""The axes of the pipeline: instrument, month and walk-forward window."""

import dagster as dg

from fx_pipeline.broker.paper.store import instruments as imported_instruments
from fx_pipeline.defs.settings import SETTINGS

#: Configured instruments, and those whose candles were imported into the paper server.
INSTRUMENTS = tuple(dict.fromkeys([*SETTINGS.instruments, *sorted(imported_instruments(SETTINGS.layout.paper_store))]))

instruments = dg.StaticPartitionsDefinition(list(INSTRUMENTS))
months = dg.MonthlyPartitionsDefinition(start_date=SETTINGS.history_start, fmt="%Y-%m", end_offset=1)
#: Named by the first trading day of validation; `valid_sessions` adds the windows that the data allow.
windows = dg.DynamicPartitionsDefinition(name="walk_forward_window")
instrument_month = dg.MultiPartitionsDefinition({"instrument": instruments, "month": months})
instrument_window = dg.MultiPartitionsDefinition({"instrument": instruments, "window": windows})

to_instrument = dg.MultiToSingleDimensionPartitionMapping("instrument")


def key(instrument: str, other: str) -> dg.MultiPartitionKey:
    """Return the partition key of an instrument and a month or window."""
    # Dagster orders dimensions by name: "instrument" comes before both "month" and "window".
    other_name = "month" if len(other) == len("YYYY-MM") else "window"
    return dg.MultiPartitionKey({"instrument": instrument, other_name: other})


def keys_of(context: dg.AssetCheckExecutionContext, asset: dg.AssetsDefinition) -> list[str]:
    """Return the partitions of a check's run; one launched by hand without any looks at all that ever materialised."""
    if context.has_partition_key or context.has_partition_key_range:
        return [str(key) for key in context.partition_keys]
    return sorted(context.instance.get_materialized_partitions(asset.key))


def cell(partition_key: str) -> tuple[str, str]:
    """Split a key into (instrument, month or window); keys from a command line are plain strings."""
    instrument, _, other = str(partition_key).partition("|")
    return instrument, other

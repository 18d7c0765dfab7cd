"""What keeps instruments current: new candles by schedule, features and sessions of what came in."""

import json
from collections.abc import Iterable

import dagster as dg
import pandas as pd

from fx_pipeline.defs.automation import new_materializations
from fx_pipeline.defs.features import feature_table
from fx_pipeline.defs.jobs import ingest, prepare
from fx_pipeline.defs.market_data import m1_candles
from fx_pipeline.defs.partitions import INSTRUMENTS, cell, key
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.settings import load_settings

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: A last bar may be completed late; after that, nothing comes until the market opens again.
_LATE_NS = 10 * MINUTE_NS
#: A run that hangs would hold up all others that download.
_MAX_RUNTIME_S = 3_600
_PARTITION, _RANGE_START, _RANGE_END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


@dg.schedule(
    job=ingest,
    cron_schedule=SETTINGS.ingest_cron,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Asks for the new candles of every configured instrument, in a run for each month of each, so that one that "
        "fails stops no other. It asks for nothing while the market is closed, nor of the embedded paper server, which "
        "gets no new candles. FX_INGEST_CRON says when."
    ),
)
def keep_current(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for the new candles of every configured instrument, in a run for each month of each."""
    from fx_pipeline.ingest.pending import pending_months

    settings = load_settings()
    if not settings.has_moving_source:
        return dg.SkipReason(
            "the embedded paper server has history only, nothing new can come: set FX_OANDA_ENVIRONMENT=practice (or "
            "live), or FX_PAPER_URL for a paper server that runs. Imported candles are brought in with `ingest`."
        )
    tick = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
    now_ns = tick.as_unit("ns").value
    closed_ns = settings.calendar.last_expected(now_ns) + MINUTE_NS
    busy = _busy_partitions(context.instance)
    requests: list[dg.RunRequest] = []
    for instrument in settings.instruments:
        months = pending_months(settings.data_dir, instrument, settings.oanda_environment, now_ns)
        for month in months:
            partition = key(instrument, month)
            if month < settings.history_start:
                continue
            if month == months[-1] and _ingested_at(context.instance, partition) >= closed_ns + _LATE_NS:
                context.log.info(f"{instrument} {month}: nothing new since the market closed.")
            elif str(partition) in busy:
                context.log.info(f"{instrument} {month}: its last run is not over yet.")
            else:
                requests.append(
                    dg.RunRequest(
                        run_key=f"{tick.isoformat()}|{partition}",
                        partition_key=partition,
                        tags={"dagster/max_runtime": str(_MAX_RUNTIME_S)},
                    )
                )
    return requests or dg.SkipReason("nothing new can have come: the market is closed, or all runs are under way.")


@dg.sensor(
    job=prepare,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Brings features, sessions and windows of an instrument up to date once the runs that bring in its candles are "
        "over, if they brought any."
    ),
)
def prepare_new_candles(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Prepare an instrument once the runs that bring in its candles are over, if they brought any."""
    cursor = json.loads(context.cursor or '{"after": 0, "waiting": {}}')
    waiting: dict[str, int] = cursor["waiting"]
    records = new_materializations(context.instance, m1_candles, cursor["after"])
    for record in records:
        cursor["after"] = record.storage_id
        written = record.asset_materialization and record.asset_materialization.metadata.get("file written")
        if written is not None and written.value:
            waiting[cell(record.partition_key or "")[0]] = record.storage_id
    busy = {cell(partition)[0] for partition in _busy_partitions(context.instance)}
    requests: list[dg.RunRequest] = []
    for instrument, storage_id in sorted(waiting.items()):
        if instrument in busy:
            continue
        del waiting[instrument]
        # An instrument that was taken out of the settings has no partition any more.
        if instrument in INSTRUMENTS and _newest_id(context.instance, feature_table, instrument) < storage_id:
            requests.append(dg.RunRequest(run_key=f"prepare|{instrument}|{storage_id}", partition_key=instrument))
    said = json.dumps(cursor)
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=said)
    reason = f"{', '.join(sorted(waiting))}: candles are still coming in." if waiting else "no new candles."
    return dg.SensorResult(skip_reason=reason, cursor=said)


def _busy_partitions(instance: dg.DagsterInstance) -> set[str]:
    """Partitions of candles that queued or started runs will bring in; of a range of them, its two ends."""
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if run.job_name == ingest.name or m1_candles.key in (run.asset_selection or ()):
            busy |= {run.tags[name] for name in (_PARTITION, _RANGE_START, _RANGE_END) if name in run.tags}
    return busy


def _ingested_at(instance: dg.DagsterInstance, partition: str) -> int:
    """When a month was last built, UTC nanoseconds; 0 if never."""
    records = _newest(instance, m1_candles, partition)
    return max((int(record.timestamp * 1e9) for record in records), default=0)


def _newest_id(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str) -> int:
    return max((record.storage_id for record in _newest(instance, asset, partition)), default=0)


def _newest(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str) -> Iterable[dg.EventLogRecord]:
    records = dg.AssetRecordsFilter(asset_key=asset.key, asset_partitions=[str(partition)])
    return instance.fetch_materializations(records, limit=1).records

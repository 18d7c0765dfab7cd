"""What keeps instruments current: new candles by schedule, features and sessions of what came in."""

import contextlib
from typing import Any

import dagster as dg
import pandas as pd
from dagster._check import CheckError
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from fx_pipeline.defs.events import newest_materialization
from fx_pipeline.defs.features import feature_table
from fx_pipeline.defs.freshness import schedule_name
from fx_pipeline.defs.jobs import ingest, prepare
from fx_pipeline.defs.market_data import lake_key, m1_candles
from fx_pipeline.defs.market_time import market_ns
from fx_pipeline.defs.partitions import INSTRUMENTS, cell, instrument_month, instruments, key
from fx_pipeline.defs.partitions import months as offered_months
from fx_pipeline.defs.requests import Tick, exists, since
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.alignment import bar_end, last_expected_bar
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.settings import Settings, load_settings

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: A last bar may be completed late; after that, nothing comes until the market opens again.
_LATE_NS = 10 * MINUTE_NS
#: Months of an instrument that a tick asks for: after a long pause the rest comes with the next ones.
_MONTHS_A_TICK = 24
#: A run that hangs would hold up all others that download.
_MAX_RUNTIME_S = 3_600
_RELOAD = "restart make ui."
_PARTITION, _RANGE_START, _RANGE_END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


_Job = dg.JobDefinition | UnresolvedAssetJobDefinition


def candle_schedule(timeframe: Timeframe, job: _Job) -> dg.ScheduleDefinition:
    """Return the schedule that asks for the new candles of a timeframe, by a job that downloads and builds them."""

    @dg.schedule(
        name=schedule_name(timeframe),
        job=job,
        cron_schedule=SETTINGS.ingest_cron,
        execution_timezone="UTC",
        # Other timeframes are for recipes that nobody may have asked for.
        default_status=dg.DefaultScheduleStatus.RUNNING if timeframe == M1 else dg.DefaultScheduleStatus.STOPPED,
        description=(
            "Asks for the new candles of every configured instrument, in a run for each month of each, so that one "
            "that fails stops no other. It asks for nothing while the market is closed, nor of the embedded paper "
            "server, which gets no new candles. FX_INGEST_CRON says when. Of a paper server at FX_PAPER_URL, which may "
            "replay the past, it asks for the months up to that server's time."
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return _new_candles(context, timeframe, job.name)

    return schedule


def _new_candles(
    context: dg.ScheduleEvaluationContext, timeframe: Timeframe, job_name: str
) -> list[dg.RunRequest] | dg.SkipReason:
    from fx_pipeline.ingest.pending import pending_months

    tick, settings = Tick(context), load_settings()
    if not settings.has_moving_source:
        return dg.SkipReason(
            "the embedded paper server has history only, nothing new can come: set FX_OANDA_ENVIRONMENT=practice (or "
            "live), or FX_PAPER_URL for a paper server that runs. Imported candles are brought in with `ingest`."
        )
    due = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
    now_ns = market_ns(settings, due.as_unit("ns").value)
    busy = _busy_partitions(context.instance, lake_key(timeframe), job_name)
    offered = set(offered_months.get_partition_keys())
    unknown = [instrument for instrument in settings.instruments if instrument not in INSTRUMENTS]
    if unknown:
        tick.say(f"Left out: {', '.join(unknown)}: {_RELOAD}")
    for instrument in settings.instruments:
        if instrument in unknown:
            continue
        with tick.contained(instrument):
            months = pending_months(settings.data_dir, instrument, settings.oanda_environment, now_ns, timeframe)
            months = [month for month in months if month >= settings.history_start]
            if strange := [month for month in months if month not in offered]:
                tick.say(f"{instrument} {', '.join(strange)}: months that the pipeline does not have: {_RELOAD}")
            months = [month for month in months if month in offered]
            closed_ns = bar_end(last_expected_bar(settings.calendar_of(instrument), now_ns, timeframe), timeframe)
            if len(months) > _MONTHS_A_TICK:
                context.log.warning(
                    f"{instrument}: {len(months)} months are to be asked for; this tick takes the oldest "
                    f"{_MONTHS_A_TICK - 1} and the newest, the next ones the rest."
                )
                months = [*months[: _MONTHS_A_TICK - 1], months[-1]]
            for month in months:
                partition = key(instrument, month)
                if month == months[-1] and _has_all(
                    context.instance, settings, instrument, partition, closed_ns, timeframe
                ):
                    context.log.info(f"{instrument} {month}: nothing new since the market closed.")
                elif str(partition) in busy:
                    context.log.info(f"{instrument} {month}: its last run is not over yet.")
                else:
                    request = dg.RunRequest(
                        run_key=f"{due.isoformat()}|{partition}",
                        partition_key=partition,
                        tags={"dagster/max_runtime": str(_MAX_RUNTIME_S)},
                    )
                    tick.ask(instrument_month, request)
    if tick.requests:
        return tick.requests
    idle = "nothing new can have come: the market is closed, or all runs are under way."
    return dg.SkipReason(" ".join([idle, *tick.said]))


keep_current = candle_schedule(M1, ingest)


def preparation_sensor(
    name: str, candles: dg.AssetsDefinition, ingest_job: _Job, features: dg.AssetsDefinition, prepare_job: _Job
) -> dg.SensorDefinition:
    """Return the sensor that prepares an instrument once the runs that bring in its candles are over.

    Parameters
    ----------
    name : str
    candles : AssetsDefinition
    ingest_job : job
        That brings candles in.
    features : AssetsDefinition
        That are made of them.
    prepare_job : job
        That makes them.
    """
    is_default = prepare_job is prepare

    @dg.sensor(
        name=name,
        job=prepare_job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING if is_default else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Brings features, sessions and windows of an instrument up to date once the runs that bring in its candles "
            "are over, if they brought any."
        ),
    )
    def prepare_new(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = Tick(context)
        cursor = tick.cursor(context.cursor, {"after": 0, "waiting": {}, "asked": {}})
        waiting: dict[str, int] = cursor["waiting"]
        asked: dict[str, dict[str, Any]] = cursor["asked"]
        for record in since(tick, candles, cursor["after"]):
            cursor["after"] = record.storage_id
            written = record.asset_materialization and record.asset_materialization.metadata.get("file written")
            if written is not None and written.value:
                waiting[cell(record.partition_key or "")[0]] = record.storage_id
        busy = {cell(partition)[0] for partition in _busy_partitions(context.instance, candles.key, ingest_job.name)}
        for instrument, storage_id in sorted(waiting.items()):
            if instrument in busy:
                continue
            del waiting[instrument]
            if not exists(tick.instance, instruments, instrument):
                tick.say(f"{instrument or 'candles without a partition'}: not configured, so left out.")
            elif _newest_id(context.instance, features, instrument) < storage_id:
                asked[instrument] = {"id": storage_id, "count": 0}
        for instrument, done in sorted(asked.items()):
            with tick.contained(instrument):
                request = dg.RunRequest(
                    run_key=f"{prepare_job.name}|{instrument}|{done['id']}",
                    job_name=prepare_job.name,
                    partition_key=instrument,
                )
                if tick.ask_until_done(instruments, request, done, instrument):
                    del asked[instrument]
        if waiting:
            tick.say(f"{', '.join(sorted(waiting))}: candles are still coming in.")
        return tick.result(cursor, "no new candles.")

    return prepare_new


prepare_new_candles = preparation_sensor("prepare_new_candles", m1_candles, ingest, feature_table, prepare)


def _busy_partitions(instance: dg.DagsterInstance, candles: dg.AssetKey, job_name: str) -> set[str]:
    """Partitions of candles that queued or started runs will bring in."""
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if run.job_name == job_name or candles in (run.asset_selection or ()):
            busy |= {run.tags[name] for name in (_PARTITION, _RANGE_START, _RANGE_END) if name in run.tags}
            if _RANGE_START in run.tags and _RANGE_END in run.tags:
                ends = dg.PartitionKeyRange(run.tags[_RANGE_START], run.tags[_RANGE_END])
                # An end that was taken out of the settings is no partition any more.
                with contextlib.suppress(dg.DagsterError, CheckError):
                    busy |= {str(partition) for partition in instrument_month.get_partition_keys_in_range(ends)}
    return busy


def _has_all(
    instance: dg.DagsterInstance,
    settings: Settings,
    instrument: str,
    partition: str,
    closed_ns: int,
    timeframe: Timeframe,
) -> bool:
    # Whether nothing can have come since the month was last built.
    if settings.broker_has_the_clock:
        # When Dagster built it says nothing in the broker's time; what it has does.
        from fx_pipeline.ingest.layout import lake_folder
        from fx_pipeline.ingest.overview import newest_bar

        # A file that cannot be read is built again by the run.
        with contextlib.suppress(DataError):
            newest = newest_bar(lake_folder(settings.data_dir), instrument, timeframe)
            return newest is not None and bar_end(newest, timeframe) >= closed_ns
        return False
    newest_record = newest_materialization(instance, lake_key(timeframe), partition)
    return newest_record is not None and int(newest_record.timestamp * 1e9) >= closed_ns + _LATE_NS


def _newest_id(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str) -> int:
    record = newest_materialization(instance, asset.key, partition)
    return 0 if record is None else record.storage_id

"""Whether candles are current, as the FX calendar sees it: weekends, breaks and holidays do not make them old."""

import datetime as dt
from functools import cache
from typing import Any

import dagster as dg
import numpy as np
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from fx_pipeline.defs.market_time import machine_ns, market_ns
from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.requests import Tick
from fx_pipeline.defs.settings import SETTINGS
from fx_pipeline.market.errors import BrokerError, ConfigurationError, DataError
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.settings import Settings, load_settings

#: Within every trading day. What closes it, an hour past 17:00, counts for the next: so a holiday is no failure.
_DEADLINE, _SINCE = "0 17 * * 1-5", dt.timedelta(hours=24)
#: Longer than the calendar can be closed: what is older than this, and than thrice what is allowed, is old.
_COUNTED_MINUTES = 35 * 1_440


def freshness_policy(settings: Settings) -> dg.FreshnessPolicy | None:
    """Return when an asset counts as fresh; none where the source never gets new candles, or lives in another time."""
    if not settings.has_moving_source or settings.broker_has_the_clock:
        return None
    return dg.FreshnessPolicy.cron(deadline_cron=_DEADLINE, lower_bound_delta=_SINCE, timezone="America/New_York")


def schedule_name(timeframe: Timeframe) -> str:
    """Name of the schedule that keeps candles of a timeframe current."""
    return "keep_current" if timeframe == M1 else f"keep_current_{timeframe.slug}"


def _candles(timeframe: Timeframe) -> dg.AssetKey:
    return dg.AssetKey(f"{timeframe.slug}_candles")


def check_name(instrument: str) -> str:
    """Name of the freshness check of an instrument."""
    return f"{instrument}_is_current"


def currency_of(
    settings: Settings, instrument: str, now_ns: int | str, timeframe: Timeframe = M1
) -> dg.AssetCheckResult:
    """Judge an instrument: how many expected minutes lie between the end of its newest bar and now.

    Parameters
    ----------
    now_ns : int or str
        The market's time, UTC nanoseconds, or why it is not known.
    timeframe : Timeframe
        Of the bars. One that is longer than a minute is allowed to run besides.
    """
    from fx_pipeline.ingest.layout import lake_folder
    from fx_pipeline.ingest.overview import newest_bar
    from fx_pipeline.market.alignment import bar_end
    from fx_pipeline.market.calendar import MINUTE_NS

    try:
        newest = newest_bar(lake_folder(settings.data_dir), instrument, timeframe)
    except DataError as error:
        # One instrument's broken file is no reason to say nothing of the others.
        return _judged(timeframe, instrument, False, {"note": str(error)})
    metadata: dict[str, Any] = {"newest bar": "none" if newest is None else f"{_minute(newest)}Z"}
    passed = True
    if newest is None:
        # Whatever the source: what is not there is not current.
        passed = False
        remedy = f"the schedule {schedule_name(timeframe)} brings this month and the last."
        metadata["note"] = (
            f"there are no candles yet: {remedy if settings.has_moving_source else 'ingest some months.'}"
        )
    elif not settings.has_moving_source:
        metadata["note"] = "the embedded paper server has history only: nothing newer can come."
    elif isinstance(now_ns, str):
        passed, metadata["note"] = False, now_ns
    else:
        # A minute that runs is not counted, so that M1 needs no more.
        allowed = settings.stale_minutes + (0 if timeframe == M1 else timeframe.minutes)
        counted_ns = newest + max(_COUNTED_MINUTES, 3 * allowed) * MINUTE_NS
        ended_ns = bar_end(newest, timeframe)
        behind = len(settings.calendar_of(instrument).expected_minutes(ended_ns, min(now_ns, counted_ns)))
        metadata |= {"expected minutes since": behind, "allowed": allowed}
        passed = behind <= allowed and now_ns <= counted_ns
        if now_ns > counted_ns:
            metadata["note"] = f"minutes after {_minute(counted_ns)}Z are not counted any more."
    return _judged(timeframe, instrument, passed, metadata)


def _judged(timeframe: Timeframe, instrument: str, passed: bool, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check_name(instrument),
        asset_key=_candles(timeframe),
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=plain(metadata),
    )


@cache
def currency_check(timeframe: Timeframe) -> dg.AssetChecksDefinition:
    """Return the check whether the newest bar of each configured instrument is not too old."""

    @dg.multi_asset_check(
        name="candles_are_current" if timeframe == M1 else f"{timeframe.slug}_candles_are_current",
        specs=[
            dg.AssetCheckSpec(
                check_name(name),
                asset=_candles(timeframe),
                description=f"The newest bar of {name} is not older than the FX calendar explains. A warning.",
            )
            for name in SETTINGS.instruments
        ],
        description="Whether the newest bar of each configured instrument is not older than the FX calendar explains.",
        can_subset=True,
    )
    def candles_are_current(context: dg.AssetCheckExecutionContext) -> Any:
        settings = load_settings()
        now_ns = _market_time(settings)
        wanted = {check.name for check in context.selected_asset_check_keys}
        for name in SETTINGS.instruments:
            if check_name(name) in wanted:
                yield currency_of(settings, name, now_ns, timeframe)

    return candles_are_current


@cache
def freshness_sensor(timeframe: Timeframe) -> dg.SensorDefinition:
    """Return the sensor that reports the freshness checks of a timeframe whenever their outcome changes."""

    @dg.sensor(
        name="watch_freshness" if timeframe == M1 else f"watch_freshness_{timeframe.slug}",
        minimum_interval_seconds=300,
        # Other timeframes are for recipes that nobody may have asked for.
        default_status=dg.DefaultSensorStatus.RUNNING if timeframe == M1 else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Tells whether candles are current even when nothing runs: a check that only ran with the ingestion would "
            "stay green when that stops."
        ),
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return _watched(context, timeframe)

    return watch


def _watched(context: dg.SensorEvaluationContext, timeframe: Timeframe) -> dg.SensorResult | dg.SkipReason:
    settings = load_settings()
    if not settings.has_moving_source:
        return dg.SkipReason("the embedded paper server has history only: nothing newer can come.")
    # The checks are those of the instruments that the settings had when the pipeline was loaded.
    names = [name for name in settings.instruments if name in SETTINGS.instruments]
    unknown = [name for name in settings.instruments if name not in names]
    now_ns = _market_time(settings)
    tick, judged = Tick(context), {}
    for name in names:
        with tick.contained(name):
            judged[name] = currency_of(settings, name, now_ns, timeframe)
    results = list(judged.values())
    known = set((context.cursor or "").split(","))
    state = {f"{result.check_name}={result.passed}": result for result in results}
    # The UI shows the outcome of a check for the newest materialisation: without one named, it would show none.
    newest = context.instance.fetch_materializations(_candles(timeframe), limit=1).records
    target = (
        AssetCheckEvaluationTargetMaterializationData(
            storage_id=newest[0].storage_id, run_id=newest[0].run_id, timestamp=newest[0].timestamp
        )
        if newest
        else None
    )
    events = [
        dg.AssetCheckEvaluation(
            asset_key=_candles(timeframe),
            check_name=result.check_name or "",
            passed=result.passed,
            severity=result.severity,
            metadata=plain(result.metadata or {}),
            target_materialization_data=target,
        )
        for name, result in state.items()
        if name not in known
    ]
    old = [name for name in names if name not in judged or not judged[name].passed]
    said = f"not current: {', '.join(old)}." if old else "all instruments are current."
    if unknown:
        said += f" Not watched: {', '.join(unknown)}, not known when the pipeline was loaded: restart make ui."
        context.log.warning(said)
    return dg.SensorResult(asset_events=events, cursor=",".join(state), skip_reason=" ".join([said, *tick.said]))


def _market_time(settings: Settings) -> int | str:
    try:
        return market_ns(settings, machine_ns())
    except (BrokerError, ConfigurationError) as error:
        return f"the market's time is not known: {error}"


def _minute(time_ns: int) -> str:
    return str(np.datetime64(time_ns, "ns").astype("datetime64[m]"))


watch_freshness = freshness_sensor(M1)

"""What runs by itself: validation of new checkpoints, promotion, weekly retraining."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fx_pipeline.defs.jobs import promote, train, validate
from fx_pipeline.defs.live import live_trading
from fx_pipeline.defs.models import AGENT, champion, muzero_checkpoint, validation_report
from fx_pipeline.defs.partitions import INSTRUMENTS, cell, instrument_window, instruments, key
from fx_pipeline.defs.requests import Tick, is_queued, since
from fx_pipeline.lifecycle.champions import unfinished_demotion
from fx_pipeline.lifecycle.promotion import decide
from fx_pipeline.settings import Settings, load_settings

#: Of the requests of a tick.
_ORDER = (promote.name, live_trading.name, validate.name)


@dg.sensor(
    job=validate,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Validates a window, with all its seeds, after it was trained: once, however often that was since the last "
        "look. A validation that fails is asked for again, up to five times. Windows that were removed are left out."
    ),
)
def validate_new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Validate a window after it was trained."""
    tick = Tick(context)
    # Before there were attempts, the cursor was a number alone.
    text = f'{{"after": {context.cursor}}}' if (context.cursor or "").isdigit() else context.cursor
    cursor = tick.cursor(text, {"after": 0, "waiting": {}})
    waiting: dict[str, dict[str, Any]] = cursor["waiting"]
    for record in since(tick, muzero_checkpoint, cursor["after"]):
        cursor["after"] = record.storage_id
        partition = record.partition_key
        if partition is None:
            tick.say(f"a checkpoint without a partition (event {record.storage_id}): left out.")
            continue
        before = waiting.get(partition)
        if before is None or not is_queued(tick.instance, f"validate|{before['id']}", before["count"]):
            waiting[partition] = {"id": record.storage_id, "count": 0}
    for partition, asked in list(waiting.items()):
        if tick.late:
            break
        with tick.contained(partition):
            request = dg.RunRequest(run_key=f"validate|{asked['id']}", job_name=validate.name, partition_key=partition)
            if tick.ask_until_done(instrument_window, request, asked, partition):
                del waiting[partition]
    return tick.result(cursor, "no new checkpoint.")


@dg.sensor(
    jobs=[promote, live_trading, validate],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Promotes a model whose report passed the gate and that is better than the champion on the same sessions, "
        "demotes a champion that fails on newer windows, and tells the live job (a dry run here). A report that does "
        "not pass is skipped, and the tick says why; one that passed before there was this champion is made again, "
        "beside it. A promotion that fails is asked for again, up to five times; a record that cannot be read is named "
        "until it can, and holds up no other."
    ),
)
def promote_best(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Promote what passed the gate and beats the champion, demote a champion that fails, and tell the live job.

    The decisions themselves are in `fx_pipeline.validation.promotion`; the champion asset repeats them on what is then
    there. A report waits in the cursor until what it led to was done.
    """
    tick, settings = Tick(context), load_settings()
    cursor = tick.cursor(context.cursor, {"reports": 0, "champions": 0, "waiting": {}, "demotions": {}})
    waiting: dict[str, dict[str, Any]] = cursor["waiting"]
    for record in since(tick, validation_report, cursor["reports"]):
        cursor["reports"] = record.storage_id
        if record.partition_key is None:
            tick.say(f"a report without a partition (event {record.storage_id}): left out.")
            continue
        waiting[record.partition_key] = {"id": record.storage_id, "count": 0}
    for record in since(tick, champion, cursor["champions"]):
        cursor["champions"] = record.storage_id
        instrument = record.partition_key
        if instrument is None or instrument not in INSTRUMENTS:
            tick.say(f"{instrument}: a champion of an instrument that is not configured: left out.")
            continue
        tick.say(f"{instrument}: the live job is told who its champion is.")
        tick.requests.append(
            dg.RunRequest(
                run_key=f"live|{record.storage_id}",
                job_name=live_trading.name,
                run_config={"ops": {"decide_live": {"config": {"instrument": instrument}}}},
                tags={"instrument": instrument},
            )
        )
        # Windows that passed before there was this champion would wait for a hand.
        for folder in settings.layout.validated(AGENT, instrument):
            again = {"id": record.storage_id, "count": 0, "beside": True}
            waiting.setdefault(str(key(instrument, folder.name)), again)["count"] = 0
    for partition in list(waiting):
        if tick.late:
            tick.say(f"{len(waiting)} reports wait for the next tick.")
            break
        with tick.contained(partition):
            if _judge(tick, settings, partition, waiting[partition]):
                del waiting[partition]
    _finish_demotions(tick, settings, cursor["demotions"])
    # Who trades comes before what only compares.
    tick.requests.sort(key=lambda request: _ORDER.index(str(request.job_name)))
    return tick.result(cursor, "no new report and no new champion.")


def _judge(tick: Tick, settings: Settings, partition: str, asked: dict[str, Any]) -> bool:
    """Ask for what a report leads to; return whether there is nothing more to wait for."""
    from fx_pipeline.validation.report import read_report

    instrument, window = cell(partition)
    folder = settings.layout.report(AGENT, instrument, window)
    if not (folder / "report.json").exists():
        tick.say(f"{instrument} {window}: its report is gone.")
        return True
    report = read_report(folder)
    demotion, decision = decide(settings, instrument, report)
    if asked.get("beside") and decision.missing is None:
        return True
    if not asked["count"]:
        if demotion is not None:
            tick.say(f"{instrument}: the champion of window {demotion['window']} is demoted: {demotion['reason']}")
        tick.say(f"{instrument} {window}: {decision.reason}")
    if decision.promote or demotion is not None:
        request = _promotion(f"promote|{asked['id']}", instrument, window)
        return tick.ask_until_done(instruments, request, asked, f"{instrument} {window}")
    if decision.missing is not None:
        request = _comparison(instrument, window, report, decision.missing)
        return tick.ask_until_done(instrument_window, request, asked, f"{instrument} {window}")
    return True


def _finish_demotions(tick: Tick, settings: Settings, asked: dict[str, dict[str, Any]]) -> None:
    """Ask for the last step of demotions that a kill left unfinished: nobody would tell the live job."""
    under_way = {request.partition_key for request in tick.requests if request.job_name == promote.name}
    for instrument in INSTRUMENTS:
        with tick.contained(instrument):
            unfinished = unfinished_demotion(settings, instrument)
            if unfinished is None:
                asked.pop(instrument, None)
            elif instrument not in under_way:
                window = unfinished["window"]
                request = _promotion(f"demote|{unfinished['sha256']}", instrument, unfinished["last_window"])
                tick.say(f"{instrument}: the demotion of the champion of window {window} is not finished.")
                tick.ask_until_done(instruments, request, asked.setdefault(instrument, {"count": 0}), instrument)


def _comparison(instrument: str, window: str, report: Mapping[str, Any], missing: str) -> dg.RunRequest:
    """Validate a window again, for what its report lacks; once, as a champion that cannot be replayed stays so."""
    sha256 = report["lineage"]["checkpoint_sha256"]
    return dg.RunRequest(
        run_key=f"beside|{sha256}|{missing}", job_name=validate.name, partition_key=str(key(instrument, window))
    )


def _promotion(run_key: str, instrument: str, window: str) -> dg.RunRequest:
    config = {"ops": {champion.op.name: {"config": {"window": window}}}}
    return dg.RunRequest(run_key=run_key, job_name=promote.name, partition_key=instrument, run_config=config)


@dg.schedule(
    job=train,
    cron_schedule="0 18 * * 5",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Trains the newest window of every instrument on Fridays after the close, on what `keep_current` and "
        "`prepare_new_candles` have brought in by then: as many seeds as the gate asks for, one after the other. "
        "Off until switched on."
    ),
)
def weekly_retraining(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Train the newest window of every instrument on Friday after the market closes. Off until switched on."""
    from fx_pipeline.sessions.table import read_plan

    tick, settings = Tick(context), load_settings()
    seeds = {"ops": {muzero_checkpoint.op.name: {"config": {"seeds": list(settings.judged_seeds)}}}}
    week = context.scheduled_execution_time.strftime("%G-W%V")
    for instrument in INSTRUMENTS:
        path = settings.layout.windows(instrument)
        with tick.contained(instrument):
            windows = read_plan(path).windows if path.exists() else ()
            if not windows:
                context.log.info(f"{instrument} has no walk-forward window yet.")
                continue
            newest = windows[-1].key
            run_key, partition = f"{week}|{instrument}|{newest}", str(key(instrument, newest))
            tick.ask(instrument_window, dg.RunRequest(run_key=run_key, partition_key=partition, run_config=seeds))
    if tick.requests:
        return tick.requests
    said = "; ".join(tick.said) or "no instrument has a walk-forward window yet: materialise valid_sessions."
    return dg.SkipReason(said)

"""What runs by itself: validation of new checkpoints, promotion, weekly retraining."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from fx_pipeline.defs.events import new_materializations
from fx_pipeline.defs.jobs import promote, train, validate
from fx_pipeline.defs.live import live_trading
from fx_pipeline.defs.models import AGENT, champion, muzero_checkpoint, validation_report
from fx_pipeline.defs.partitions import INSTRUMENTS, cell, key
from fx_pipeline.defs.partitions import windows as known_windows
from fx_pipeline.defs.promotion import decide, unfinished_demotion
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.settings import load_settings


@dg.sensor(
    job=validate,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Validates a window, with all its seeds, once after each training of it.",
)
def validate_new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Validate a window after each training of it."""
    records = new_materializations(context.instance, muzero_checkpoint, int(context.cursor or 0))
    if not records:
        return dg.SkipReason("no new checkpoint.")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"validate|{record.storage_id}", partition_key=record.partition_key)
            for record in records
        ],
        cursor=str(records[-1].storage_id),
    )


@dg.sensor(
    jobs=[promote, live_trading, validate],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Promotes a model whose report passed the gate and that is better than the champion on the same sessions, "
        "demotes a champion that fails on newer windows, and tells the live job (a dry run here). A report that does "
        "not pass is skipped, and the tick says why; one that passed before there was this champion is made again, "
        "beside it."
    ),
)
def promote_best(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Promote what passed the gate and beats the champion, demote a champion that fails, and tell the live job.

    The decisions themselves are in `fx_pipeline.validation.promotion`; the champion asset repeats them on what is then
    there.
    """
    from fx_pipeline.validation.report import read_report

    settings = load_settings()
    cursor = json.loads(context.cursor or '{"reports": 0, "champions": 0}')
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    for record in new_materializations(context.instance, validation_report, cursor["reports"]):
        cursor["reports"] = record.storage_id
        instrument, window = cell(record.partition_key or "")
        folder = settings.layout.report(AGENT, instrument, window)
        if not (folder / "report.json").exists():
            said.append(f"{instrument} {window}: its report is gone.")
            continue
        try:
            report = read_report(folder)
            demotion, decision = decide(settings, instrument, report)
        except FxPipelineError as error:
            # Raised, it would come again on every tick and hold up all that lies behind it.
            said.append(f"{instrument} {window}: {error}")
            continue
        if demotion is not None:
            said.append(f"{instrument}: the champion of window {demotion['window']} is demoted: {demotion['reason']}")
        said.append(f"{instrument} {window}: {decision.reason}")
        if decision.promote or demotion is not None:
            requests.append(_promotion(f"promote|{record.storage_id}", instrument, window))
        elif decision.missing is not None:
            requests.append(_comparison(instrument, report, decision.missing))
    asked = {request.partition_key for request in requests}
    for instrument in INSTRUMENTS:
        try:
            unfinished = unfinished_demotion(settings, instrument)
        except FxPipelineError as error:
            said.append(f"{instrument}: {error}")
            continue
        if unfinished is None or instrument in asked:
            continue
        # A killed run asks for nothing more, and nobody would tell the live job.
        said.append(f"{instrument}: the demotion of the champion of window {unfinished['window']} is not finished.")
        requests.append(_promotion(f"demote|{unfinished['sha256']}", instrument, unfinished["last_window"]))
    for record in new_materializations(context.instance, champion, cursor["champions"]):
        cursor["champions"] = record.storage_id
        instrument = record.partition_key or ""
        said.append(f"{instrument}: the live job is told who its champion is.")
        requests.append(
            dg.RunRequest(
                run_key=f"live|{record.storage_id}",
                job_name=live_trading.name,
                run_config={"ops": {"decide_live": {"config": {"instrument": instrument}}}},
                tags={"instrument": instrument},
            )
        )
        # Windows that passed before there was this champion would wait for a hand.
        for folder in settings.layout.validated(AGENT, instrument):
            try:
                report = read_report(folder)
                _, decision = decide(settings, instrument, report)
            except FxPipelineError as error:
                said.append(f"{instrument} {folder.name}: {error}")
                continue
            if decision.missing is None:
                continue
            if not context.instance.has_dynamic_partition(str(known_windows.name), report["figures"]["window"]):
                # Asked for, it would fail this tick, and every one after it.
                said.append(f"{instrument} {folder.name}: it passed, but there is no such window any more.")
                continue
            said.append(f"{instrument} {folder.name}: it is validated beside the new champion.")
            requests.append(_comparison(instrument, report, decision.missing))
    for line in said:
        context.log.info(line)
    if not requests:
        reason = "; ".join(said) or "no new report and no new champion."
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps(cursor))
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))


def _comparison(instrument: str, report: Mapping[str, Any], champion_sha256: str) -> dg.RunRequest:
    """Validate a window again, beside the champion; once, as a champion that cannot be replayed stays so."""
    window, sha256 = report["figures"]["window"], report["lineage"]["checkpoint_sha256"]
    return dg.RunRequest(
        run_key=f"beside|{sha256}|{champion_sha256}", job_name=validate.name, partition_key=key(instrument, window)
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

    settings = load_settings()
    seeds = {"ops": {muzero_checkpoint.op.name: {"config": {"seeds": list(settings.judged_seeds)}}}}
    week = context.scheduled_execution_time.strftime("%G-W%V")
    requests = []
    for instrument in INSTRUMENTS:
        path = settings.layout.windows(instrument)
        windows = read_plan(path).windows if path.exists() else ()
        if not windows:
            context.log.info(f"{instrument} has no walk-forward window yet.")
            continue
        newest = windows[-1].key
        run_key, partition = f"{week}|{instrument}|{newest}", key(instrument, newest)
        requests.append(dg.RunRequest(run_key=run_key, partition_key=partition, run_config=seeds))
    return requests or dg.SkipReason("no instrument has a walk-forward window yet: materialise valid_sessions.")

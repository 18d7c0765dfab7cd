"""What runs by itself for a recipe: validation of new checkpoints, promotion, weekly retraining."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fx_pipeline.defs.jobs import RecipeJobs, recipe_jobs
from fx_pipeline.defs.models import RecipeModels, recipe_models
from fx_pipeline.defs.partitions import cell, key
from fx_pipeline.defs.requests import Tick, is_queued, since
from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.lifecycle.champions import unfinished_demotion
from fx_pipeline.lifecycle.promotion import decide
from fx_pipeline.recipe_terms import RecipeTerms, terms_of
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.recipes.names import plain_name


def _status(models: RecipeModels) -> dg.DefaultSensorStatus:
    # Who has not asked for a recipe is not to find it at work.
    is_default = models.recipe.name == DEFAULT_RECIPE
    return dg.DefaultSensorStatus.RUNNING if is_default else dg.DefaultSensorStatus.STOPPED


def validation_sensor(models: RecipeModels) -> dg.SensorDefinition:
    """Return the sensor that validates what a recipe trains."""
    jobs = recipe_jobs(models)

    @dg.sensor(
        name=plain_name(models.recipe.name, "validate_new_checkpoints"),
        job=jobs.validate,
        minimum_interval_seconds=30,
        default_status=_status(models),
        description=(
            "Validates a window, with all its seeds, after it was trained: once, however often that was since the last "
            "look. A validation that fails is asked for again, up to five times. Windows that were removed are left "
            "out."
        ),
    )
    def validate_new_checkpoints(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = Tick(context)
        # Before there were attempts, the cursor was a number alone.
        text = f'{{"after": {context.cursor}}}' if (context.cursor or "").isdigit() else context.cursor
        cursor = tick.cursor(text, {"after": 0, "waiting": {}})
        waiting: dict[str, dict[str, Any]] = cursor["waiting"]
        for record in since(tick, models.checkpoint, cursor["after"]):
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
                run_key, job = f"validate|{asked['id']}", jobs.validate.name
                request = dg.RunRequest(run_key=run_key, job_name=job, partition_key=partition)
                if tick.ask_until_done(models.axes.instrument_window, request, asked, partition):
                    del waiting[partition]
        return tick.result(cursor, "no new checkpoint.")

    return validate_new_checkpoints


def promotion_sensor(models: RecipeModels) -> dg.SensorDefinition:
    """Return the sensor that promotes and demotes the models of a recipe.

    It promotes what passed the gate and beats the champion, demotes a champion that fails, and tells the live job. The
    decisions themselves are in `fx_pipeline.validation.promotion`; the champion asset repeats them on what is then
    there. A report waits in the cursor until what it led to was done.
    """
    jobs = recipe_jobs(models)
    # Of the requests of a tick.
    order = (jobs.promote.name, jobs.live.name, jobs.validate.name)
    names, decide_live = models.axes.instruments.get_partition_keys(), plain_name(models.recipe.name, "decide_live")

    @dg.sensor(
        name=plain_name(models.recipe.name, "promote_best"),
        jobs=[jobs.promote, jobs.live, jobs.validate],
        minimum_interval_seconds=30,
        default_status=_status(models),
        description=(
            "Promotes a model whose report passed the gate and that is better than the champion on the same sessions, "
            "demotes a champion that fails on newer windows, and tells the live job (a dry run here). A report that "
            "does not pass is skipped, and the tick says why; one that passed before there was this champion is made "
            "again, beside it. A promotion that fails is asked for again, up to five times; a record that cannot be "
            "read is named until it can, and holds up no other."
        ),
    )
    def promote_best(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick, terms = Tick(context), terms_of(models.recipe)
        cursor = tick.cursor(context.cursor, {"reports": 0, "champions": 0, "waiting": {}, "demotions": {}})
        waiting: dict[str, dict[str, Any]] = cursor["waiting"]
        for record in since(tick, models.report, cursor["reports"]):
            cursor["reports"] = record.storage_id
            if record.partition_key is None:
                tick.say(f"a report without a partition (event {record.storage_id}): left out.")
                continue
            waiting[record.partition_key] = {"id": record.storage_id, "count": 0}
        for record in since(tick, models.champion, cursor["champions"]):
            cursor["champions"] = record.storage_id
            instrument = record.partition_key
            if instrument is None or instrument not in names:
                tick.say(f"{instrument}: a champion of an instrument that is not configured: left out.")
                continue
            tick.say(f"{instrument}: the live job is told who its champion is.")
            tick.requests.append(
                dg.RunRequest(
                    run_key=f"live|{record.storage_id}",
                    job_name=jobs.live.name,
                    run_config={"ops": {decide_live: {"config": {"instrument": instrument}}}},
                    tags={"instrument": instrument},
                )
            )
            # Windows that passed before there was this champion would wait for a hand.
            for folder in terms.layout.validated(instrument):
                again = {"id": record.storage_id, "count": 0, "beside": True}
                waiting.setdefault(str(key(instrument, folder.name)), again)["count"] = 0
        for partition in list(waiting):
            if tick.late:
                tick.say(f"{len(waiting)} reports wait for the next tick.")
                break
            with tick.contained(partition):
                if _judge(tick, models, jobs, terms, partition, waiting[partition]):
                    del waiting[partition]
        _finish_demotions(tick, models, jobs, terms, cursor["demotions"])
        # Who trades comes before what only compares.
        tick.requests.sort(key=lambda request: order.index(str(request.job_name)))
        return tick.result(cursor, "no new report and no new champion.")

    return promote_best


def _judge(
    tick: Tick, models: RecipeModels, jobs: RecipeJobs, terms: RecipeTerms, partition: str, asked: dict[str, Any]
) -> bool:
    """Ask for what a report leads to; return whether there is nothing more to wait for."""
    from fx_pipeline.validation.report import read_report

    instrument, window = cell(partition)
    folder = terms.layout.report(instrument, window)
    if not (folder / "report.json").exists():
        tick.say(f"{instrument} {window}: its report is gone.")
        return True
    report = read_report(folder)
    demotion, decision = decide(terms, instrument, report)
    if asked.get("beside") and decision.missing is None:
        return True
    if not asked["count"]:
        if demotion is not None:
            tick.say(f"{instrument}: the champion of window {demotion.window} is demoted: {demotion.reason}")
        tick.say(f"{instrument} {window}: {decision.reason}")
    if decision.promote or demotion is not None:
        request = _promotion(models, jobs, f"promote|{asked['id']}", instrument, window)
        return tick.ask_until_done(models.axes.instruments, request, asked, f"{instrument} {window}")
    if decision.missing is not None:
        request = _comparison(models, jobs, instrument, window, report, decision.missing)
        return tick.ask_until_done(models.axes.instrument_window, request, asked, f"{instrument} {window}")
    return True


def _finish_demotions(
    tick: Tick, models: RecipeModels, jobs: RecipeJobs, terms: RecipeTerms, asked: dict[str, dict[str, Any]]
) -> None:
    """Ask for the last step of demotions that a kill left unfinished: nobody would tell the live job."""
    under_way = {request.partition_key for request in tick.requests if request.job_name == jobs.promote.name}
    for instrument in models.axes.instruments.get_partition_keys():
        with tick.contained(instrument):
            unfinished = unfinished_demotion(terms, instrument)
            if unfinished is None:
                asked.pop(instrument, None)
            elif instrument not in under_way:
                window = unfinished.window
                run_key = _of_recipe(models, f"demote|{unfinished.weights_sha256}")
                request = _promotion(models, jobs, run_key, instrument, unfinished.last_window)
                tick.say(f"{instrument}: the demotion of the champion of window {window} is not finished.")
                before = asked.setdefault(instrument, {"count": 0})
                tick.ask_until_done(models.axes.instruments, request, before, instrument)


def _comparison(
    models: RecipeModels, jobs: RecipeJobs, instrument: str, window: str, report: Mapping[str, Any], missing: str
) -> dg.RunRequest:
    """Validate a window again, for what its report lacks; once, as a champion that cannot be replayed stays so."""
    run_key = _of_recipe(models, f"beside|{report['lineage']['checkpoint_sha256']}|{missing}")
    return dg.RunRequest(run_key=run_key, job_name=jobs.validate.name, partition_key=str(key(instrument, window)))


def _of_recipe(models: RecipeModels, run_key: str) -> str:
    # Two recipes may train the same weights.
    name = models.recipe.name
    return run_key if name == DEFAULT_RECIPE else f"{name}|{run_key}"


def _promotion(models: RecipeModels, jobs: RecipeJobs, run_key: str, instrument: str, window: str) -> dg.RunRequest:
    config = {"ops": {models.champion.op.name: {"config": {"window": window}}}}
    return dg.RunRequest(run_key=run_key, job_name=jobs.promote.name, partition_key=instrument, run_config=config)


def retraining_schedule(models: RecipeModels) -> dg.ScheduleDefinition:
    """Return the schedule that trains the newest windows of a recipe."""
    recipe = models.recipe

    @dg.schedule(
        name=plain_name(recipe.name, "weekly_retraining"),
        job=recipe_jobs(models).train,
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
        from fx_pipeline.sessions.table import read_plan

        tick, terms = Tick(context), terms_of(recipe)
        seeds = {"ops": {models.checkpoint.op.name: {"config": {"seeds": list(terms.judged_seeds)}}}}
        week = context.scheduled_execution_time.strftime("%G-W%V")
        for instrument in models.axes.instruments.get_partition_keys():
            path = terms.layout.windows(instrument)
            with tick.contained(instrument):
                windows = read_plan(path).windows if path.exists() else ()
                if not windows:
                    context.log.info(f"{instrument} has no walk-forward window yet.")
                    continue
                newest = windows[-1].key
                run_key, partition = f"{week}|{instrument}|{newest}", str(key(instrument, newest))
                request = dg.RunRequest(run_key=run_key, partition_key=partition, run_config=seeds)
                tick.ask(models.axes.instrument_window, request)
        if tick.requests:
            return tick.requests
        idle = f"no instrument has a walk-forward window yet: materialise {recipe.sessions_table.asset}."
        return dg.SkipReason("; ".join(tick.said) or idle)

    return weekly_retraining


#: Of the default recipe.
validate_new_checkpoints = validation_sensor(recipe_models(default_recipe()))
promote_best = promotion_sensor(recipe_models(default_recipe()))
weekly_retraining = retraining_schedule(recipe_models(default_recipe()))

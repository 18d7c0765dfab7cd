"""Runs whose process is gone end, and free what they hold; those that live, or wait, are left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.storage.tags import MAX_RETRIES_TAG, RUN_FAILURE_REASON_TAG

from fx_pipeline.definitions import defs
from fx_pipeline.defs.killed_runs import end_killed_runs

PROJECT = Path(__file__).parents[2]
STARTED = dg.DagsterRunStatus.STARTED

#: Executes a job as a worker does, says when it is inside, and stays there holding its pool.
WORKER = """
import sys, time
import dagster as dg
from fx_pipeline_tests.defs.test_killed_runs import holding
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    holding.execute_in_process(instance=instance)
"""


@dg.op(pool="training")
def stay() -> None:
    """Hold the pool until killed."""
    sys.stdout.write("inside\n")
    sys.stdout.flush()
    time.sleep(120)


@dg.job(executor_def=dg.in_process_executor)
def holding() -> None:
    stay()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    retries = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["run_retries"]
    assert retries["enabled"]
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides={"run_retries": retries}) as made:
        made.event_log_storage.set_concurrency_slots("training", 1)
        yield made


def test_killed_run_ends_and_frees_its_pool(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "dagster")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert worker.stdout is not None and worker.stdout.readline() == b"inside\n"
        storage = instance.event_log_storage
        assert storage.get_concurrency_info("training").active_slot_count == 1
        assert end_killed_runs(instance) == [], "it lives"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        (run,) = instance.get_runs()
        assert run.status == STARTED
        assert end_killed_runs(instance) == [run.run_id]
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
        assert storage.get_concurrency_info("training").active_slot_count == 0
        assert end_killed_runs(instance) == []
    finally:
        worker.kill()
        worker.wait()
        assert worker.stdout is not None
        worker.stdout.close()


def run_with_pid(instance: dg.DagsterInstance, pid: int, age_s: float) -> dg.DagsterRun:
    """A started run that named a process some time ago."""
    run = instance.create_run_for_job(holding, status=STARTED)
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=holding.name,
        message="process",
        event_specific_data=dg._core.events.EngineEventData.in_process(pid),
    )
    entry = dg.EventLogEntry(
        error_info=None,
        level=10,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time() - age_s,
        job_name=holding.name,
        dagster_event=event,
    )
    instance.event_log_storage.store_event(entry)
    return run


def test_number_that_another_process_has_by_now_is_no_sign_of_life(instance: dg.DagsterInstance) -> None:
    # This process is younger than what the run says: after a power cut numbers are given out again.
    older = run_with_pid(instance, os.getpid(), age_s=10 * 86_400)
    alive = run_with_pid(instance, os.getpid(), age_s=0)
    assert end_killed_runs(instance) == [older.run_id]
    assert {run.run_id: run.status for run in instance.get_runs()}[alive.run_id] == STARTED


def test_run_that_never_named_its_process_gets_its_time(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(holding, status=STARTED)
    waiting = instance.create_run_for_job(holding)
    assert end_killed_runs(instance) == []
    assert end_killed_runs(instance, now_s=time.time() + 3_600) == [run.run_id]
    assert instance.get_run_by_id(waiting.run_id).status == dg.DagsterRunStatus.NOT_STARTED


def of(instance: dg.DagsterInstance, job: dg.JobDefinition, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A run of a job, with the job's tags, whose process is gone."""
    config = {"ops": {"decide_live": {"config": {"instrument": "EUR_USD"}}}} if job.name == "live_trading" else {}
    return instance.create_run_for_job(job, status=status, tags=job.tags, run_config=config)


def test_killed_run_is_started_again_and_a_canceled_or_failed_one_is_not(instance: dg.DagsterInstance) -> None:
    killed = of(instance, defs.resolve_job_def("train"), STARTED)
    canceled = of(instance, defs.resolve_job_def("train"), dg.DagsterRunStatus.CANCELING)
    live = of(instance, defs.resolve_job_def("live_trading"), STARTED)
    assert set(end_killed_runs(instance, now_s=time.time() + 3_600)) == {run.run_id for run in (killed, canceled, live)}
    failed = of(instance, defs.resolve_job_def("train"), STARTED)
    instance.report_run_failed(failed, "an asset failed", JobFailureData(None, RunFailureReason.STEP_FAILURE))

    def again(run: dg.DagsterRun) -> bool:
        stored = instance.get_run_by_id(run.run_id)
        assert stored is not None
        reason = stored.tags.get(RUN_FAILURE_REASON_TAG)
        return auto_reexecution_should_retry_run(instance, stored, RunFailureReason(reason) if reason else None)

    assert instance.get_run_by_id(canceled.run_id).status == dg.DagsterRunStatus.CANCELED
    assert instance.get_run_by_id(failed.run_id).status == dg.DagsterRunStatus.FAILURE
    assert [again(run) for run in (killed, canceled, live, failed)] == [True, False, False, False]


def test_every_job_but_the_live_one_goes_on_after_a_kill() -> None:
    jobs = defs.resolve_all_job_defs()
    retried = {job.name for job in jobs if int(job.tags.get(MAX_RETRIES_TAG, 0)) > 0}
    verbs = ("ingest", "prepare", "train", "validate", "promote", "certify")
    assert retried == {job.name for job in jobs if job.name.split("_")[0] in verbs}
    assert set(verbs) <= retried and not any(name.startswith("live_trading") for name in retried)

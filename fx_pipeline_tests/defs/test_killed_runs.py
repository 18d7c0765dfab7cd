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

from fx_pipeline.defs.killed_runs import end_killed_runs

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
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
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

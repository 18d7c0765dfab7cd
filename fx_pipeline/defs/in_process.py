"""Runs in this process, one after another, beside whatever else runs: it is said who is waited for.

Dagster's own wait for a pool in such a run says nothing, uses a core, and takes no interrupt. So a run begins when its
pools are free; where another run comes in between, who holds the pool is said as well, and an interrupt of the command
marks the run before it ends the process (`fx_pipeline.interrupts`).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from fx_pipeline.defs.killed_runs import end_killed_runs

Say = Callable[[str], None]

_EVERY_S, _AGAIN_S, _KILLED_EVERY_S = 1.0, 60.0, 10.0


class InProcess:
    """Launches runs in this process.

    Parameters
    ----------
    instance : DagsterInstance
    say : callable
        Takes a line for people.
    sleep : callable
        Waits so many seconds.
    """

    def __init__(self, instance: dg.DagsterInstance, say: Say, sleep: Callable[[float], None] = time.sleep) -> None:
        self._instance = instance
        self._say = say
        self._sleep = sleep
        self._run_id: str | None = None

    def launch(self, job: dg.JobDefinition, partition_key: str | None, config: Mapping[str, Any]) -> Any:
        """Wait until the job's pools are free, run it, and return its result; its errors are raised."""
        pools = pools_of(job)
        self._wait(pools)
        self._run_id = make_new_run_id()
        with self._telling(pools, self._run_id):
            result = job.execute_in_process(
                instance=self._instance, partition_key=partition_key, run_config=dict(config), run_id=self._run_id
            )
        self._run_id = None
        return result

    def cancel(self) -> None:
        """Mark the run that was cut short as canceled, and free its pools."""
        if self._run_id is None:
            return
        # Its own connections: the others may be in the middle of something, or closed.
        with dg.DagsterInstance.from_ref(self._instance.get_ref()) as instance:
            run = instance.get_run_by_id(self._run_id)
            if run is not None and not run.is_finished:
                instance.report_run_canceled(run, "The command that ran it was interrupted.")
            instance.event_log_storage.free_concurrency_slots_for_run(self._run_id)

    def _wait(self, pools: set[str]) -> None:
        said: dict[str, float] = {}
        looked = time.monotonic()
        while holders := holders_of(self._instance, pools):
            self._tell(holders, said)
            if time.monotonic() - looked > _KILLED_EVERY_S:
                # The one that is waited for may be dead, with nobody else there to notice.
                looked = time.monotonic()
                end_killed_runs(self._instance)
            self._sleep(_EVERY_S)

    @contextmanager
    def _telling(self, pools: set[str], run_id: str) -> Iterator[None]:
        over = threading.Event()

        def tell() -> None:
            said: dict[str, float] = {}
            while not over.wait(2 * _EVERY_S):
                self._tell(holders_of(self._instance, pools, run_id), said)

        thread = threading.Thread(target=tell, name="pools", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, holders: Mapping[str, str], said: dict[str, float]) -> None:
        for pool, holder in holders.items():
            line = f"waiting for the pool {pool}: {holder} holds it (Ctrl-C ends this command, not that run)"
            if time.monotonic() - said.get(line, -_AGAIN_S) >= _AGAIN_S:
                said[line] = time.monotonic()
                self._say(line)


def pools_of(job: dg.JobDefinition) -> set[str]:
    """Return the pools that the steps of a job need."""
    ops = (node.definition for node in job.nodes)
    return {op.pool for op in ops if isinstance(op, dg.OpDefinition) and op.pool is not None}


def holders_of(instance: dg.DagsterInstance, pools: set[str], waiting: str | None = None) -> dict[str, str]:
    """Return, for each pool that is full, who holds it, in words.

    Parameters
    ----------
    instance : DagsterInstance
    pools : set of str
    waiting : str, optional
        Only pools that this run waits for.
    """
    found = {}
    for pool, info in instance.event_log_storage.get_concurrency_infos(sorted(pools)).items():
        runs = [slot.run_id for slot in info.claimed_slots if slot.run_id != waiting]
        limit = info.limit or info.slot_count
        waits = waiting is None or waiting in info.pending_run_ids
        if runs and waits and limit and len(runs) >= limit:
            found[pool] = " and ".join(_in_words(instance, run_id) for run_id in dict.fromkeys(runs))
    return found


def _in_words(instance: dg.DagsterInstance, run_id: str) -> str:
    run = instance.get_run_by_id(run_id)
    if run is None:
        return f"run {run_id}, which is not in the store any more,"
    partition = run.tags.get("dagster/partition")
    return f"run {run_id.split('-')[0]} ({run.job_name}{f' of {partition}' if partition else ''}, {run.status.value})"

"""Runs of a demo that was killed. Nobody ends them, and they would hold their pools for ever."""

from pathlib import Path

import dagster as dg

_TAG = "fx/demo"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def demo_tags(data_dir: Path) -> dict[str, str]:
    """Return the tags by which the runs of a demo on a data folder are known."""
    return {_TAG: str(data_dir.resolve())}


def end_killed_runs(instance: dg.DagsterInstance, data_dir: Path) -> list[str]:
    """Mark the unfinished runs of demos on a data folder as failed, and free the pools that they hold.

    Only the holder of the demo's lock on that folder may call this: then none of these runs is alive.

    Returns
    -------
    list of str
        Ids of the runs.
    """
    runs = instance.get_runs(dg.RunsFilter(tags=demo_tags(data_dir), statuses=_UNFINISHED))
    for run in runs:
        instance.report_run_failed(run, "The demo that ran this was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in runs]

"""Runs of a killed demo end, and free what they hold; others are left alone."""

from pathlib import Path

import dagster as dg

from fx_pipeline.defs.killed_runs import demo_tags, end_killed_runs


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def job() -> None:
    nothing()


def test_only_runs_of_this_folder_are_ended(tmp_path: Path) -> None:
    started = dg.DagsterRunStatus.STARTED
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        mine = instance.create_run_for_job(job, status=started, tags=demo_tags(tmp_path / "data"))
        other = instance.create_run_for_job(job, status=started, tags=demo_tags(tmp_path / "other"))
        unrelated = instance.create_run_for_job(job, status=started)
        storage = instance.event_log_storage
        storage.set_concurrency_slots("training", 1)
        claim = storage.claim_concurrency_slot("training", mine.run_id, "train")
        assert claim.slot_status.value == "CLAIMED"

        assert end_killed_runs(instance, tmp_path / "data") == [mine.run_id]

        status = {run.run_id: run.status for run in instance.get_runs()}
        assert status[mine.run_id] == dg.DagsterRunStatus.FAILURE
        assert status[other.run_id] == status[unrelated.run_id] == started
        assert storage.get_concurrency_info("training").active_slot_count == 0
        assert end_killed_runs(instance, tmp_path / "data") == []

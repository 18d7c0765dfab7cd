"""What kills and locks leave is put in order while the pipeline runs, and a copied data folder says so."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from fx_pipeline.data_folder import identify
from fx_pipeline.defs import requests
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.defs.upkeep import bring_into_mlflow, catch_up_tracking, tend_runs
from fx_pipeline.tracking.spool import Spool
from fx_pipeline_tests.defs.conftest import QUIET
from fx_pipeline_tests.defs.test_automation import tick
from fx_pipeline_tests.defs.test_requests import ran

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

PROJECT = Path(__file__).parents[2]


def killed(chain: "Chain") -> Path:
    """The folder of a run whose process is gone."""
    spool = Spool.make(chain.data_dir / "mlflow.spool", "train", "training", None, 0)
    spool._lock.close()
    return spool.folder


def test_what_a_killed_run_left_is_asked_for_until_it_is_brought_in(
    empty: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PAUSES_S", (0.0,) * 4)
    with empty.environment():
        idle = tick(tend_runs, empty)
        assert not idle.run_requests and "MLflow has what they logged" in idle.skip_message
        alive = Spool.make(empty.data_dir / "mlflow.spool", "train", "training", None, 0)
        assert not tick(tend_runs, empty, idle.cursor).run_requests
        folder = killed(empty)
        found = tick(tend_runs, empty, idle.cursor)
        (request,) = found.run_requests
        assert request.job_name == "catch_up_tracking" and request.partition_key is None
        ran(empty, found)
        again = tick(tend_runs, empty, found.cursor)
        assert again.run_requests[0].run_key != request.run_key
        shutil.rmtree(folder)
        assert not tick(tend_runs, empty, again.cursor).run_requests
        # Another one begins its own count.
        killed(empty)
        assert tick(tend_runs, empty, again.cursor).run_requests[0].run_key not in (None, request.run_key)
        alive.close()


def test_runs_that_a_kill_left_in_mlflow_are_ended(copy: "Chain") -> None:
    with copy.environment():
        client = Tracking().mlflow().client
        experiment = client.get_experiment_by_name("validation").experiment_id
        left = client.create_run(experiment, tags={"dagster/run_id": "of a run that is gone"}).info.run_id
        # Once after an update: what earlier versions left cannot be found in the folder.
        first = tick(tend_runs, copy)
        assert [request.job_name for request in first.run_requests] == ["catch_up_tracking"]
        done = catch_up_tracking.execute_in_process(
            instance=copy.instance, resources={"tracking": Tracking()}, run_config=QUIET
        )
        assert done.success and client.get_run(left).info.status == "KILLED"
        assert bring_into_mlflow.name in {event.step_key for event in done.all_node_events}
        assert not tick(tend_runs, copy, first.cursor).run_requests


def test_a_copied_data_folder_says_so_on_every_tick(empty: "Chain", tmp_path: Path) -> None:
    identify(empty.data_dir)
    with empty.copied(tmp_path / "other") as copied, copied.environment():
        found = tick(tend_runs, copied)
        assert f"is a copy of {empty.data_dir}: champion, trial ledger" in found.skip_message
        assert "is a copy of" in tick(tend_runs, copied, found.cursor).skip_message
    with empty.environment():
        assert "copy" not in tick(tend_runs, empty).skip_message


@pytest.mark.parametrize("kind", ["sensors", "schedules"])
def test_a_slow_sensor_holds_up_no_other(kind: str) -> None:
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text())[kind]
    assert settings["use_threads"] and settings["num_workers"] > 1
    assert requests.SOFT_LIMIT_S < 60.0

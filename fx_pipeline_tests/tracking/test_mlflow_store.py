import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.tracking.mlflow_store import Tracking


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def tracking(folder):
    # A fresh store takes seconds to make: one serves all tests.
    return Tracking(f"sqlite:///{folder}/store/mlflow.db", folder / "artifacts", clock=lambda: 1_700_000_000.0)


def test_importing_the_module_does_not_import_mlflow():
    code = "import sys, fx_pipeline.tracking.mlflow_store; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_logged_and_finished(tracking, folder):
    (folder / "note.txt").write_text("hello")
    long = "x" * 900
    with tracking.run("train", "training", {"rate": 5e-4, "long": long}, {"dagster/run_id": "abc"}) as run:
        run.log_metrics({"loss": 1.0, "nothing": None, "broken": float("nan")}, step=3)
        run.log_history([{"reward": float(step)} for step in range(1_200)])
        run.log_artifact(folder / "note.txt")
    found = tracking.client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train"
    assert found.data.params["rate"] == "0.0005" and len(found.data.params["long"]) == 500
    assert set(found.data.metrics) == {"loss", "reward"}
    assert found.data.tags["dagster/run_id"] == "abc"
    history = tracking.client.get_metric_history(run.run_id, "reward")
    assert [(point.step, point.value) for point in history][-1] == (1199, 1199.0)
    names = {item.path for item in tracking.client.list_artifacts(run.run_id)}
    assert names == {"note.txt", "long_params.txt"}
    # Artifacts lie where they were told to, not in the folder of the process.
    assert (folder / "artifacts" / "training" / run.run_id / "artifacts" / "note.txt").read_text() == "hello"
    assert long in (folder / "artifacts" / "training" / run.run_id / "artifacts" / "long_params.txt").read_text()
    assert run.url == f"http://127.0.0.1:5000/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def test_a_run_whose_body_raises_is_failed(tracking):
    with pytest.raises(RuntimeError, match="boom"), tracking.run("train", "training") as run:
        raise RuntimeError("boom")
    assert tracking.client.get_run(run.run_id).info.status == "FAILED"


def test_a_checkpoint_is_registered_once_and_the_alias_moves(tracking, folder):
    name = "GBP_JPY-test"
    assert tracking.champion(name) is None and tracking.versions(name) == []
    with tracking.run("train", "training") as run:
        pass
    model = folder / "a model"
    first = tracking.register_model_version(name, model, run.run_id, {"sha256": "aa", "window": "2016-05"})
    assert tracking.champion(name) is None
    assert tracking.register_model_version(name, model, None, {"sha256": "aa"}) == first
    second = tracking.register_model_version(name, model, None, {"sha256": "bb"})
    assert [version.version for version in tracking.versions(name)] == [first, second]
    for version in (first, second, second):
        tracking.set_champion(name, version)
        assert tracking.champion(name).version == version
    tracking.set_champion(name, first)
    found = tracking.champion(name)
    assert (found.checkpoint_sha256, found.run_id, found.path) == ("aa", run.run_id, model)
    assert found.tags["window"] == "2016-05"


def test_a_model_version_needs_its_hash(tracking, folder):
    with pytest.raises(ConfigurationError, match="sha256"):
        tracking.register_model_version("m", folder, None, {"window": "w"})


def test_a_second_handle_opens_the_same_store(tracking, folder):
    again = Tracking(tracking.uri, folder / "artifacts")
    with again.run("later", "training") as run:
        pass
    assert tracking.client.get_run(run.run_id).info.run_name == "later"


def test_what_is_no_store_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        Tracking("mlruns")
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(FxPipelineError, match=r"mlflow\.db cannot be opened"):
        _ = Tracking(f"sqlite:///{tmp_path}/mlflow.db").client


FIRST_USE = """
import sys
from pathlib import Path
from fx_pipeline.tracking.mlflow_store import Tracking
folder = Path(sys.argv[1])
with Tracking(f"sqlite:///{folder}/mlflow.db", folder / "artifacts").run("r", "e", {"a": 1}) as run:
    run.log_metrics({"m": 1.0})
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FIRST_USE, str(folder)], stderr=subprocess.PIPE)


@pytest.mark.slow
def test_processes_may_use_a_fresh_store_at_the_same_time(tmp_path):
    workers = [start(tmp_path) for _ in range(3)]
    errors = [worker.communicate()[1].decode() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], errors
    client = Tracking(f"sqlite:///{tmp_path}/mlflow.db").client
    assert len(client.search_runs([client.get_experiment_by_name("e").experiment_id])) == 3


@pytest.mark.slow
def test_a_process_killed_while_it_makes_the_store_leaves_it_usable(tmp_path):
    worker = start(tmp_path)
    half_made = tmp_path / f".tmp-{worker.pid}-mlflow.db"
    while not half_made.exists() and worker.poll() is None:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    second = start(tmp_path)
    errors = second.communicate()[1].decode()
    assert second.returncode == 0, errors
    assert not half_made.exists()

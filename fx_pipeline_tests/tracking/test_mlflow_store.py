import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.tracking.batched import BatchedMetrics
from fx_pipeline.tracking.mlflow_store import Tracking
from fx_pipeline.tracking.run_handle import Point


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def tracking(folder, fresh_store):
    (folder / "store").mkdir()
    shutil.copyfile(fresh_store, folder / "store" / "mlflow.db")
    return Tracking(f"sqlite:///{folder}/store/mlflow.db", folder / "artifacts", clock=lambda: 1_700_000_000.0)


def test_importing_the_module_does_not_import_mlflow():
    code = "import sys, fx_pipeline.tracking.mlflow_store; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_logged_and_finished(tracking, folder):
    (folder / "note.txt").write_text("hello")
    long = "x" * (MAX_PARAM_VAL_LENGTH + 400)
    with tracking.run("train", "training", {"rate": 5e-4, "long": long}, {"dagster/run_id": "abc"}) as run:
        run.log_metrics({"loss": 1.0, "nothing": None, "broken": float("nan")}, step=3)
        run.log_points(Point(step, 1_700_000_000.0 + step, {"reward": float(step)}) for step in range(1_200))
        assert run.latest("reward") == 1199.0 and run.latest("nothing") is None
        run.log_artifact(folder / "note.txt")
    found = tracking.client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train"
    assert found.data.params["rate"] == "0.0005" and len(found.data.params["long"]) == MAX_PARAM_VAL_LENGTH
    assert set(found.data.metrics) == {"loss", "reward"}
    assert found.data.tags["dagster/run_id"] == "abc"
    history = tracking.client.get_metric_history(run.run_id, "reward")
    assert [(point.step, point.value) for point in history][-1] == (1199, 1199.0)
    assert history[-1].timestamp - history[0].timestamp == 1_199_000
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


def killed(tracking, name: str, made_from: str) -> str:
    """A run that is as a process that was killed leaves it: nobody has ended it."""
    with tracking.run(name, "training", {"rate": 1}, made_from=made_from) as run:
        metrics = BatchedMetrics(run, "iterations", every_s=0.0)
        for step in (1, 2, 3):
            metrics.add({"iterations": float(step), "loss": 1.0 / step})
    tracking.client.update_run(run.run_id, status="RUNNING")
    return run.run_id


def test_a_killed_run_is_gone_on_with_and_one_of_other_inputs_is_marked(tracking):
    other, mine, elsewhere = (
        killed(tracking, name, made_from) for name, made_from in (("a", "old"), ("a", "new"), ("b", "old"))
    )
    # The second of these had marked the first.
    assert tracking.client.get_run(other).info.status == "KILLED"
    with tracking.run("a", "training", {"rate": 1}, {"tries": "2"}, made_from="new") as run:
        assert run.run_id == mine
        metrics = BatchedMetrics(run, "iterations", every_s=1e9)
        metrics.add({"iterations": 3.0, "loss": 9.0})
        metrics.add({"iterations": 5.0, "loss": 0.2})
        assert run.latest("iterations") == 3.0, "it waits for its time"
        metrics.complete([{"iterations": float(step), "loss": 1.0 / step} for step in range(1, 7)])
    found = tracking.client.get_run(mine)
    assert (found.info.status, found.data.tags["tries"], found.data.tags["made_from"]) == ("FINISHED", "2", "new")
    logged = tracking.client.get_metric_history(mine, "loss")
    assert sorted((point.step, point.value) for point in logged) == [
        (1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25), (5, 0.2), (6, 1 / 6)
    ]  # fmt: skip
    assert tracking.client.get_run(elsewhere).info.status == "RUNNING"
    with tracking.run("a", "training", made_from="new") as run:
        assert run.run_id != mine, "a finished run is not touched"


def test_metrics_are_sent_in_batches(tracking):
    now = [0.0]
    with tracking.run("c", "training") as run:
        metrics = BatchedMetrics(run, "iterations", every_s=10.0, clock=lambda: now[0])
        for step, (second, there) in enumerate(((4.0, None), (8.0, None), (12.0, 3.0), (16.0, 3.0), (23.0, 5.0))):
            now[0] = second
            metrics.add({"iterations": step + 1.0})
            assert run.latest("iterations") == there


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
    assert (found.weights_sha256, found.run_id, found.path) == ("aa", run.run_id, model)
    assert found.tags["window"] == "2016-05"
    # Only the version that has it can lose it; one that the store lost has nothing to lose.
    for other, name_ in ((second, name), ("99", name), (first, "never registered")):
        tracking.remove_champion(name_, other, {"demoted": "it failed"})
        assert tracking.champion(name).version == first
    for _ in range(2):
        tracking.remove_champion(name, first, {"demoted": "it failed"})
        assert tracking.champion(name) is None
    assert tracking.versions(name)[0].tags["demoted"] == "it failed"


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

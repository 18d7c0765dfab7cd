"""A store that is locked, damaged or changed by hand while runs log: no run fails for it, and nothing is lost."""

import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from fx_pipeline.tracking.mlflow_store import Tracking, TrackingLockedError
from fx_pipeline.tracking.relocate import relocate
from fx_pipeline.tracking.run_handle import Point, RunHandle
from fx_pipeline.tracking.spool import Spool


@pytest.fixture
def tracking(fresh_store: Path, tmp_path: Path) -> Iterator[Tracking]:
    """A store whose calls wait for a lock for moments: MLflow waits 20 s, and has no setting for it."""
    shutil.copyfile(fresh_store, tmp_path / "mlflow.db")

    def shorten(_1: object, _2: object, statement: str, parameters: object, _3: object, _4: object) -> object:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 20"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    made = Tracking(
        f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts", clock=lambda: 1_700_000_000.0, patience_s=0.0
    )
    # Opened before it is locked: opening has waits of its own.
    _ = made.client
    yield made
    event.remove(Engine, "before_cursor_execute", shorten)


@contextlib.contextmanager
def locked(tracking: Tracking) -> Iterator[None]:
    assert tracking.database is not None
    with contextlib.closing(sqlite3.connect(tracking.database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def log(run: RunHandle, folder: Path, first: int) -> None:
    run.log_points(Point(step, 1_700_000_000.0 + step, {"loss": 1.0 / step}) for step in range(first, first + 3))
    (folder / "weights.txt").write_text(f"weights {first}")
    run.log_artifact(folder / "weights.txt")
    # What is spooled is what it was then.
    (folder / "weights.txt").write_text("changed since")


def test_what_is_logged_while_the_store_is_locked_comes_in_later(tracking: Tracking, tmp_path: Path) -> None:
    with tracking.run("train", "training", {"rate": 1}) as run:
        log(run, tmp_path, 1)
        with locked(tracking):
            log(run, tmp_path, 4)
            run.set_tags({"late": "yes"})
            assert run.latest("loss") is None
            assert [call["kind"] for call in run.spool.calls()] == ["metrics", "artifact", "tags"]
    found = tracking.client.get_run(run.run_id)
    assert found.info.status == "FINISHED" and found.data.tags["late"] == "yes"
    assert [point.step for point in tracking.client.get_metric_history(run.run_id, "loss")] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "artifacts/training" / run.run_id / "artifacts/weights.txt").read_text() == "weights 4"
    assert list(tracking.spools.iterdir()) == []


def test_a_run_that_begins_and_ends_behind_a_lock_comes_in_whole(tracking: Tracking, tmp_path: Path) -> None:
    with locked(tracking):
        with tracking.run("train", "training", {"rate": 1}, {"instrument": "EUR_USD"}, made_from="this") as run:
            log(run, tmp_path, 1)
        assert run.run_id.startswith("pending-") and run.url == ""
        (line,) = tracking.catch_up()
        assert "waits to be brought into MLflow" in line and str(run.spool.folder) in line
    # The next run brings it in, whatever it is of.
    with tracking.run("validate", "validation"):
        pass
    identity = tracking.resolve(run.run_id)
    found = tracking.client.get_run(identity)
    assert (found.info.status, found.info.run_name, found.data.params["rate"]) == ("FINISHED", "train", "1")
    assert found.data.tags["instrument"] == "EUR_USD" and found.info.start_time == 1_700_000_000_000
    assert len(tracking.client.get_metric_history(identity, "loss")) == 3
    assert tracking.resolve(identity) == identity and tracking.resolve("pending-none") == ""
    assert list(tracking.spools.iterdir()) == [] and tracking.catch_up() == []


def test_bringing_in_twice_changes_nothing(tracking: Tracking, tmp_path: Path) -> None:
    """A process may be killed between MLflow's answer and the removal of what it took."""
    with locked(tracking), tracking.run("train", "training", {"rate": 1}) as run:
        log(run, tmp_path, 1)
    kept = shutil.copytree(run.spool.folder, tmp_path / "kept")
    assert tracking.catch_up() == []
    shutil.copytree(kept, run.spool.folder)
    assert tracking.catch_up() == []
    experiment = tracking.client.get_experiment_by_name("training")
    (found,) = tracking.client.search_runs([experiment.experiment_id])
    assert len(tracking.client.get_metric_history(found.info.run_id, "loss")) == 3


def killed(tracking: Tracking, made_from: str) -> str:
    """What a SIGKILL leaves of a run: its folder, which nobody holds."""
    spool = Spool.make(tracking.spools, "train", "training", made_from, 0)
    run = RunHandle(tracking, spool, lambda: 1.0)
    run.set_tags({"made_from": made_from})
    run.log_points([Point(1, 1.0, {"loss": 1.0})])
    spool._lock.close()
    return run.run_id


def test_a_killed_run_is_ended_and_the_same_training_goes_on_with_it(tracking: Tracking) -> None:
    old, new = killed(tracking, "old"), killed(tracking, "new")
    alive = RunHandle(tracking, Spool.make(tracking.spools, "other", "training", None, 0), lambda: 1.0)
    assert tracking.catch_up() == []
    status = {run: tracking.client.get_run(run).info.status for run in (old, new, alive.run_id)}
    assert status == {old: "KILLED", new: "KILLED", alive.run_id: "RUNNING"}
    with tracking.run("train", "training", made_from="new") as run:
        assert run.run_id == new and tracking.client.get_run(new).info.status == "RUNNING"
        assert run.latest("loss") == 1.0
    assert tracking.client.get_run(new).info.status == "FINISHED"
    # Its training was thrown away when the other one began.
    with tracking.run("train", "training", made_from="old") as run:
        assert run.run_id not in (old, new)


def test_runs_of_earlier_versions_end_with_their_dagster_run(tracking: Tracking) -> None:
    client = tracking.client
    experiment = client.create_experiment("validation")
    runs = {
        name: client.create_run(experiment, tags={"dagster/run_id": name} if name else {}, run_name=name or "by hand")
        for name in ("over", "gone", "going", "")
    }
    assert sorted(tracking.close_unfinished(lambda run: run != "going")) == ["gone", "over"]
    # One that logs is alive, whichever Dagster it belongs to.
    with tracking.run("elsewhere", "validation", tags={"dagster/run_id": "of another history"}):
        assert tracking.close_unfinished(lambda _: True) == ["going"]
    status = {name: client.get_run(run.info.run_id).info.status for name, run in runs.items()}
    assert status == {"over": "KILLED", "gone": "KILLED", "going": "KILLED", "": "RUNNING"}


def test_an_experiment_or_run_that_was_deleted_is_restored(tracking: Tracking) -> None:
    with tracking.run("train", "training") as first:
        pass
    tracking.client.delete_experiment(first.experiment_id)
    with tracking.run("train", "training") as run:
        assert run.experiment_id == first.experiment_id
        tracking.client.delete_run(run.run_id)
        run.log_metrics({"loss": 1.0})
        tracking.client.delete_experiment(first.experiment_id)
    found = tracking.client.get_run(run.run_id)
    assert (found.info.status, found.info.lifecycle_stage, found.data.metrics) == ("FINISHED", "active", {"loss": 1.0})
    # A run that has ended is left as a person wants it.
    tracking.client.delete_run(run.run_id)
    tracking.tag_run(run.run_id, {"version": "1"})
    tracking.tag_run("nowhere", {"version": "1"})


def test_a_damaged_store_fails_no_training(tracking: Tracking, tmp_path: Path) -> None:
    assert tracking.database is not None
    whole = tracking.database.read_bytes()
    tracking.database.write_bytes(b"this is no database" * 100)
    with tracking.run("train", "training", {"rate": 1}) as run:
        log(run, tmp_path, 1)
    assert run.run_id.startswith("pending-")
    tracking.database.write_bytes(whole)
    assert tracking.catch_up() == []
    assert tracking.client.get_run(tracking.resolve(run.run_id)).data.params == {"rate": "1"}


def test_a_full_disk_fails_no_training_and_what_is_cut_short_is_no_call(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tracking), tracking.run("train", "training") as run:
        room = Path.open

        def full(path: Path, mode: str = "r", **more: object) -> object:
            if path.name == "calls.jsonl" and mode == "a":
                raise OSError(28, "No space left on device")
            return room(path, mode, **more)  # type: ignore[call-overload]

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
            run.set_tags({"full": "yes"})
        run.set_tags({"room": "yes"})
    with (run.spool.folder / "calls.jsonl").open("a") as calls:
        calls.write('{"kind": "tags", "ta')
    assert tracking.catch_up() == []
    tags = tracking.client.get_run(tracking.resolve(run.run_id)).data.tags
    assert tags["full"] == tags["room"] == "yes"


def test_a_folder_that_cannot_be_read_is_named_and_holds_up_no_other(tracking: Tracking) -> None:
    with locked(tracking):
        for _ in range(2):
            with tracking.run("train", "training", {"rate": 1}) as run:
                pass
    (run.spool.folder / "run.json").write_text(json.dumps({"spool_id": 5}))
    (line,) = tracking.catch_up()
    assert str(run.spool.folder) in line
    assert list(tracking.spools.iterdir()) == [run.spool.folder]


def test_the_registry_waits_for_a_lock_and_says_who_it_waited_for(tracking: Tracking, tmp_path: Path) -> None:
    version = tracking.register_model_version("m", tmp_path / "model", None, {"sha256": "aa"})
    with locked(tracking), pytest.raises(TrackingLockedError, match=r"mlflow\.db is held by another process"):
        tracking.set_champion("m", version)
    patient = Tracking(tracking.uri, tracking.artifacts_dir, patience_s=30.0)
    _ = patient.client
    connection = sqlite3.connect(tracking.database or "", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    freed = threading.Timer(0.3, connection.close)
    freed.start()
    patient.set_champion("m", version)
    freed.join()
    found = tracking.champion("m")
    assert found is not None and found.version == version


def test_a_copied_store_has_its_own_artifacts_and_models(tracking: Tracking, tmp_path: Path) -> None:
    assert tracking.database is not None
    original, copied = tmp_path / "100% mine", tmp_path / "copy of it"
    original.mkdir()
    shutil.copyfile(tracking.database, original / "mlflow.db")
    (tmp_path / "note.txt").write_text("first")
    first = Tracking(f"sqlite:///{original}/mlflow.db", original / "mlartifacts")
    with first.run("train", "training") as run:
        run.log_artifact(tmp_path / "note.txt")
    version = first.register_model_version("m", original / "models" / "ab", run.run_id, {"sha256": "ab"})
    shutil.copytree(original, copied)
    again = Tracking(f"sqlite:///{copied}/mlflow.db", copied / "mlartifacts")
    again.set_champion("m", version)
    found = again.champion("m")
    assert found is not None and found.path == copied / "models" / "ab"
    with again.run("train", "training") as later:
        later.log_artifact(tmp_path / "note.txt")
    for made in (run, later):
        place = copied / "mlartifacts" / "training" / made.run_id / "artifacts"
        assert again.client.get_run(made.run_id).info.artifact_uri == place.as_uri()
        assert (place / "note.txt").read_text() == "first"
    assert not (original / "mlartifacts" / "training" / later.run_id).exists()
    assert relocate(copied / "mlflow.db", copied / "mlartifacts") == []
    assert first.client.get_run(run.run_id).info.artifact_uri.startswith(original.as_uri())


def test_a_call_that_mlflow_refuses_holds_up_no_other_and_is_kept(tracking: Tracking, tmp_path: Path) -> None:
    with tracking.run("train", "training", {"rate": 1}) as run:
        run.log_params({"rate": 2})
        with locked(tracking):
            run.log_metrics({"50% = {half}": 1.0, "fine": 2.0})
            run.log_artifact(tmp_path / "never there")
            run.set_tags({"after": "yes"})
    found = tracking.client.get_run(run.run_id)
    assert (found.info.status, found.data.params, found.data.tags["after"]) == ("FINISHED", {"rate": "1"}, "yes")
    kept = sorted((tmp_path / "artifacts" / "training" / run.run_id / "artifacts" / "refused").iterdir())
    assert [path.name.partition("-")[0] for path in kept] == ["artifact", "metrics", "params"]
    assert json.loads(kept[1].read_text())["call"]["points"][0][2] == {"50% = {half}": 1.0, "fine": 2.0}
    assert list(tracking.spools.iterdir()) == []

"""Dagster's history lies below the data folder, whoever opens it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._serdes import deserialize_value, serialize_value

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("FX_")]:
        monkeypatch.delenv(name)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dg.op
def one() -> None:
    """Do nothing."""


@dg.job
def harmless() -> None:
    """Does nothing."""
    one()


def run_in(folder: str | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run once on a data folder, and return how many runs its history has then."""
    if folder is not None:
        monkeypatch.setenv("FX_DATA_DIR", folder)
    else:
        monkeypatch.delenv("FX_DATA_DIR", raising=False)
    with dg.DagsterInstance.get() as instance:
        assert harmless.execute_in_process(instance=instance).success
        return len(instance.get_runs())


def test_two_data_folders_have_two_histories(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = str(project / "we[ir]d")
    assert [run_in(folder, monkeypatch) for folder in (None, odd, None, odd, "data")] == [1, 1, 2, 2, 3]
    (project / ".env").write_text("FX_DATA_DIR=from the file\n")
    assert run_in(None, monkeypatch) == 1 and run_in(odd, monkeypatch) == 3
    assert (project / "from the file" / "dagster" / "history").is_dir()
    (project / ".env").write_text("FX_DATA_DIR=\n")
    assert run_in(None, monkeypatch) == 4
    # Logs and files, too.
    assert {path.name for path in (project / odd / "dagster").iterdir()} >= {"history", "schedules", "logs"}
    assert not (project / "dagster").exists() and not (project / "storage").exists()


def test_other_processes_open_the_same_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in("mine", monkeypatch)
    with dg.DagsterInstance.get() as instance:
        told = serialize_value(instance.get_ref())
        with dg.DagsterInstance.from_ref(deserialize_value(told)) as other:  # type: ignore[arg-type]
            assert len(other.get_runs()) == 1


@pytest.mark.slow
def test_dagsters_own_command_follows_the_setting(project: Path) -> None:
    (project / ".env").write_text("FX_DATA_DIR=from the file\n")
    command = [sys.executable, "-m", "dagster", "run", "list"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert (project / "from the file" / "dagster" / "history").is_dir() and not (project / "data").exists()

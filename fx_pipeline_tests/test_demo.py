"""The demo as a process of its own: it survives being killed, and ends the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fx_pipeline.demo import find_project, only_one, use_project
from fx_pipeline.market.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[1]
FX_PIPELINE = Path(sys.executable).with_name("fx-pipeline")
SETTINGS = {
    "FX_PRESET": "tiny",
    "FX_EPISODES": "8",
    "FX_MC_RUNS": "200",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


def clean_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FX_", "DAGSTER_"))}
    return {**kept, **SETTINGS, **(changes or {})}


@pytest.fixture
def new_project(tmp_path: Path) -> Callable[[str], Path]:
    """Makes project folders: `make demo` runs where dagster.yaml is."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / file, folder)
        return folder

    return make


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    """Four weeks of candles in a file, as a user would have them."""
    import numpy as np
    import pyarrow.parquet as pq

    from fx_pipeline.broker.paper.synthetic import synthetic_candles

    start = int(np.datetime64("2024-01-02", "ns").astype(np.int64))
    table = synthetic_candles("EUR_USD", start, start + 28 * 86_400 * 1_000_000_000)
    path = tmp_path / "EUR_USD_M1.parquet"
    names = {f"mid_{letter}": name for letter, name in zip("ohlc", ("open", "high", "low", "close"), strict=True)}
    pq.write_table(table.select(["time", *names, "volume"]).rename_columns(["time", *names.values(), "volume"]), path)
    return path


def demo(project: Path, candles: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(FX_PIPELINE), "demo", "--candles", str(candles)],
        cwd=project,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return said


def kill_in(process: subprocess.Popen[str], stage: str, begun: Callable[[], bool]) -> None:
    """Kill the process in the stage whose title begins so, once `begun` says that its work is under way."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"... {stage}"):
            break
    deadline = time.monotonic() + 120
    while not begun() and time.monotonic() < deadline:
        assert process.poll() is None, f"it ended before {stage} was under way"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()


def result(project: Path) -> tuple[bytes, dict[str, Any]]:
    (weights,) = (project / "data" / "checkpoints").glob("*/*/*/*/weights.safetensors")
    (report,) = (project / "data" / "reports").rglob("report.json")
    figures: dict[str, Any] = json.loads(report.read_text())["figures"]
    return weights.read_bytes(), figures


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_three_stages_it_ends_as_if_it_had_not_been(
    new_project: Callable[[str], Path], candles: Path
) -> None:
    whole = new_project("whole")
    said = finish(demo(whole, candles))
    assert "verdict on EUR_USD" in said and "report page: " in said

    broken = new_project("broken")
    data = broken / "data"
    stages: dict[str, Callable[[], bool]] = {
        "raw candles": lambda: any((data / "raw").rglob("page-00002.json.zst")),
        "train": lambda: any(data.rglob("bundle.safetensors")),
        # A score is in the ledger before anything is judged.
        "validate": lambda: (data / "ledger.db").exists(),
    }
    for stage, begun in stages.items():
        kill_in(demo(broken, candles), stage, begun)
        assert not any((data / "reports").rglob("report.json"))
    finish(demo(broken, candles))

    weights, figures = result(whole)
    again, figures_again = result(broken)
    assert again == weights and figures_again == figures
    assert not list(data.rglob(".tmp-*"))
    assert not list(data.rglob("bundle.safetensors"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_second_demo_keeps_what_stands(new_project: Callable[[str], Path], candles: Path) -> None:
    project = new_project("project")
    first = demo(project, candles)
    assert first.stdout is not None
    # While it runs, another one is refused.
    for line in first.stdout:
        if line.startswith("... raw"):
            break
    second = demo(project, candles)
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 2
    assert said.strip() == "error: another demo is running on data: wait for it, or set FX_DATA_DIR."
    finish(first)

    def times() -> dict[Path, int]:
        folders = ("raw", "lake", "checkpoints", "reports")
        return {path: path.stat().st_mtime_ns for name in folders for path in (project / "data" / name).rglob("*.*")}

    before = times()
    assert "verdict on EUR_USD" in finish(demo(project, candles))
    assert times() == before


@pytest.mark.slow
def test_too_little_data_is_said_in_one_line(new_project: Callable[[str], Path], candles: Path) -> None:
    import pyarrow.parquet as pq

    project = new_project("short")
    short = candles.with_name("EUR_USD_short.parquet")
    pq.write_table(pq.read_table(candles).slice(0, 3 * 1_440), short)
    process = demo(project, short)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: EUR_USD has 2 trading days") or last.startswith("error: EUR_USD has 3 trading days")
    assert "three weeks do" in last and "Traceback" not in said


def test_project_is_found_from_below(new_project: Callable[[str], Path]) -> None:
    project = new_project("project")
    (project / "docs" / "deep").mkdir(parents=True)
    assert find_project(project / "docs" / "deep") == project.resolve()


def test_no_project_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not inside the project"):
        find_project(tmp_path)


def test_project_becomes_dagsters_home(new_project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/elsewhere")
    monkeypatch.chdir(Path.cwd())
    project = new_project("project")
    use_project(project)
    assert Path.cwd() == project.resolve() and os.environ["DAGSTER_HOME"] == str(project)


def test_lock_is_free_after_the_demo(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with only_one(data_dir), pytest.raises(ConfigurationError, match="another demo is running"), only_one(data_dir):
        pass
    with only_one(data_dir):
        pass

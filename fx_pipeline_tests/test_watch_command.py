"""Watching a training: on a terminal, as lines, and after its process was killed."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from fx_pipeline.agents.progress_file import PROGRESS_NAME, ProgressFile
from fx_pipeline.market.errors import DataError
from fx_pipeline.watch_command import action_bar, eta_s, newest_training, sparkline, state_of, view, watch

FIGURES = {
    "seconds": 2.0,
    "episodes_per_hour": 9_000.0,
    "updates_per_s": 40.0,
    "loss": 3.0,
    "selection_best_pips": 12.5,
    "selection_best_episode": 256.0,
    "share_hold": 0.9,
    "share_buy": 0.05,
    "share_sell": 0.03,
    "share_close": 0.02,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A training of this process, at a quarter."""
    shown = ProgressFile(tmp_path, "a", {"instrument": "EUR_USD", "window": "2024-01-22"}, every_s=0.0)
    for step in range(1, 51):
        shown.report(step / 200, {**FIGURES, "iterations": float(step), "pips_per_episode": step - 25.0})
    return tmp_path


def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / PROGRESS_NAME).read_bytes())


def change(folder: Path, **changes: Any) -> None:
    (folder / PROGRESS_NAME).write_text(json.dumps(document(folder) | changes))


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def seen(folder: Path, **options: Any) -> tuple[str, str]:
    """State, and what was printed."""
    terminal = options.pop("terminal", False)
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=terminal)
    return watch(folder, console, **options), out.getvalue()


def test_lines_where_there_is_no_terminal(folder: Path) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] >= 25.0:
            change(folder, state="finished", fraction=1.0)

    state, out = seen(folder, clock=lambda: now[0], sleep=sleep)
    lines = out.splitlines()
    assert state == "finished"
    assert len(lines) == 5, "at 0, 10 and 20 seconds, at the end, and how it ended"
    assert lines[0].strip().startswith("25%, pips an episode 25, best pips, selection span 12.5, loss 3")
    assert "9,000 episodes/h, ETA 0:05:00" in lines[0]
    assert lines[-1] == "finished"


def test_a_terminal_sees_curves_actions_and_the_best(folder: Path) -> None:
    state, out = seen(folder, once=True, terminal=True)
    assert state == "running"
    for text in ("EUR_USD 2024-01-22", "pips an episode", "▁", "█", "HOLD 90.0%", "9,000 episodes/h", "40 updates/s"):
        assert text in out
    assert "best so far: 12.50 pips a session of the selection span, after 256 episodes" in out


def test_before_the_first_iteration_there_is_something_to_see(tmp_path: Path) -> None:
    ProgressFile(tmp_path, "a", {}).__enter__()
    console = Console(file=io.StringIO(), width=100)
    console.print(view(document(tmp_path), 0.0))
    assert "no weights have been judged" in console.file.getvalue()
    assert seen(tmp_path, once=True)[1].strip() == "0%, ETA unknown"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_killed_training_is_said_to_be(folder: Path, terminal: bool) -> None:
    process = dead_process()
    change(folder, process=process)
    assert state_of(document(folder)) == "killed"
    state, out = seen(folder, terminal=terminal)
    assert state == "killed"
    assert f"process {process} is gone" in out and "goes on where it was" in " ".join(out.split())


def test_a_failed_training_says_why(folder: Path) -> None:
    change(folder, state="failed", error="TrainingDivergedError: update 3 is not finite")
    assert seen(folder)[1].splitlines()[-1] == "failed: TrainingDivergedError: update 3 is not finite"


def test_curves_of_a_predecessor_are_shown_before_the_first_iteration(folder: Path) -> None:
    ProgressFile(folder, "a", {}).__enter__()
    assert document(folder)["figures"] == {} and document(folder)["curves"]
    for terminal in (True, False):
        assert seen(folder, once=True, terminal=terminal)[0] == "running"
    console = Console(file=io.StringIO(), width=120)
    console.print(view(document(folder), 0.0))
    (shown,) = (row for row in console.file.getvalue().splitlines() if "pips an episode" in row)
    assert shown.split()[:4] == ["pips", "an", "episode", "25"], "its last point"


def test_a_training_that_writes_nothing_is_not_said_to_run(folder: Path) -> None:
    late = document(folder)["updated_s"] + 301.0
    for terminal in (True, False):
        state, out = seen(folder, once=True, terminal=terminal, clock=lambda: late)
        assert state == "not responding"
        assert "not responding" in out and "running" not in out
        assert f"process {os.getpid()} has written nothing for long" in " ".join(out.split())
    assert "nothing written for 0:05:01" in seen(folder, once=True, clock=lambda: late)[1]
    # Ten of its iterations take longer than that.
    change(folder, figures={**document(folder)["figures"], "seconds": 60.0})
    assert seen(folder, once=True, clock=lambda: late)[0] == "running"


def test_a_training_that_answers_again_is_watched_to_its_end(folder: Path) -> None:
    now = [document(folder)["updated_s"] + 301.0]

    def sleep(seconds: float) -> None:
        now[0] += 10.0
        change(folder, state="finished" if document(folder)["fraction"] == 0.5 else "running", fraction=0.5,
               updated_s=now[0])  # fmt: skip

    state, out = seen(folder, clock=lambda: now[0], sleep=sleep)
    lines = out.splitlines()
    assert state == "finished" and lines[-1] == "finished"
    assert ["not responding" in text for text in lines] == [True, False, False, False]


def test_nothing_to_watch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no training to watch"):
        seen(tmp_path)


def test_the_command_leaves_with_status_1_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fx_pipeline.cli import app

    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "checkpoints" / "muzero" / "EUR_USD" / "2024-01-22" / "seed-7"
    command = ["watch", "EUR_USD", "2024-01-22"]
    assert CliRunner().invoke(app, command).exit_code == 2, "nothing is there"
    ProgressFile(place, "a", {}).__enter__()
    assert CliRunner().invoke(app, [*command, "--once"]).exit_code == 0
    change(place, process=dead_process())
    assert CliRunner().invoke(app, command).exit_code == 1


def test_of_several_seeds_the_one_that_wrote_last_is_watched(tmp_path: Path) -> None:
    assert newest_training(tmp_path) == tmp_path
    for seed, at_s in ((1, 10.0), (2, 30.0), (3, 20.0)):
        ProgressFile(tmp_path / f"seed-{seed}", "a", {}, clock=lambda at_s=at_s: at_s).__enter__()
    assert newest_training(tmp_path) == tmp_path / "seed-2"


def test_the_time_left_is_that_of_the_iterations_left(folder: Path) -> None:
    assert os.getpid() == document(folder)["process"]
    assert eta_s(document(folder)) == pytest.approx(150 * 2.0)


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.integers(1, 60))
def test_a_sparkline_is_as_wide_as_it_may_be(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(width, len(values))
    assert set(drawn) <= set("▁▂▃▄▅▆▇█")


def test_a_sparkline_and_an_action_bar_are_to_scale() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0], 10) == "▁▂▃█"
    assert sparkline([0.0, 0.0, 7.0, 7.0], 2) == "▁█"
    assert action_bar(FIGURES, 100).plain.count("█") == 100

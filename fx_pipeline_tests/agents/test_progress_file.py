"""The progress of a training: written now and then, whole at any moment, and gone on with by a successor."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from fx_pipeline.agents.progress_file import MAX_POINTS, PROGRESS_NAME, ProgressFile, read_progress
from fx_pipeline.market.errors import DataError


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def curve(folder: Path) -> list[list[float]]:
    return read_progress(folder)["curves"].get("loss", {"points": []})["points"]


def report(shown: ProgressFile, clock: Clock, *steps: int, seconds: float = 0.4) -> None:
    for step in steps:
        clock.now += seconds
        shown.report(step / 10, {"iterations": float(step), "loss": 1.0 / step})


def test_it_is_written_at_most_once_a_second_and_at_the_end(tmp_path: Path) -> None:
    clock, seen = Clock(), []
    with ProgressFile(tmp_path, "a", {"instrument": "EUR_USD"}, clock=clock) as shown:
        assert read_progress(tmp_path)["state"] == "running"
        for step in range(1, 7):
            report(shown, clock, step)
            seen.append(len(curve(tmp_path)))
    assert seen == [0, 0, 3, 3, 3, 6]
    found = read_progress(tmp_path)
    assert (found["state"], found["process"], found["began_s"]) == ("finished", os.getpid(), 1_000.0)
    assert found["training"] == {"instrument": "EUR_USD"}
    assert (found["fraction"], found["figures"]["iterations"]) == (0.6, 6.0)
    assert curve(tmp_path)[-1] == [6.0, 1 / 6]
    assert [path.name for path in tmp_path.iterdir()] == [PROGRESS_NAME]


def test_a_failure_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ProgressFile(tmp_path, "a", {}):
        _ = 1 / 0
    found = read_progress(tmp_path)
    assert (found["state"], found["error"]) == ("failed", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(("made_from", "expected"), [("a", [1, 2, 3, 4]), ("b", [3, 4])])
def test_a_training_taken_up_goes_on_with_its_curves(tmp_path: Path, made_from: str, expected: list[int]) -> None:
    clock = Clock()
    shown = ProgressFile(tmp_path, "a", {}, every_s=0.0, clock=clock)
    report(shown, clock, 1, 2, 3, 4, 5)
    # Killed: nobody closed it, and the bundle was of step 2.
    with ProgressFile(tmp_path, made_from, {}, clock=clock) as again:
        report(again, clock, 3, 4)
    assert [step for step, _ in curve(tmp_path)] == expected


def test_a_long_curve_is_thinned_evenly(tmp_path: Path) -> None:
    clock = Clock()
    with ProgressFile(tmp_path, "a", {}, clock=clock) as shown:
        report(shown, clock, *range(1, 5_001), seconds=0.0)
    steps = [step for step, _ in curve(tmp_path)]
    assert MAX_POINTS // 2 <= len(steps) <= MAX_POINTS
    strides = {later - earlier for earlier, later in pairwise(steps)}
    assert strides == {read_progress(tmp_path)["curves"]["loss"]["stride"]} == {32}
    assert steps[0] == 1.0 and steps[-1] > 5_000.0 - 32
    assert read_progress(tmp_path)["figures"]["loss"] == 1 / 5_000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_what_is_no_progress_is_named_and_written_anew(tmp_path: Path, content: bytes) -> None:
    assert read_progress(tmp_path) is None
    (tmp_path / PROGRESS_NAME).write_bytes(content)
    with pytest.raises(DataError, match=r"progress\.json is damaged .*it can be removed"):
        read_progress(tmp_path)
    with ProgressFile(tmp_path, "a", {}):
        assert read_progress(tmp_path)["curves"] == {}


def test_figure_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    with ProgressFile(tmp_path, "a", {}) as shown:
        shown.report(0.5, {"iterations": 1.0, "loss": float("nan"), "pips_per_episode": 2.0})
    assert read_progress(tmp_path)["figures"] == {"iterations": 1.0, "pips_per_episode": 2.0}

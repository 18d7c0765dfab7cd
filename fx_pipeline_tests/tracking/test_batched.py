"""Metrics in batches: nothing that waits is lost, and nothing is left out without a word."""

from collections.abc import Iterable

import pytest

from fx_pipeline.tracking.batched import BatchedMetrics
from fx_pipeline.tracking.run_handle import Point


class Run:
    """Keeps the steps that it is sent; `broken` refuses them."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.steps: list[int] = []

    def latest(self, metric: str) -> float | None:
        return None

    def log_points(self, points: Iterable[Point]) -> None:
        if self.broken:
            raise OSError("the store is away")
        self.steps += [point.step for point in points]


def test_what_waits_is_sent_when_a_training_fails() -> None:
    run = Run()
    with pytest.raises(ZeroDivisionError), BatchedMetrics(run, "iterations", every_s=1e9) as metrics:
        metrics.add({"iterations": 1.0})
        metrics.add({"iterations": 2.0})
        assert run.steps == []
        raise ZeroDivisionError
    assert run.steps == [1, 2]


def test_a_store_that_is_away_does_not_hide_why_a_training_failed(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), BatchedMetrics(Run(broken=True), "iterations", every_s=1e9) as metrics:
        metrics.add({"iterations": 1.0})
        raise ZeroDivisionError
    assert "metrics of the last 1 steps could not be sent" in caplog.text and "the store is away" in caplog.text
    with pytest.raises(OSError, match="away"), BatchedMetrics(Run(broken=True), "iterations", every_s=1e9) as metrics:
        metrics.add({"iterations": 1.0})


def test_a_value_that_is_not_finite_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with BatchedMetrics(Run(), "iterations") as metrics:
        for step in range(1, 4):
            metrics.add({"iterations": float(step), "loss": float("nan"), "reward": 1.0})
        metrics.add({"iterations": 4.0, "reward": float("inf")})
    assert [record.getMessage() for record in caplog.records] == [
        "not finite at step 1, and left out of the run: loss",
        "not finite at step 4, and left out of the run: reward",
    ]

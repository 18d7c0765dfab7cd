"""Metrics of a long run in batches: a call of the store every so often, not one for each step."""

import time
from collections.abc import Mapping, Sequence

from fx_pipeline.tracking.mlflow_store import Clock, Point, RunHandle

EVERY_S = 15.0


class BatchedMetrics:
    """Collects the metrics of steps, and sends them together.

    Steps that the run already has, from a process that was killed, are not sent again.

    Parameters
    ----------
    run : RunHandle
    counter : str
        The metric that counts the steps.
    every_s : float
        Seconds between two calls of the store, as far as there is something to send.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, run: RunHandle, counter: str, every_s: float = EVERY_S, clock: Clock = time.time) -> None:
        self._run = run
        self._counter = counter
        self._every_s = every_s
        self._clock = clock
        self._before = int(run.latest(counter) or 0)
        self._seen: set[int] = set()
        self._waiting: list[Point] = []
        self._sent_s = clock()

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step, and send what waits if it is time."""
        step = int(metrics[self._counter])
        if step <= self._before or step in self._seen:
            return
        self._seen.add(step)
        self._waiting.append(Point(step, self._clock(), dict(metrics)))
        if self._clock() - self._sent_s >= self._every_s:
            self.send()

    def complete(self, history: Sequence[Mapping[str, float]]) -> None:
        """Add the steps that a killed process had made and not sent, and send all that waits."""
        for metrics in history:
            self.add(metrics)
        self.send()

    def send(self) -> None:
        """Send what waits."""
        self._run.log_points(self._waiting)
        self._waiting = []
        self._sent_s = self._clock()

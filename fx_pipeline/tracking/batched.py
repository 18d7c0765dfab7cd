"""Metrics of a long run in batches: a call of the store every so often, not one for each step."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from fx_pipeline.tracking.run_handle import Clock, Point, RunHandle

EVERY_S = 15.0

logger = logging.getLogger(__name__)


class BatchedMetrics:
    """Collects the metrics of steps, and sends them together.

    What waits at the end of a `with` statement is sent, also after an error. Steps that the run already has, from a
    process that was killed, are not sent again.

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
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.send()
        except Exception:
            if error is None:
                raise
            # The error of the body is the one to hear of.
            logger.exception("the metrics of the last %d steps could not be sent", len(self._waiting))

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step, and send what waits if it is time.

        The store cannot hold a value that is not finite: it is left out, with a warning at a metric's first.
        """
        step = int(metrics[self._counter])
        if step <= self._before or step in self._seen:
            return
        self._seen.add(step)
        broken = {name for name, value in metrics.items() if not math.isfinite(value)} - self._warned
        if broken:
            self._warned |= broken
            logger.warning("not finite at step %d, and left out of the run: %s", step, ", ".join(sorted(broken)))
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

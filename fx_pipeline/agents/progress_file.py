"""A file that says how far a training is, for whoever wants to watch it from another process."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fx_pipeline.market.atomic import atomic_write_bytes
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.market.records import Shape, read_record

PROGRESS_NAME = "progress.json"
RUNNING, FINISHED, FAILED = "running", "finished", "failed"
#: Points of a curve that are kept; beyond that every other one goes, and only every other one comes.
MAX_POINTS = 160
SCHEMA = 1

logger = logging.getLogger(__name__)


class _Curve(Shape):
    stride: int
    seen: int
    points: list[list[float]]


class _Document(Shape):
    state: str
    process: int
    began_s: float
    updated_s: float
    training: dict[str, Any]
    made_from: str
    fraction: float
    figures: dict[str, float]
    curves: dict[str, _Curve]
    error: str | None


class ProgressFile:
    """Writes `progress.json` into a training's folder while the body of a `with` statement runs.

    The file has `state` ("running", "finished" or "failed"), `process` (its id), `began_s` and `updated_s` (since the
    epoch), `training` (what is trained), `made_from` (identity of its inputs), `fraction`, `figures` (by name, the
    newest value), `curves` (by name, `points`, pairs of iteration and value, `stride` of them and how many were `seen`)
    and `error` (of a failed training). A training that is taken up goes on with the curves of its predecessor.

    Parameters
    ----------
    folder : Path
    made_from : str
    training : Mapping
        JSON values that say what is trained.
    every_s : float
        Fewest seconds between two writes.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        made_from: str,
        training: Mapping[str, Any],
        every_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = folder / PROGRESS_NAME
        self._every_s = every_s
        self._clock = clock
        self._written_s = 0.0
        try:
            before = read_progress(folder)
        except FxPipelineError as error:
            logger.warning("%s It is begun anew.", error)
            before = None
        taken_up = before is not None and before["made_from"] == made_from and before["state"] != FINISHED
        self._document: dict[str, Any] = {
            "schema": SCHEMA,
            "state": RUNNING,
            "process": os.getpid(),
            "began_s": clock(),
            "training": dict(training),
            "made_from": made_from,
            "fraction": 0.0,
            "figures": {},
            "curves": before["curves"] if taken_up and before is not None else {},
            "error": None,
        }

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._document["state"] = FINISHED if kind is None else FAILED
        if error is not None:
            self._document["error"] = f"{type(error).__name__}: {error}"
        self._write()

    def report(self, fraction: float, figures: Mapping[str, float]) -> None:
        """Take the metrics of an iteration; see `fx_pipeline.agents.base.Progress`."""
        document, step = self._document, figures.get("iterations", 0.0)
        # JSON has no number for what a diverged training reports; its error says so.
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        document["fraction"] = fraction
        document["figures"] |= figures
        for name, value in figures.items():
            curve = document["curves"].setdefault(name, {"stride": 1, "seen": 0, "points": []})
            _forget_from(curve, step)
            if curve["seen"] % curve["stride"] == 0:
                curve["points"].append([step, value])
            curve["seen"] += 1
            if len(curve["points"]) > MAX_POINTS:
                curve["points"], curve["stride"] = curve["points"][::2], 2 * curve["stride"]
        if self._clock() - self._written_s >= self._every_s:
            self._write()

    def _write(self) -> None:
        self._written_s = self._clock()
        text = json.dumps({**self._document, "updated_s": self._written_s})
        # A power cut costs a look at the curves and nothing else: flushing would cost each second a few milliseconds.
        atomic_write_bytes(self.path, text.encode(), sync=False)


def _forget_from(curve: dict[str, Any], step: float) -> None:
    """Drop what lies ahead: it is of a process that was killed, whose steps are made again."""
    points = curve["points"]
    if points and points[-1][0] >= step:
        curve["points"] = [point for point in points if point[0] < step]
        curve["seen"] = len(curve["points"]) * curve["stride"]


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Read the progress of the training in `folder`; None if there is none.

    Raises
    ------
    DataError
        If it is damaged, or of another version.
    """
    path = folder / PROGRESS_NAME
    if not path.exists():
        return None
    mend = "a training that runs writes it again within seconds; nothing else depends on it, it can be removed."
    return read_record(path, _Document, mend, SCHEMA)

"""What a training says and keeps of itself while a proof watches it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fx_pipeline.agents.base import Progress


class Recorder:
    """Listens to a training: its learning curve, and copies of the weights that it had at some moments.

    Parameters
    ----------
    milestones : sequence of int
        Episodes, increasing, after which the weights are copied.
    newest : Path or None
        Checkpoint of the newest weights that the training has kept, which may not be there yet; None if it keeps none.
    copies : Path
        Folder of the copies.
    progress : callable
        Told the fraction done, less than 1, and the figures to show.
    clock : callable
        Seconds.

    Attributes
    ----------
    began : float
        When the training began, by the clock.
    curve : list of (float, float)
        (seconds of training, pips per episode), with the training's exploration on.
    passed : dict
        Milestone to seconds of training, for those of which there are weights.
    """

    def __init__(
        self,
        milestones: Sequence[int],
        newest: Path | None,
        copies: Path,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self.began = clock()
        self.curve: list[tuple[float, float]] = []
        self.passed: dict[int, float] = {}
        self._milestones, self._newest, self._copies = milestones, newest, copies
        self._progress, self._clock = progress, clock
        self._figures: dict[str, float] = {}

    def copy_of(self, milestone: int) -> Path:
        """The folder of the weights of a milestone that was passed."""
        return self._copies / f"{milestone}"

    def listen(self, fraction: float, metrics: Mapping[str, float]) -> None:
        """Take what a training tells of an iteration; a `Progress`."""
        if not self._figures:
            # What a trainer loads before its first iteration is not training.
            self.began = self._clock() - metrics.get("seconds", 0.0)
        for name, shown in (("episodes", "episodes"), ("pips_per_episode", "pips an episode so far")):
            if name in metrics:
                self._figures[shown] = metrics[name]
        if "pips_per_episode" in metrics:
            self.curve.append((self._seconds(), float(metrics["pips_per_episode"])))
        for milestone in self._milestones:
            # Episodes are counted when they begin: once there are more, what was learned of those before is kept.
            if milestone < metrics.get("episodes", 0.0) and milestone not in self.passed:
                self._copy(milestone)
        # 1.0 says that the judging, too, is done.
        self._progress(min(fraction, 0.999), self._figures)

    def _copy(self, milestone: int) -> None:
        if self._newest is not None and self._newest.exists():
            shutil.copytree(self._newest, self.copy_of(milestone))
            self.passed[milestone] = self._seconds()

    def _seconds(self) -> float:
        return round(self._clock() - self.began, 3)

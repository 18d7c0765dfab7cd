"""The trainer: what a training leaves in its folder, and when."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fx_pipeline.agents.base import Budget, Checkpoint, OnScore, Progress, TrainingData
from fx_pipeline.agents.kit.retention import Retention
from fx_pipeline.agents.kit.torch_settings import torch_settings
from fx_pipeline.agents.ppo.bundle import BUNDLE_NAME
from fx_pipeline.agents.ppo.config import PpoConfig
from fx_pipeline.agents.ppo.training import Training
from fx_pipeline.market.errors import DataError

BUNDLE_FOLDER, KEPT_FOLDER = "bundle", "kept"


class PpoTrainer:
    """Implements `fx_pipeline.agents.base.Trainer`.

    Parameters
    ----------
    config : PpoConfig
    """

    def __init__(self, config: PpoConfig) -> None:
        self.config = config

    def train(
        self,
        data: TrainingData,
        budget: Budget,
        *,
        seed: int,
        folder: Path,
        resume: bool = True,
        progress: Progress | None = None,
        on_score: OnScore | None = None,
    ) -> Checkpoint:
        """Train and write a checkpoint into `folder`.

        The checkpoint has the weights that were best on the selection span (`selection`), or the newest ones where
        there is none. The same configuration, data, budget, seed and code give the same bytes on the same machine,
        whether or not the training was killed in between, unless the budget has a clock.

        While it runs, `folder/bundle` holds what a resumed training needs; a bundle of another training is ignored.
        `folder/kept` holds complete checkpoints, and stays: `latest`, `best`, and `episode-001280` and the like, of
        which the newest five are kept.

        Parameters
        ----------
        data : TrainingData
        budget : Budget
            Of sessions. With `minutes`, the clock starts once the kernels are loaded.
        seed : int
            Not negative.
        folder : Path
        resume : bool
            Whether to take up an interrupted training.
        progress : callable, optional
            Called after each rollout with the fraction done and its metrics, and with `seconds` (the rollout's),
            `steps_per_s` and `episodes_per_hour`, which are not in `history`: nothing there depends on the clock.
        on_score : callable, optional
            Called with each score on the selection span before weights are chosen by it.

        Returns
        -------
        Checkpoint
            `history` has one entry a rollout.

        Raises
        ------
        DataError
            If there is no session to learn from, or too short a budget.
        TrainingDivergedError
            If a loss is not finite. What stands in `folder` and in `folder/kept` is left.
        """
        if len(data.starts) == 0:
            raise DataError(f"there is no valid session of {data.market.instrument} to train on: give it more data.")
        if budget.episodes < 2:
            raise DataError("ppo learns from sessions side by side: give it a budget of two episodes at least.")
        folder = Path(folder)
        with torch_settings(self.config.runtime.threads):
            training = Training(self.config, data, budget, seed, folder / BUNDLE_FOLDER / BUNDLE_NAME, on_score)
            if resume:
                training.restore()
            kept = Retention(folder / KEPT_FOLDER, training.identity_digest)
            while not training.over:
                metrics, speed = training.iterate(kept)
                if progress is not None:
                    progress(training.done, {**metrics, **speed})
            metrics = closing_metrics(training.history)
            sha256 = training.write(folder, metrics, chosen=True)
        shutil.rmtree(folder / BUNDLE_FOLDER, ignore_errors=True)
        return Checkpoint(folder, sha256, metrics, training.history)


def closing_metrics(history: list[Mapping[str, float]], iterations: int = 10) -> dict[str, float]:
    """Means over the last iterations, and the counters of the last one; what was selected has a place of its own."""
    metrics = {name: float(history[-1][name]) for name in ("iterations", "episodes", "steps", "updates")}
    recent = history[-iterations:]
    names = {name for entry in recent for name in entry if not name.startswith("selection_")} - set(metrics)
    for name in sorted(names):
        metrics[name] = float(np.mean([entry[name] for entry in recent if name in entry]))
    return metrics

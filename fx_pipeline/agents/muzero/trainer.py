"""Training: self-play beside learning, exactly repeatable and exactly resumable.

An iteration plays one segment with the weights of its beginning while the learner makes the updates that the segments
before it have earned. What each of the two sees is settled before they start, so nothing depends on which is faster.
"""

import logging
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fx_pipeline.agents.base import Budget, Checkpoint, Progress, TrainingData
from fx_pipeline.agents.muzero.bundle import BUNDLE_NAME, read_bundle, write_bundle
from fx_pipeline.agents.muzero.checkpoint import write_checkpoint
from fx_pipeline.agents.muzero.config import MuZeroConfig
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.identity import code_version, data_fingerprint
from fx_pipeline.agents.muzero.learner import Learner
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.planner import make_planner, resolve_engine
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.seeds import Purpose, derived_seed, generator
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.agents.muzero.torch_settings import torch_settings
from fx_pipeline.market.errors import DataError

BUNDLE_FOLDER = "bundle"

logger = logging.getLogger(__name__)


class MuZeroTrainer:
    """Implements `fx_pipeline.agents.base.Trainer`.

    Parameters
    ----------
    config : MuZeroConfig
    """

    def __init__(self, config: MuZeroConfig) -> None:
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
    ) -> Checkpoint:
        """Train and write a checkpoint into `folder`.

        The same configuration, data, budget, seed and code give the same bytes on the same machine, whether or not the
        training was killed in between, unless the budget has a clock. While it runs, `folder/bundle` holds what a
        resumed training needs; a bundle of another training is ignored.

        Parameters
        ----------
        data : TrainingData
        budget : Budget
            With `minutes`, the clock starts with this call, and time before an interruption does not count.
        seed : int
            Not negative.
        folder : Path
        resume : bool
            Whether to take up an interrupted training.
        progress : callable, optional
            Called after each iteration with the fraction done and its metrics, and `steps_per_s`, `updates_per_s`
            and `seconds` (the iteration's), which are not in `history`: nothing there depends on the clock.

        Returns
        -------
        Checkpoint
            `history` has one entry an iteration.

        Raises
        ------
        DataError
            If there is no session to learn from.
        TrainingDivergedError
            If a loss is not finite. What stands in `folder` is kept.
        """
        if len(data.starts) == 0:
            raise DataError(f"there is no valid session of {data.market.instrument} to train on: give it more data.")
        folder = Path(folder)
        with torch_settings(self.config.runtime.threads):
            training = _Training(self.config, data, budget, seed, folder / BUNDLE_FOLDER / BUNDLE_NAME)
            if resume:
                training.restore()
            while training.fraction < 1.0:
                metrics, speed = training.iterate()
                if progress is not None:
                    progress(training.fraction, {**metrics, **speed})
            training.finish()
        history = training.history
        metrics = _closing_metrics(history)
        sha256 = write_checkpoint(
            folder, training.networks, self.config, data, seed=seed, counters=training.counters(), metrics=metrics
        )
        shutil.rmtree(folder / BUNDLE_FOLDER, ignore_errors=True)
        return Checkpoint(folder, sha256, metrics, history)


class _Training:
    """A training under way."""

    def __init__(self, config: MuZeroConfig, data: TrainingData, budget: Budget, seed: int, bundle: Path) -> None:
        self.config, self.data, self.budget, self.seed, self.bundle = config, data, budget, seed, bundle
        settings = config.selfplay
        self.networks = build_networks(config.network, derived_seed(seed, Purpose.WEIGHTS), settings.window_bars)
        self.learner = Learner(self.networks, config.learner)
        # Weights depend on the precision of self-play, so it belongs to what a training is.
        self.engine = resolve_engine(config.runtime.engine, self.networks)
        self.planner = make_planner(self.engine, self.networks, config.search, workers=config.runtime.workers)
        self.replay = Replay(config.replay, settings.session_bars)
        self.selfplay = SelfPlay(config, data, self.replay, seed)
        # The oracle's torch would contend with the learner's for its threads.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="selfplay") if isinstance(self.planner, Engine) else None
        self._began_s = time.monotonic()
        self.episodes = 0
        self.steps = 0
        self.history: list[Mapping[str, float]] = []

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, of episodes or of the clock, whichever is further on."""
        played = self.steps / (self.budget.episodes * self.config.selfplay.session_bars)
        if self.budget.minutes is None:
            return played
        return max(played, (time.monotonic() - self._began_s) / (60.0 * self.budget.minutes))

    def counters(self) -> dict[str, int]:
        return {
            "iterations": len(self.history),
            "episodes": self.episodes,
            "steps": self.steps,
            "updates": self.learner.updates,
        }

    def iterate(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Play one segment, learn from what was played before it, and keep a bundle now and then.

        Returns
        -------
        metrics, speed : Mapping
            What is repeatable, and what depends on the clock.
        """
        settings = self.config.selfplay
        if not self.selfplay.in_wave:
            episodes = min(settings.environments, self.budget.episodes - self.episodes)
            self.selfplay.begin(self.episodes, episodes)
            self.episodes += episodes
        self.planner.refresh()
        began_s, updates = time.monotonic(), self.learner.updates
        learned, played = self._learn_and_play()
        self.selfplay.commit()
        segment_steps = self.selfplay.wave_size * settings.segment_bars
        self.steps += segment_steps
        metrics: dict[str, float] = {}
        self.history.append(metrics)
        metrics |= {name: float(count) for name, count in self.counters().items()}
        metrics["temperature"] = settings.temperature(self.episodes - self.selfplay.wave_size)
        metrics["replay_steps"] = float(self.replay.steps)
        metrics |= played | learned
        if len(self.history) % self.config.runtime.bundle_every == 0:
            self._keep()
        seconds = time.monotonic() - began_s
        speed = {
            "seconds": seconds,
            "steps_per_s": segment_steps / seconds,
            "updates_per_s": (self.learner.updates - updates) / seconds,
        }
        return metrics, speed

    def finish(self) -> None:
        """Make the updates that the last segment has earned."""
        self._learn()

    def _learn_and_play(self) -> tuple[dict[str, float], dict[str, float]]:
        if self._beside is None:
            played = self.selfplay.collect(self.planner)
            return self._learn(), played
        playing = self._beside.submit(self.selfplay.collect, self.planner)
        try:
            learned = self._learn()
        finally:
            # Not even a failure may leave a thread that writes into the replay.
            played = playing.result()
        return learned, played

    def _learn(self) -> dict[str, float]:
        config = self.config.learner
        owed = int(self.steps * config.replay_ratio / config.batch_size) - self.learner.updates
        sums: dict[str, float] = {}
        for _ in range(owed):
            update = self.learner.updates
            batch = self.replay.sample(
                self.data.market,
                config,
                window_bars=self.config.selfplay.window_bars,
                discount=self.config.search.discount,
                generator=generator(self.seed, Purpose.BATCH, update),
            )
            losses = self.learner.update(
                batch, dropout_seed=derived_seed(self.seed, Purpose.DROPOUT, update), progress=self.fraction
            )
            losses["value_target_mean"] = float(batch.values.mean())
            losses["value_target_sd"] = float(batch.values.std())
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: value / owed for name, value in sums.items()}

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.digest(),
            "data": data_fingerprint(self.data),
            "seed": self.seed,
            "episodes": self.budget.episodes,
            "minutes": self.budget.minutes,
            "code": code_version(),
            "engine": self.engine,
        }

    def _keep(self) -> None:
        header = {
            "identity": self._identity(),
            "episodes": self.episodes,
            "steps": self.steps,
            "wave_size": self.selfplay.wave_size if self.selfplay.in_wave else 0,
            "history": self.history,
        }
        write_bundle(self.bundle, header, self.learner, self.replay)

    def restore(self) -> None:
        """Take up an interrupted training, if its bundle is there."""
        header = read_bundle(self.bundle, self._identity(), self.learner, self.replay)
        if header is None:
            return
        self.episodes, self.steps, self.history = header["episodes"], header["steps"], header["history"]
        if header["wave_size"]:
            self.selfplay.restore(self.episodes - header["wave_size"], header["wave_size"])
        logger.info("training goes on after iteration %d of the bundle %s", len(self.history), self.bundle)


def _closing_metrics(history: list[Mapping[str, float]], iterations: int = 10) -> dict[str, float]:
    """Means over the last iterations of what they have in common, and the counters of the last one."""
    metrics = {name: float(history[-1][name]) for name in ("iterations", "episodes", "steps", "updates")}
    recent = history[-iterations:]
    names = {name for entry in recent for name in entry} - set(metrics)
    for name in sorted(names):
        metrics[name] = float(np.mean([entry[name] for entry in recent if name in entry]))
    return metrics

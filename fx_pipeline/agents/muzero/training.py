"""A training under way: self-play beside learning, exactly repeatable and exactly resumable.

An iteration plays one segment with the weights of its beginning while the learner makes the updates that the segments
before it have earned. What each of the two sees is settled before they start, so nothing depends on which is faster.
"""

import copy
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fx_pipeline.agents.base import Budget, OnScore, SelectionScore, TrainingData
from fx_pipeline.agents.fingerprint import data_fingerprint
from fx_pipeline.agents.kit.retention import Retention
from fx_pipeline.agents.kit.torch_settings import CPU, learning_device
from fx_pipeline.agents.muzero.batch import Mirror
from fx_pipeline.agents.muzero.bundle import read_bundle, write_bundle
from fx_pipeline.agents.muzero.checkpoint import weights_sha256, write_checkpoint
from fx_pipeline.agents.muzero.config import MuZeroConfig
from fx_pipeline.agents.muzero.engine.engine import Engine, workers_available
from fx_pipeline.agents.muzero.health import replay_health, target_saturation
from fx_pipeline.agents.muzero.identity import code_version
from fx_pipeline.agents.muzero.learner import Learner
from fx_pipeline.agents.muzero.networks import MuZeroNetworks, build_networks
from fx_pipeline.agents.muzero.planner import make_planner, resolve_engine
from fx_pipeline.agents.muzero.reanalyze import Reanalyzer
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.seeds import Purpose, derived_seed, generator
from fx_pipeline.agents.muzero.selection import Judge, Judged, Judgement, split_starts
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.features.registry import feature_set

logger = logging.getLogger(__name__)


class Training:
    """All that a training is made of.

    Parameters
    ----------
    config : MuZeroConfig
    data : TrainingData
    budget : Budget
    seed : int
    bundle : Path
        From which it can be taken up.
    on_score : callable, optional
        Called with each score on the selection span before it decides anything.

    Attributes
    ----------
    history : list of Mapping
        Metrics of each iteration.
    done : float
        Share of the budget that was spent at the end of the latest iteration; 1 or more ends the training.
    best : Judgement or None
        Of the best weights so far; None while nothing has been judged.
    """

    def __init__(
        self,
        config: MuZeroConfig,
        data: TrainingData,
        budget: Budget,
        seed: int,
        bundle: Path,
        on_score: OnScore | None = None,
    ) -> None:
        self.config, self.data, self.budget, self.seed, self.bundle = config, data, budget, seed, bundle
        config.check_session(data.rules.bars)
        features = feature_set(data.market.feature_set)
        warmup_bars = features.warmup_bars(data.market.timeframe)
        split = split_starts(data.starts, config.selection, data.rules.bars, data.rules.window_bars, warmup_bars)
        networks = build_networks(config.network, derived_seed(seed, Purpose.WEIGHTS), data.spec, data.market.unit_pips)
        self._mirror = Mirror.of(features, data.actions) if config.learner.mirror else None
        if config.learner.mirror and self._mirror is None:
            logger.info("samples are not mirrored: %s or %s has no mirror", features.name, data.actions.name)
        # Weights depend on the precision of self-play and on the device, so they belong to what a training is.
        self.engine = resolve_engine(config.runtime.engine, networks)
        device = learning_device(config.runtime.device)
        self.device = device.type
        self.learner = Learner(networks, config.learner, derived_seed(seed, Purpose.PROJECTION), device)
        # A core that the learner works on is not free for self-play beside it.
        runtime, cores = config.runtime, workers_available()
        free = runtime.workers or cores - runtime.threads
        # Threads that share a layer wait for the slowest: none may have its core taken from it.
        turns = free < 1 and runtime.threads > 1 and device == CPU
        workers = cores if turns else max(1, free)
        self.planner = make_planner(self.engine, self.learner.acting, config.search, workers=workers)
        self.replay = Replay(config.replay, data.rules.bars, data.actions)
        self.selfplay = SelfPlay(config, replace(data, starts=split.played), self.replay, seed)
        self._reanalyzer = Reanalyzer(
            self.replay,
            data.market,
            data.rules.window_bars,
            config.learner.reanalyze_share,
            seed,
            config.selfplay.root_value == "best",
            data.actions,
        )
        self._judge = Judge(config, data, split.judged) if len(split.judged) else None
        compiled = isinstance(self.planner, Engine)
        # The oracle's torch would contend with the learner's for its threads.
        beside = compiled and not turns
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="selfplay") if beside else None
        if budget.minutes is not None and compiled:
            # Self-play's kernels are loaded, and on a fresh machine compiled, before the clock starts.
            Judge(config, data, np.resize(split.played, 2)).judge(self.planner, 0)
        self._on_score = on_score
        self._began_s = time.monotonic()
        self.episodes = 0
        self.steps = 0
        self.history: list[Mapping[str, float]] = []
        self.done = 0.0
        self.best: Judgement | None = None
        self._best_weights: dict[str, Tensor] = {}

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, of episodes or of the clock, whichever is further on."""
        played = self.steps / (self.budget.episodes * self.data.rules.bars)
        if self.budget.minutes is None:
            return played
        return max(played, (time.monotonic() - self._began_s) / (60.0 * self.budget.minutes))

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.done >= 1.0

    @property
    def identity_digest(self) -> str:
        """SHA-256 of what makes this training another one than any other."""
        return hashlib.sha256(json.dumps(self._identity(), sort_keys=True).encode()).hexdigest()

    @property
    def selection(self) -> dict[str, float] | None:
        """What is known of the best weights, for a record."""
        return None if self.best is None else asdict(self.best)

    def counters(self) -> dict[str, int]:
        """How far it is."""
        return {
            "iterations": len(self.history),
            "episodes": self.episodes,
            "steps": self.steps,
            "updates": self.learner.updates,
        }

    def chosen(self) -> MuZeroNetworks:
        """The networks that are the result: with the best weights, or the newest if none have been judged."""
        self.learner.publish()
        networks = copy.deepcopy(self.learner.acting)
        if self.best is not None:
            networks.load_state_dict(self._best_weights)
        return networks

    def iterate(self, kept: Retention) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Play one segment, learn from what was played before it, and keep what is due.

        After the last segment, the updates that it has earned are made, too.

        Parameters
        ----------
        kept : Retention
            Where checkpoints are kept at the end of each wave.

        Returns
        -------
        metrics, speed : Mapping
            What is repeatable, and what depends on the clock.
        """
        settings = self.config.selfplay
        began_s, updates = time.monotonic(), self.learner.updates
        if not self.selfplay.in_wave:
            episodes = min(settings.environments, self.budget.episodes - self.episodes)
            self.selfplay.begin(self.episodes, episodes, settings.annealed(self.episodes, self.fraction))
            self.episodes += episodes
        self._refresh()
        reanalyzed = self._reanalyzer.refresh(self.planner, self.steps)
        learned, played = self._learn_and_play()
        self.selfplay.commit()
        segment_steps = self.selfplay.wave_size * self.selfplay.segment_bars
        self.steps += segment_steps
        self.done = self.fraction
        if self.over:
            learned |= self._learn()
        metrics: dict[str, float] = {}
        self.history.append(metrics)
        metrics |= {name: float(count) for name, count in self.counters().items()}
        metrics["temperature"] = settings.temperature(self.selfplay.annealed)
        metrics |= replay_health(self.replay)
        if self.config.learner.reanalyze_share:
            metrics["reanalyzed_steps"] = float(reanalyzed)
        metrics |= played | learned
        if self.over or not self.selfplay.in_wave:
            self._keep(kept, metrics)
        if len(self.history) % self.config.runtime.bundle_every == 0:
            self._write_bundle()
        seconds = time.monotonic() - began_s
        speed = {
            "seconds": seconds,
            "steps_per_s": segment_steps / seconds,
            "updates_per_s": (self.learner.updates - updates) / seconds,
            "episodes_per_hour": 3_600.0 * segment_steps / self.data.rules.bars / seconds,
        }
        return metrics, speed

    def restore(self) -> None:
        """Take up an interrupted training, if its bundle is there."""
        found = read_bundle(self.bundle, self._identity(), self.learner, self.replay)
        if found is None:
            return
        header, self._best_weights = found
        self.episodes, self.steps, self.history = header["episodes"], header["steps"], header["history"]
        self.best = None if header["best"] is None else Judgement(**header["best"])
        if header["wave_size"]:
            first = self.episodes - header["wave_size"]
            self.selfplay.restore(first, header["wave_size"], header["annealed"])
        self.done = self.fraction
        logger.info("training goes on after iteration %d of the bundle %s", len(self.history), self.bundle)

    def _refresh(self) -> None:
        self.learner.publish()
        self.planner.refresh()

    def _learn_and_play(self) -> tuple[dict[str, float], dict[str, float]]:
        if self._beside is None:
            played = self.selfplay.collect(self.planner)
            return self._learn(), played
        playing = self._beside.submit(self.selfplay.collect, self.planner)
        try:
            learned = self._learn()
        finally:
            # Not even a failure may leave a thread that writes into the replay. The learner's own error comes first.
            wait([playing])
        return learned, playing.result()

    def _learn(self) -> dict[str, float]:
        config = self.config.learner
        owed = int(self.steps * config.replay_ratio / config.batch_size) - self.learner.updates
        support_pips = self.config.network.support_pips * self.data.market.unit_pips
        sums: dict[str, float] = {}
        for _ in range(owed):
            update = self.learner.updates
            batch = self.replay.sample(
                self.data.market,
                config,
                window_bars=self.data.rules.window_bars,
                discount=self.config.search.discount,
                generator=generator(self.seed, Purpose.BATCH, update),
                mirror=self._mirror,
            )
            losses = self.learner.update(
                batch, dropout_seed=derived_seed(self.seed, Purpose.DROPOUT, update), progress=self.fraction
            )
            self.replay.feed_back(batch, self.learner.td_errors)
            losses["value_target_mean"] = float(batch.values.mean())
            losses["value_target_sd"] = float(batch.values.std())
            losses["value_saturation"] = target_saturation(batch, support_pips)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: value / owed for name, value in sums.items()}

    def _keep(self, kept: Retention, metrics: dict[str, float]) -> None:
        """Judge the weights if it is time, and keep a checkpoint of them."""
        before = self.episodes - self.selfplay.wave_size
        self.learner.publish()

        def due(every: int) -> bool:
            return self.episodes // every > before // every

        judgement, is_best = None, False
        if self._judge is not None and (self.over or due(self.config.selection.every_episodes)):
            self._refresh()
            judged = self._judge.judge(self.planner, self.episodes)
            self._say(judged)
            judgement = judged.judgement
            metrics |= judgement.metrics()
            is_best = self.best is None or judgement.score > self.best.score
        if is_best:
            self.best = judgement
            self._best_weights = {name: tensor.clone() for name, tensor in self.learner.acting.state_dict().items()}
        if self.best is not None:
            metrics["selection_best_pips"] = self.best.pips
            metrics["selection_best_episode"] = float(self.best.episode)

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                self.learner.acting,
                self.config,
                self.data,
                seed=self.seed,
                device=self.device,
                counters=self.counters(),
                metrics=metrics,
                selection=None if judgement is None else asdict(judgement),
            )

        kept.keep(self.episodes, write, best=is_best, due=due(self.config.runtime.keep_every))

    def _say(self, judged: Judged) -> None:
        if self._on_score is None:
            return
        score = SelectionScore(
            weights_sha256(self.learner.acting),
            self.config.digest(),
            code_version(),
            judged.judgement.episode,
            judged.session_ns,
            judged.session_pnl_pips,
            judged.trade_pnl_pips,
        )
        self._on_score(score)

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.digest(),
            "data": data_fingerprint(self.data),
            "seed": self.seed,
            "episodes": self.budget.episodes,
            "minutes": self.budget.minutes,
            "code": code_version(),
            "engine": self.engine,
            "device": self.device,
            "precision": self.learner.precision,
        }

    def _write_bundle(self) -> None:
        header = {
            "identity": self._identity(),
            "episodes": self.episodes,
            "steps": self.steps,
            "wave_size": self.selfplay.wave_size if self.selfplay.in_wave else 0,
            "annealed": self.selfplay.annealed,
            "history": self.history,
            "best": self.selection,
        }
        write_bundle(self.bundle, header, self.learner, self.replay, self._best_weights)

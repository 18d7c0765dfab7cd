"""A training under way: play a rollout, learn from it, judge now and then; exactly repeatable and resumable."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fx_pipeline.agents.base import Budget, OnScore, SelectionScore, TrainingData
from fx_pipeline.agents.fingerprint import data_fingerprint
from fx_pipeline.agents.kit.retention import Retention
from fx_pipeline.agents.kit.selection import Judge, Judgement, split_starts
from fx_pipeline.agents.ppo import gate
from fx_pipeline.agents.ppo.bundle import read_bundle, write_bundle
from fx_pipeline.agents.ppo.checkpoint import ENTRY, serialised, write_checkpoint
from fx_pipeline.agents.ppo.config import PpoConfig
from fx_pipeline.agents.ppo.curriculum import cost_share, mixed
from fx_pipeline.agents.ppo.learner import Learner
from fx_pipeline.agents.ppo.networks import layers_of
from fx_pipeline.agents.ppo.policy import PpoPolicy
from fx_pipeline.agents.ppo.vec_env import TradingVecEnv, can_mirror
from fx_pipeline.agents.ppo.weights import loser_weight, step_weights
from fx_pipeline.market.costs import build_fills, frictionless
from fx_pipeline.provenance.closure import code_version

logger = logging.getLogger(__name__)


class Training:
    """All that a training is made of.

    Parameters
    ----------
    config : PpoConfig
    data : TrainingData
    budget : Budget
        Episodes are sessions; a rollout plays one in each environment, so the last rollout may play a few more.
    seed : int
    bundle : Path
        From which it can be taken up.
    on_score : callable, optional
        Called with each score on the selection span before it decides anything.

    Attributes
    ----------
    history : list of Mapping
        Metrics of each rollout.
    done : float
        Share of the budget that was spent at the end of the latest rollout; 1 or more ends the training.
    best : Judgement or None
        Of the best weights so far; None while nothing has been judged.
    """

    def __init__(
        self,
        config: PpoConfig,
        data: TrainingData,
        budget: Budget,
        seed: int,
        bundle: Path,
        on_score: OnScore | None = None,
    ) -> None:
        self.config, self.data, self.budget, self.seed, self.bundle = config, data, budget, seed, bundle
        split = split_starts(data, config.selection.share, config.selection.sessions)
        market = data.market
        closed = None
        self.threshold: float | None = None
        if config.gate.on:
            column = gate.change_column(config.gate, market.feature_set)
            moves = gate.market_moves(market, column, data.rules.window_bars, config.gate.bars)
            self.threshold = gate.threshold(moves, split.played, data.rules.bars, config.gate.rate)
            closed = moves < self.threshold
        self._fills = build_fills(market, data.costs)
        self._free = build_fills(market, frictionless(data.costs))
        self._share = 1.0
        self.reward_scale = config.rollout.change_reward / usual_change_pips(data, split.played)
        self.environment = TradingVecEnv(
            market,
            self._fills,
            split.played,
            config.reward,
            rules=data.rules,
            actions=data.actions,
            environments=min(config.rollout.environments, budget.episodes),
            seed=seed,
            reward_scale=self.reward_scale,
            closed=closed,
            mirror=config.rollout.mirror and can_mirror(market.feature_set, data.actions),
        )
        self.learner = Learner(config, self.environment, data.rules.bars, seed)
        self._judge = Judge(data, split.judged, config.selection.standard_errors) if len(split.judged) else None
        if budget.minutes is not None:
            # Kernels are loaded, and on a fresh machine compiled, before the clock starts.
            self.environment.reset()
            self.environment.step(np.zeros(self.environment.num_envs, dtype=np.int64))
            if self._judge is not None:
                self._judge.judge(self._policy(), 0)
        self._on_score = on_score
        self._began_s = time.monotonic()
        self.rollouts, self.winners = 0, 0
        self.phase_ended: float | None = None
        self.history: list[Mapping[str, float]] = []
        self.done = 0.0
        self.best: Judgement | None = None
        self._best_weights: dict[str, Tensor] = {}

    @property
    def episodes(self) -> int:
        """Sessions that were played."""
        return self.rollouts * self.environment.num_envs

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, of episodes or of the clock, whichever is further on."""
        played = self.episodes / self.budget.episodes
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

    @property
    def aside(self) -> bool:
        """Whether to trade by none of the weights that were judged looks better than not to trade at all."""
        return self.config.selection.aside and self.best is not None and self.best.score <= 0.0

    def counters(self) -> dict[str, int]:
        """How far it is."""
        updates = (
            self.rollouts * self.config.learner.epochs * max(1, round(self._steps / self.learner.model.batch_size))
        )
        return {
            "iterations": self.rollouts,
            "episodes": self.episodes,
            "steps": self.rollouts * self._steps,
            "updates": updates,
        }

    def write(self, folder: Path, metrics: Mapping[str, float], *, chosen: bool) -> str:
        """Write a checkpoint of the chosen weights (the best, or the newest if none were judged) or of the newest."""
        best = chosen and self.best is not None
        return write_checkpoint(
            folder,
            self._best_weights if best else self.learner.state(),
            self.config,
            self.data,
            seed=self.seed,
            threshold=self.threshold,
            reward_scale=self.reward_scale,
            counters=self.counters(),
            metrics=metrics,
            selection=self.selection if best else None,
            aside=chosen and self.aside,
        )

    def iterate(self, kept: Retention) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Play a rollout, learn from it, and keep what is due.

        Returns
        -------
        metrics, speed : Mapping
            What is repeatable, and what depends on the clock.
        """
        began_s, fraction = time.monotonic(), self.done
        losers = loser_weight(self.config.trades, fraction, self.phase_ended)
        charged = cost_share(self.config.curriculum, fraction)
        if charged != self._share:
            self.environment.charge(mixed(self._free, self._fills, charged))
            self._share = charged
        metrics: dict[str, float] = {}

        def weigh() -> npt.NDArray[np.float32]:
            environment = self.environment
            results = _results(environment)
            metrics.update(self._played(results))
            return step_weights(environment.of_trade, environment.blocked, results, losers)

        self.learner.play(self.rollouts, weigh)
        learned = self.learner.learn(self.rollouts, fraction)
        self.rollouts += 1
        self.done = self.fraction
        if self.phase_ended is None and self.winners >= self.config.trades.winners:
            self.phase_ended = self.done
        metrics = {name: float(count) for name, count in self.counters().items()} | metrics | dict(learned)
        metrics |= {"loser_weight": losers, "cost_share": charged}
        self.history.append(metrics)
        self._keep(kept, metrics)
        if self.rollouts % self.config.runtime.bundle_every == 0 and not self.over:
            self._write_bundle()
        seconds = time.monotonic() - began_s
        speed = {
            "seconds": seconds,
            "steps_per_s": self._steps / seconds,
            "episodes_per_hour": 3_600.0 * self.environment.num_envs / seconds,
        }
        return metrics, speed

    def restore(self) -> None:
        """Take up an interrupted training, if its bundle is there."""
        found = read_bundle(self.bundle, self._identity(), self.learner)
        if found is None:
            return
        header, self._best_weights = found
        self.rollouts, self.winners, self.history = header["rollouts"], header["winners"], header["history"]
        self.phase_ended = header["phase_ended"]
        self.best = None if header["best"] is None else Judgement(**header["best"])
        self.done = self.fraction
        logger.info("training goes on after rollout %d of the bundle %s", self.rollouts, self.bundle)

    @property
    def _steps(self) -> int:
        return self.data.rules.bars * self.environment.num_envs

    def _policy(self) -> PpoPolicy:
        return PpoPolicy(
            layers_of(self.learner.state(), self.config.network), self.config, self.data.spec, self.threshold
        )

    def _played(self, results: npt.NDArray[np.float64]) -> dict[str, float]:
        """Figures of the trades of a rollout, of which the winners are counted."""
        trades, sessions = self.environment.trades, self.environment.num_envs
        won = int((trades["pnl_pips"] > 0).sum())
        self.winners += won
        figures = {
            "pips_per_episode": float(results.sum()) / sessions,
            "trades_per_episode": len(trades) / sessions,
            "winners": float(self.winners),
            "blocked_share": float(self.environment.blocked.mean()),
        }
        if len(trades):
            figures |= {"expectancy_pips": float(trades["pnl_pips"].mean()), "win_rate": won / len(trades)}
        return figures

    def _keep(self, kept: Retention, metrics: dict[str, float]) -> None:
        """Judge the weights if it is time, and keep a checkpoint of them."""
        due = self.rollouts % self.config.runtime.keep_every == 0
        judging = self._judge is not None and (self.over or self.rollouts % self.config.selection.every_rollouts == 0)
        is_best = False
        if judging:
            assert self._judge is not None
            judged = self._judge.judge(self._policy(), self.episodes)
            if self._on_score is not None:
                self._on_score(
                    SelectionScore(
                        hashlib.sha256(serialised(self.learner.state())).hexdigest(),
                        self.config.digest(),
                        code_version(ENTRY),
                        judged.judgement.episode,
                        judged.session_ns,
                        judged.session_pnl_pips,
                        judged.trade_pnl_pips,
                    )
                )
            metrics |= judged.judgement.metrics()
            is_best = self.best is None or judged.judgement.score > self.best.score
            if is_best:
                self.best = judged.judgement
                self._best_weights = {name: tensor.clone() for name, tensor in self.learner.state().items()}
        if self.best is not None:
            metrics["selection_best_pips"] = self.best.pips
            metrics["selection_best_episode"] = float(self.best.episode)
        if judging or due or self.over:
            kept.keep(self.episodes, lambda folder: self.write(folder, metrics, chosen=False), best=is_best, due=due)

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.digest(),
            "data": data_fingerprint(self.data),
            "seed": self.seed,
            "episodes": self.budget.episodes,
            "minutes": self.budget.minutes,
            "code": code_version(ENTRY),
        }

    def _write_bundle(self) -> None:
        header = {
            "identity": self._identity(),
            "rollouts": self.rollouts,
            "winners": self.winners,
            "phase_ended": self.phase_ended,
            "history": self.history,
            "best": self.selection,
        }
        write_bundle(self.bundle, header, self.learner, self._best_weights)


def usual_change_pips(data: TrainingData, starts: npt.NDArray[np.int64]) -> float:
    """Return the standard deviation of the one-bar changes of the close up to the end of the last of these sessions."""
    closes = data.market.close[: int(starts.max()) + data.rules.bars]
    change = np.diff(closes) / data.market.pip
    deviation = float(change[np.isfinite(change)].std())
    return deviation if math.isfinite(deviation) and deviation > 0 else 1.0


def _results(environment: TradingVecEnv) -> npt.NDArray[np.float64]:
    """Result of each trade of the round that has ended, by session and number, (B, M) float64."""
    trades = environment.trades
    counts = np.bincount(trades["session"], minlength=environment.num_envs)
    results = np.zeros((environment.num_envs, max(1, int(counts.max()))))
    first = np.cumsum(counts) - counts
    results[trades["session"], np.arange(len(trades)) - first[trades["session"]]] = trades["pnl_pips"]
    return results

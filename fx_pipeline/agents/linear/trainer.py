"""The trainer: ridge regressions of the price ahead, and the thresholds that earned most on later sessions."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Budget, Checkpoint, OnScore, Progress, SelectionScore, TrainingData
from fx_pipeline.agents.fingerprint import data_fingerprint
from fx_pipeline.agents.kit.selection import Judge, Judged, Judgement, split_starts
from fx_pipeline.agents.linear.config import LinearConfig
from fx_pipeline.agents.linear.policy import AGENT, LinearPolicy, Rule
from fx_pipeline.agents.record import RECORD_NAME, SCHEMA, WEIGHTS_NAME
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.errors import DataError
from fx_pipeline.provenance.closure import code_version

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
ENTRY = "fx_pipeline.agents.linear.entry"
#: Share of the session starts, the last ones, on which the thresholds are chosen.
_LATER = 0.3
_CHUNK = 20_000


class _Fit(NamedTuple):
    """A forecast of the change over `horizon` bars: weights (W * F,), intercept, and its standard deviation."""

    horizon: int
    weights: Float64
    intercept: float
    deviation: float


class LinearTrainer:
    """Implements `fx_pipeline.agents.base.Trainer`: in seconds, and without a random number.

    Parameters
    ----------
    config : LinearConfig
    """

    def __init__(self, config: LinearConfig) -> None:
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
        """Fit, choose and write a checkpoint into `folder`; see the protocol.

        Forecasts are fitted on the earlier sessions of the span; each pair of thresholds then plays the later ones, and
        the one with the greatest lower bound of what a session made is kept, if that bound is above nothing. The seed
        changes nothing, and the budget only how many sessions are played at most.

        Raises
        ------
        DataError
            If there is no session to learn from.
        """
        if len(data.starts) == 0:
            raise DataError(f"there is no valid session of {data.market.instrument} to train on: give it more data.")
        split = split_starts(data, _LATER, min(self.config.sessions, budget.episodes))
        # A span that is too short for both is fitted and judged as a whole.
        later = split.judged if len(split.judged) else data.starts[:: data.rules.bars]
        judge = Judge(data, later, self.config.standard_errors)
        never = Rule(np.zeros(data.rules.window_bars * data.market.features.shape[1]), 0.0, np.inf, 0.0)
        best, chosen = never, Judgement(0, len(later), 0.0, 0.0, 0.0, 0.0)
        history: list[dict[str, float]] = []
        for fit in self._fits(data, split.played):
            for enter in self.config.entries:
                for leave in (leave for leave in self.config.exits if leave < enter):
                    rule = Rule(fit.weights, fit.intercept, enter * fit.deviation, leave * fit.deviation)
                    judged = judge.judge(LinearPolicy(rule, data.spec), len(later))
                    if on_score is not None:
                        on_score(self._score(rule, judged))
                    if judged.judgement.score > chosen.score:
                        best, chosen = rule, judged.judgement
                    row = {"horizon": float(fit.horizon), "enter": enter, "leave": leave}
                    history.append({"iterations": float(len(history) + 1), **row, **judged.judgement.metrics()})
                    if progress is not None:
                        progress(min(len(history) / self._tries, 1.0), history[-1])
        metrics = {"iterations": float(len(history)), "episodes": float(len(later) * len(history))}
        metrics["pips_per_episode"], metrics["trades_per_episode"] = chosen.pips, chosen.trades
        sha256 = self._write(Path(folder), best, data, seed, chosen, metrics)
        return Checkpoint(Path(folder), sha256, metrics, list(history))

    @property
    def _tries(self) -> int:
        pairs = sum(leave < enter for enter in self.config.entries for leave in self.config.exits)
        return pairs * len(self.config.horizons)

    def _fits(self, data: TrainingData, starts: Int64) -> Iterator[_Fit]:
        """Fit the change of the close over each horizon, on bars inside the sessions."""
        market, bars = data.market, data.rules.bars
        edges = np.zeros(len(market) + 1, dtype=np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, starts + bars, -1)
        inside = np.flatnonzero(np.cumsum(edges)[:-1] > 0)
        last = inside[-1]
        for horizon in self.config.horizons:
            # Nothing beyond the sessions is read: the selection span begins there.
            usable = inside[inside + horizon <= last]
            if len(usable) > self.config.bars:
                usable = usable[np.linspace(0, len(usable) - 1, self.config.bars).round().astype(np.int64)]
            if len(usable) < 2:
                continue
            target = (market.close[usable + horizon] - market.close[usable]) / market.pip
            yield _ridge(data, usable, target, horizon, self.config.ridge)

    def _score(self, rule: Rule, judged: Judged) -> SelectionScore:
        return SelectionScore(
            hashlib.sha256(_serialised(rule)).hexdigest(),
            self.config.digest(),
            code_version(ENTRY),
            judged.judgement.episode,
            judged.session_ns,
            judged.session_pnl_pips,
            judged.trade_pnl_pips,
        )

    def _write(
        self, folder: Path, rule: Rule, data: TrainingData, seed: int, chosen: Judgement, metrics: dict[str, float]
    ) -> str:
        weights = _serialised(rule)
        sha256 = hashlib.sha256(weights).hexdigest()
        spec, instrument = data.spec, data.market.instrument
        features = feature_set(spec.feature_set)
        record = {
            "schema": SCHEMA,
            "agent": AGENT,
            "preset": self.config.preset,
            "config": self.config.to_dict(),
            "config_digest": self.config.digest(),
            "instrument": instrument,
            "pip": data.market.pip,
            "window": {key: str(value) for key, value in data.window.items()},
            "observation": spec.record(),
            "session_rules": asdict(data.rules),
            "temporal_features": list(features.names),
            "features_version": features.version_of(instrument),
            "static_features": list(STATIC_FEATURES),
            "actions": list(action_set(spec.action_set).names),
            "data_fingerprint": data_fingerprint(data),
            "costs": asdict(data.costs),
            "code_version": code_version(ENTRY),
            "seed": seed,
            "device": "cpu",
            "counters": {"iterations": int(metrics["iterations"]), "episodes": int(metrics["episodes"])},
            "metrics": metrics,
            "selection": asdict(chosen),
            "probe": [],
            "weights_sha256": sha256,
        }
        (folder / RECORD_NAME).unlink(missing_ok=True)
        atomic_write_bytes(folder / WEIGHTS_NAME, weights)
        atomic_write_json(folder / RECORD_NAME, record)
        return sha256


def _serialised(rule: Rule) -> bytes:
    from safetensors.numpy import save

    numbers = np.array([rule.intercept, rule.enter, rule.leave])
    weights: bytes = save({"weights": np.ascontiguousarray(rule.weights), "rule": numbers})
    return weights


def _ridge(data: TrainingData, bars: Int64, target: Float64, horizon: int, ridge: float) -> _Fit:
    """Fit a target (K,) to the windows that end at bars (K,); coefficients of standardised features are kept small."""
    size = data.rules.window_bars * data.market.features.shape[1]
    total, squares, product = np.zeros(size), np.zeros((size, size)), np.zeros(size)
    centred = target - target.mean()
    for first in range(0, len(bars), _CHUNK):
        part = slice(first, first + _CHUNK)
        windows = data.market.windows(bars[part], data.rules.window_bars).reshape(-1, size).astype(np.float64)
        total += windows.sum(axis=0)
        squares += windows.T @ windows
        product += windows.T @ centred[part]
    mean = total / len(bars)
    covariance = squares / len(bars) - np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    # What does not change tells nothing, and is not divided by.
    scale[scale < 1e-9] = np.inf
    standard = covariance / np.outer(scale, scale) + ridge * np.eye(size)
    weights = np.linalg.solve(standard, product / len(bars) / scale) / scale
    deviation = float(np.sqrt(max(float(weights @ covariance @ weights), 0.0)))
    return _Fit(horizon, weights, float(target.mean() - mean @ weights), deviation)

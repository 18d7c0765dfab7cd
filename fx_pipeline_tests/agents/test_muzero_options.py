"""All options of replay and learner at once: a training runs, and is resumed to the bit."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.agents.base import Budget, TrainingData
from fx_pipeline.agents.muzero.checkpoint import WEIGHTS_NAME
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.trainer import MuZeroTrainer

OPTIONS = {
    "network.value_prefix": True,
    "selfplay.epsilon": 0.1,
    "selfplay.warmup_bars": 0,
    "replay.priority_weight": 0.7,
    "replay.importance": 0.5,
    "replay.evict": "quality",
    "replay.success_share": 0.2,
    "replay.share_trade_reward": True,
    "learner.td_steps_decay_waves": 1.0,
    "learner.reanalyze_share": 0.5,
    "learner.mirror": True,
    "learner.target_ema": 0.9,
    "learner.consistency_weight": 1.0,
    "learner.consistency_steps": 2,
    "runtime.bundle_every": 2,
}


class Killed(Exception):
    """Stands for the end of a process."""


def train(data: TrainingData, folder: Path, stop_after: int | None = None) -> list[dict[str, float]]:
    seen: list[dict[str, float]] = []

    def progress(fraction: float, metrics) -> None:
        seen.append(dict(metrics))
        if len(seen) == stop_after:
            raise Killed

    MuZeroTrainer(load_config("tiny", OPTIONS)).train(data, Budget(12), seed=4, folder=folder, progress=progress)
    return seen


def test_a_training_with_every_option_is_resumed_to_the_bit(small_market: TrainingData, tmp_path: Path) -> None:
    whole = train(small_market, tmp_path / "whole")
    assert all(np.isfinite(list(metrics.values())).all() for metrics in whole)
    assert sum(metrics["reanalyzed_steps"] for metrics in whole) > 0
    assert max(metrics.get("loss_consistency", 0.0) for metrics in whole) > 0
    with pytest.raises(Killed):
        train(small_market, tmp_path / "killed", stop_after=15)
    resumed = train(small_market, tmp_path / "killed")
    assert len(resumed) == len(whole) - 14
    weights = [(tmp_path / name / WEIGHTS_NAME).read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]

"""The linear agent: what it finds, that it is repeatable, and that a checkpoint decides as what was trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.agents.base import Budget, TrainingData
from fx_pipeline.agents.linear.config import load_config
from fx_pipeline.agents.linear.policy import LinearPolicy
from fx_pipeline.agents.linear.trainer import LinearTrainer
from fx_pipeline.environment.action_sets import LEVERAGE7
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.errors import ConfigurationError

BUDGET = Budget(16)


@pytest.fixture(scope="module")
def data(make_market: Callable[..., TrainingData]) -> TrainingData:
    return make_market(5, 20_000)


@pytest.fixture(scope="module")
def trained(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear")
    LinearTrainer(load_config("tiny")).train(data, BUDGET, seed=1, folder=folder)
    return folder


def first(data: TrainingData, sessions: int = 8) -> Observation:
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), None, data.rules, data.actions)
    return environment.reset(data.starts[:: len(data.starts) // sessions][:sessions])


def test_it_finds_a_price_that_returns_to_its_mean(data: TrainingData, tmp_path: Path) -> None:
    checkpoint = LinearTrainer(load_config("tiny")).train(data, BUDGET, seed=1, folder=tmp_path)
    assert checkpoint.metrics["pips_per_episode"] > 100


def test_it_leaves_alone_what_costs_more_than_it_brings(data: TrainingData, tmp_path: Path) -> None:
    dear = replace(data, costs=replace(data.costs, fixed_pips=100.0))
    LinearTrainer(load_config("tiny")).train(dear, BUDGET, seed=1, folder=tmp_path)
    assert (LinearPolicy.from_checkpoint(tmp_path).choose(first(dear)) == dear.actions.rest).all()


def test_the_same_data_give_the_same_bytes(data: TrainingData, trained: Path, tmp_path: Path) -> None:
    LinearTrainer(load_config("tiny")).train(data, BUDGET, seed=1, folder=tmp_path)
    for name in ("checkpoint.json", "weights.safetensors"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_a_row_does_not_depend_on_the_batch(data: TrainingData, trained: Path) -> None:
    policy, seen = LinearPolicy.from_checkpoint(trained), first(data)
    chosen = policy.choose(seen)
    assert seen.legal[np.arange(len(chosen)), chosen].all()
    for row in range(len(chosen)):
        assert policy.choose(Observation(*(part[row : row + 1] for part in seen)))[0] == chosen[row]


def test_nothing_beyond_the_sessions_that_it_learns_from_is_fitted(data: TrainingData) -> None:
    trainer, starts = LinearTrainer(load_config("tiny")), data.starts[:2_000]
    fits = list(trainer._fits(data, starts))
    close = data.market.close.copy()
    close[starts[-1] + data.rules.bars :] = np.nan
    again = list(trainer._fits(replace(data, market=replace(data.market, close=close)), starts))
    for one, other in zip(fits, again, strict=True):
        assert one.weights.tobytes() == other.weights.tobytes() and one.intercept == other.intercept


def test_it_takes_other_actions(data: TrainingData, tmp_path: Path) -> None:
    other = replace(data, actions=LEVERAGE7)
    LinearTrainer(load_config("tiny")).train(other, BUDGET, seed=1, folder=tmp_path)
    assert LinearPolicy.from_checkpoint(tmp_path).choose(first(other)).shape == (8,)


def test_damage_is_named(trained: Path, tmp_path: Path) -> None:
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(ConfigurationError, match="does not have the hash"):
        LinearPolicy.from_checkpoint(tmp_path)

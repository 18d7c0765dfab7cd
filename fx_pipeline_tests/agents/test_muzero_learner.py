"""Learner: losses fall, gradients stay inside the mask, divergence is an error."""

import dataclasses

import numpy as np
import pytest
import torch

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.learner import LOSSES, Learner, TrainingDivergedError
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.replay import Batch


def random_batch(rows: int = 16, unroll: int = 2, seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    return Batch(
        temporal=random.normal(size=(rows, 32, 9)).astype(np.float32),
        static=random.normal(size=(rows, 6)).astype(np.float32),
        actions=random.integers(4, size=(rows, unroll)),
        outcomes=random.integers(3, size=(rows, unroll)),
        rewards=random.normal(scale=5.0, size=(rows, unroll)).astype(np.float32),
        policies=random.dirichlet(np.ones(4), size=(rows, unroll + 1)).astype(np.float32),
        values=random.normal(scale=20.0, size=(rows, unroll + 1)).astype(np.float32),
        state_mask=np.ones((rows, unroll + 1), dtype=np.float32),
        step_mask=np.ones((rows, unroll), dtype=np.float32),
    )


def make(preset: str = "tiny", seed: int = 0) -> Learner:
    config = load_config(preset)
    return Learner(build_networks(config.network, seed), config.learner)


def test_one_batch_learned_by_heart_lowers_every_loss() -> None:
    learner = make()
    batch = random_batch()
    first = learner.update(batch, dropout_seed=0)
    for _ in range(150):
        last = learner.update(batch, dropout_seed=0)
    for name in LOSSES:
        assert last[f"loss_{name}"] < 0.9 * first[f"loss_{name}"], name
    assert learner.updates == 151


def test_the_same_updates_give_the_same_weights_and_leave_torch_random_state() -> None:
    state = torch.random.get_rng_state()
    learners = [make("tiny"), make("tiny")]
    for learner in learners:
        for number in range(3):
            learner.update(random_batch(seed=number), dropout_seed=number)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = zip(*(learner.networks.state_dict().values() for learner in learners), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_dropout_follows_its_seed() -> None:
    config = load_config("tiny", {"network.dropout": 0.5})
    losses = []
    for dropout_seed in (1, 1, 2):
        learner = Learner(build_networks(config.network, 0), config.learner)
        learner.update(random_batch(), dropout_seed=0)
        losses.append(learner.update(random_batch(), dropout_seed=dropout_seed)["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_masked_steps_give_no_loss() -> None:
    batch = random_batch()
    masked = dataclasses.replace(
        batch, state_mask=np.zeros_like(batch.state_mask), step_mask=np.zeros_like(batch.step_mask)
    )
    assert all(loss.item() == 0.0 for loss in make().losses(masked).values())
    without_search = dataclasses.replace(batch, policies=np.zeros_like(batch.policies))
    losses = make().losses(without_search)
    assert losses["policy"].item() == 0.0
    assert losses["value"].item() > 0.0


def test_a_loss_that_is_not_finite_stops_at_once_and_changes_nothing() -> None:
    learner = make()
    learner.update(random_batch(), dropout_seed=0)
    before = {name: tensor.clone() for name, tensor in learner.networks.state_dict().items()}
    batch = random_batch()
    batch.temporal[0, 0, 0] = np.nan
    with pytest.raises(TrainingDivergedError, match="update 1"):
        learner.update(batch, dropout_seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.networks.state_dict().items())


def test_the_learning_rate_falls_over_the_budget() -> None:
    config = load_config("tiny", {"learner.final_learning_rate_fraction": 0.1, "learner.learning_rate": 0.01})
    learner = Learner(build_networks(config.network, 0), config.learner)
    for progress, expected in ((0.0, 0.01), (0.5, 0.0055), (1.0, 0.001)):
        learner.update(random_batch(), dropout_seed=0, progress=progress)
        assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(expected)

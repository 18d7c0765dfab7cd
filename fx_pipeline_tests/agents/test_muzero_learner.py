"""Learner: losses fall, gradients stay inside the mask, divergence is an error."""

import dataclasses

import numpy as np
import pytest
import torch

from fx_pipeline.agents.muzero.batch import Batch
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.errors import TrainingDivergedError
from fx_pipeline.agents.muzero.learner import CONSISTENCY, LOSSES, Learner
from fx_pipeline.agents.muzero.networks import build_networks


def random_batch(rows: int = 16, unroll: int = 2, seed: int = 0, later: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    return Batch(
        rows=np.zeros(rows, dtype=np.int64),
        steps=np.arange(rows),
        temporal=random.normal(size=(rows, 32, 9)).astype(np.float32),
        static=random.normal(size=(rows, 6)).astype(np.float32),
        actions=random.integers(4, size=(rows, unroll)),
        outcomes=random.integers(3, size=(rows, unroll)),
        rewards=random.normal(scale=5.0, size=(rows, unroll)).astype(np.float32),
        policies=random.dirichlet(np.ones(4), size=(rows, unroll + 1)).astype(np.float32),
        values=random.normal(scale=20.0, size=(rows, unroll + 1)).astype(np.float32),
        state_mask=np.ones((rows, unroll + 1), dtype=np.float32),
        step_mask=np.ones((rows, unroll), dtype=np.float32),
        weights=np.ones(rows, dtype=np.float32),
        later_temporal=random.normal(size=(rows, later, 32, 9)).astype(np.float32) if later else None,
        later_static=random.normal(size=(rows, later, 6)).astype(np.float32) if later else None,
    )


def make(preset: str = "tiny", seed: int = 0, **settings: object) -> Learner:
    config = load_config(preset, {"learner": settings})
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


def test_the_weights_of_drawing_count_everywhere_but_in_the_policy() -> None:
    batch, learner = random_batch(), make()
    doubled = dataclasses.replace(batch, weights=np.full(16, 2.0, dtype=np.float32))
    plain, weighted = learner.losses(batch), learner.losses(doubled)
    assert weighted["policy"].item() == pytest.approx(plain["policy"].item(), rel=1e-6)
    for name in set(LOSSES) - {"policy"}:
        assert weighted[name].item() == pytest.approx(2.0 * plain[name].item(), rel=1e-6), name


def test_an_update_says_how_far_off_the_first_states_were() -> None:
    learner, batch = make(), random_batch()
    hidden = dataclasses.replace(batch, state_mask=batch.state_mask.copy())
    hidden.state_mask[3] = 0.0
    metrics = learner.update(hidden, dropout_seed=0)
    # Heads that begin at zero predict a value of 0 and no preference.
    expected = np.abs(batch.values[:, 0])
    expected[3] = 0.0
    np.testing.assert_allclose(learner.td_errors, expected, atol=1e-3)
    assert metrics["value_error"] == pytest.approx(expected[np.arange(16) != 3].mean(), abs=1e-3)
    assert metrics["value_correlation"] == pytest.approx(0.0, abs=1e-6)
    policies = batch.policies[np.arange(16) != 3, 0].astype(np.float64)
    assert metrics["policy_kl"] == pytest.approx((policies * np.log(4 * policies)).sum(axis=1).mean(), abs=1e-5)
    for _ in range(100):
        metrics = learner.update(batch, dropout_seed=0)
    assert metrics["value_correlation"] > 0.5
    assert metrics["policy_kl"] < 0.2


def test_the_averaged_weights_follow_and_play() -> None:
    plain = make()
    assert plain.acting is plain.networks
    assert set(plain.modules) == {"networks"}
    learner = make(target_ema=0.5)
    averaged = learner.acting
    assert averaged is not learner.networks
    assert not averaged.training
    name = "value_head.bias"
    expected = averaged.state_dict()[name].clone()
    for number in range(40):
        learner.update(random_batch(), dropout_seed=number)
        decay = min(0.5, (number + 1) / (number + 11))
        expected = decay * expected + (1 - decay) * learner.networks.state_dict()[name]
        torch.testing.assert_close(averaged.state_dict()[name], expected)
    running = "temporal.blocks.0.first_norm.running_mean"
    assert torch.equal(averaged.state_dict()[running], learner.networks.state_dict()[running])
    optimised = {id(parameter) for group in learner.optimizer.param_groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in learner.networks.parameters()}


def test_averaging_leaves_the_newest_weights_alone() -> None:
    learners = [make(), make(target_ema=0.9)]
    for learner in learners:
        for number in range(3):
            learner.update(random_batch(seed=number), dropout_seed=number)
    pairs = zip(*(learner.networks.state_dict().values() for learner in learners), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_consistency_loss_falls_and_reaches_encoder_dynamics_and_projection(precision: str) -> None:
    learner = make(consistency_weight=2.0, consistency_steps=2, precision=precision)
    batch = random_batch(later=2)
    loss = learner.losses(batch)[CONSISTENCY]
    loss.backward()
    projection = learner.modules["projection"]
    parts = [learner.networks.temporal, learner.networks.dynamics_blocks, *projection.children()]
    for part in parts:
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in part.parameters()
                   if parameter.ndim > 1)  # fmt: skip
    first = learner.update(batch, dropout_seed=0)[f"loss_{CONSISTENCY}"]
    for _ in range(60):
        last = learner.update(batch, dropout_seed=0)
    assert last[f"loss_{CONSISTENCY}"] < 0.8 * first


def test_later_windows_do_not_move_the_batch_norm_and_masked_ones_do_not_count() -> None:
    learners = [make(), make(consistency_weight=1.0)]
    batch = random_batch(later=1)
    losses = [learner.losses(batch) for learner in learners]
    for name in LOSSES:
        assert losses[0][name].item() == losses[1][name].item()
    pairs = zip(*(learner.networks.buffers() for learner in learners), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert learners[1].networks.training
    masked = dataclasses.replace(batch, state_mask=np.zeros_like(batch.state_mask))
    assert learners[1].losses(masked)[CONSISTENCY].item() == 0.0


def test_bfloat16_learns_the_same_thing_roughly() -> None:
    learners = [make("small"), make("small", precision="bf16")]
    batch = random_batch(unroll=5)
    first = [learner.update(batch, dropout_seed=0)["loss"] for learner in learners]
    last = [[learner.update(batch, dropout_seed=0)["loss"] for _ in range(15)][-1] for learner in learners]
    assert last[1] == pytest.approx(last[0], rel=0.1)
    assert last[1] < 0.8 * first[1]
    assert all(parameter.dtype == torch.float32 for parameter in learners[1].networks.parameters())

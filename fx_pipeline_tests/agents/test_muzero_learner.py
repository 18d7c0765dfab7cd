"""Learner: losses fall, gradients stay inside the mask, divergence is an error."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.muzero.batch import Batch
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.learner import CONSISTENCY, Learner
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.support import encode

LOSSES = ("policy", "value", "afterstate_value", "reward", "outcome")


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


def make(preset: str = "tiny", seed: int = 0, value_prefix: bool = False, **settings: object) -> Learner:
    config = load_config(preset, {"learner": settings, "network.value_prefix": value_prefix})
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


@pytest.mark.parametrize("value_prefix", [False, True])
def test_masked_steps_give_no_loss(value_prefix: bool) -> None:
    batch = random_batch()
    masked = dataclasses.replace(
        batch, state_mask=np.zeros_like(batch.state_mask), step_mask=np.zeros_like(batch.step_mask)
    )
    assert all(loss.item() == 0.0 for loss in make(value_prefix=value_prefix).losses(masked).values())
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


def unrolled(learner: Learner, batch: Batch) -> list[torch.Tensor]:
    """The states of a batch, (B, H) each, as the learner sees them."""
    actions, outcomes = torch.from_numpy(batch.actions), torch.from_numpy(batch.outcomes)
    states = [learner.networks.represent(torch.from_numpy(batch.temporal), torch.from_numpy(batch.static))]
    for step in range(actions.shape[1]):
        states.append(learner.networks.dynamics(states[-1], actions[:, step], outcomes[:, step])[0])
    return states


# Of each sample: targets and masks of the first state, which has no reward, and of those after its two steps.
STEPS = [[None, 1.0, 2.0], [None, 3.0, None], [None, None, 6.5], [None, None, None]]
PREFIXES = [[0.0, 1.0, 3.0], [0.0, 3.0, None], [0.0, None, 6.5], [None, None, None]]


@pytest.mark.parametrize(("value_prefix", "targets"), [(False, STEPS), (True, PREFIXES)])
def test_the_reward_loss_is_that_of_its_targets(value_prefix: bool, targets: list) -> None:
    batch = dataclasses.replace(
        random_batch(rows=4),
        # What is masked is not 0: it must neither be learned nor summed.
        rewards=np.array([[1.0, 2.0], [3.0, 50.0], [60.0, 6.5], [70.0, 80.0]], dtype=np.float32),
        step_mask=np.array([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=np.float32),
        state_mask=np.array([[1, 1, 1], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=np.float32),
        weights=np.array([1.0, 0.5, 2.0, 3.0], dtype=np.float32),
    )
    learner = make(value_prefix=value_prefix)
    torch.nn.init.normal_(learner.networks.reward_head.weight, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for k, state in enumerate(unrolled(learner, batch)):
        log_probabilities = torch.log_softmax(learner.networks.reward_head(state), dim=-1).detach().numpy()
        for row, target in enumerate(sample[k] for sample in targets):
            if target is not None:
                two_hot = encode(np.array(target), learner.networks.centres.numpy())
                expected -= batch.weights[row] * float(two_hot @ log_probabilities[row]) / (2 * 4)
    losses = learner.losses(batch)
    assert losses["reward"].item() == pytest.approx(expected, rel=1e-5)
    other = make(value_prefix=not value_prefix).losses(batch)
    assert all(losses[name].item() == other[name].item() for name in set(LOSSES) - {"reward"})


def test_differences_of_learned_prefixes_are_the_rewards() -> None:
    learner, batch = make(value_prefix=True), random_batch(rows=6, unroll=3)
    for _ in range(200):
        learner.update(batch, dropout_seed=0)
    networks, states = learner.networks, unrolled(learner, batch)
    assert networks.decode(networks.reward_head(states[0])).abs().mean().item() < 0.2
    steps = itertools.pairwise(states)
    rewards = [networks.rewards(state, networks.reward_head(following)) for state, following in steps]
    error = np.abs(torch.stack(rewards, dim=1).detach().numpy() - batch.rewards).mean()
    assert error < 0.2 * np.abs(batch.rewards).mean()


@pytest.mark.parametrize("value_prefix", [False, True])
def test_the_weights_of_drawing_count_everywhere_but_in_the_policy(value_prefix: bool) -> None:
    batch, learner = random_batch(), make(value_prefix=value_prefix)
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

"""Networks: shapes, sizes, determinism."""

import numpy as np
import pytest
import torch

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
from fx_pipeline.agents.muzero.networks import ConditionedLinear, build_networks
from fx_pipeline.agents.muzero.policy import TILE_ROWS
from fx_pipeline.environment.lockstep import Observation

PARAMETERS = {"full": 2_800_707, "small": 81_079, "tiny": 15_447}


@pytest.mark.parametrize("preset", list(PARAMETERS))
def test_shapes_and_parameter_counts(preset: str) -> None:
    config = load_config(preset).network
    networks = build_networks(config, seed=0).eval()
    assert sum(parameter.numel() for parameter in networks.parameters()) == PARAMETERS[preset]
    batch, size = 3, config.hidden_size
    temporal, static = torch.randn(batch, 32, 9), torch.randn(batch, 6)
    actions, outcomes = torch.tensor([0, 1, 3]), torch.tensor([2, 1, 0])
    with torch.inference_mode():
        code = networks.encode_market(temporal)
        state = networks.embed(code, static)
        assert code.shape == (batch, config.channels)
        assert state.shape == (batch, size)
        torch.testing.assert_close(state, networks.represent(temporal, static))
        following, reward = networks.dynamics(state, actions, outcomes)
        chance, afterstate_value = networks.afterstate(state, actions)
        policy, value = networks.predict(state)
    assert following.shape == (batch, size)
    assert reward.shape == afterstate_value.shape == value.shape == (batch, config.bins)
    assert chance.shape == (batch, 3)
    assert policy.shape == (batch, 4)
    # Before anything is learned nothing is predicted.
    torch.testing.assert_close(networks.decode(value), torch.zeros(batch), atol=1e-3, rtol=0)


def test_weights_depend_on_the_seed_alone() -> None:
    config = load_config("tiny").network
    state = torch.random.get_rng_state()
    first, second, other = (build_networks(config, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    same = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(first.static[0].weight, other.static[0].weight)


def test_a_conditioned_layer_equals_one_over_one_hot_vectors() -> None:
    torch.manual_seed(0)
    layer = ConditionedLinear(5, (4, 3))
    state, action, outcome = torch.randn(6, 5), torch.arange(6) % 4, torch.arange(6) % 3
    one_hot = [torch.nn.functional.one_hot(action, 4), torch.nn.functional.one_hot(outcome, 3)]
    torch.testing.assert_close(layer(state, action, outcome), layer.linear(torch.cat([state, *one_hot], dim=1)))


def test_the_convolutions_are_causal_and_the_window_sees_its_newest_bar() -> None:
    networks = build_networks(load_config("small").network, seed=0).eval()
    temporal = torch.randn(1, 32, 9)
    changed = temporal.clone()
    changed[0, 20] += 1.0
    with torch.inference_mode():
        before = networks.temporal.blocks(temporal.transpose(1, 2).unsqueeze(2))
        after = networks.temporal.blocks(changed.transpose(1, 2).unsqueeze(2))
    assert torch.equal(before[..., :20], after[..., :20])
    assert not torch.equal(before[..., 20:], after[..., 20:])


@pytest.mark.parametrize("value_prefix", [False, True])
def test_a_reward_is_what_its_step_adds_to_the_prefix(value_prefix: bool) -> None:
    networks = build_networks(load_config("tiny", {"network.value_prefix": value_prefix}).network, seed=0).eval()
    torch.nn.init.normal_(networks.reward_head.weight, generator=torch.Generator().manual_seed(0))
    state, total = torch.randn(3, 32, generator=torch.Generator().manual_seed(1)), torch.zeros(3)
    with torch.inference_mode():
        first = networks.decode(networks.reward_head(state))
        for step in range(3):
            following, logits = networks.dynamics(state, torch.arange(3), torch.full((3,), step))
            rewards = networks.rewards(state, logits)
            assert torch.equal(rewards, networks.decode(logits)) != value_prefix
            state, total = following, total + rewards
        if value_prefix:
            torch.testing.assert_close(first + total, networks.decode(logits), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_a_row_of_the_evaluator_does_not_depend_on_the_batch_around_it(preset: str) -> None:
    networks = build_networks(load_config(preset).network, seed=0)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    evaluator = TorchEvaluator(networks, pad_rows=TILE_ROWS)
    random = np.random.default_rng(0)
    rows = 100
    temporal = random.normal(size=(rows, 32, 9)).astype(np.float32)
    static = random.normal(size=(rows, 6)).astype(np.float32)
    actions, outcomes = random.integers(4, size=rows), random.integers(3, size=rows)
    legal, bar = np.ones((rows, 4), dtype=np.bool_), np.arange(rows)
    root = evaluator.root(Observation(temporal, static, legal, bar))
    following = evaluator.dynamics(root.states, actions, outcomes)
    after = evaluator.afterstate(root.states, actions)
    for count in (1, 7, 33):
        some = random.choice(rows, count, replace=False)
        observation = Observation(temporal[some], static[some], legal[some], bar[some])
        pairs = [(evaluator.root(observation), root)]
        pairs.append((evaluator.dynamics(root.states[some], actions[some], outcomes[some]), following))
        pairs.append((evaluator.afterstate(root.states[some], actions[some]), after))
        for part, whole in pairs:
            for found, expected in zip(part, whole, strict=True):
                np.testing.assert_array_equal(found, expected[some])

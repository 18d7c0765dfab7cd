"""The peer: mctx with the same networks in JAX, as its users would write them.

Needs the extra `mctx`. `check` compares the networks with torch before anything is timed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import torch
from torch import nn

from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.environment.actions import NUM_ACTIONS, NUM_OUTCOMES
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.search import SearchConfig

Params = dict[str, Any]


def parameters(networks: MuZeroNetworks) -> Params:
    """Weights as JAX arrays; batch norm is folded, as it is in the engine."""
    if networks.config.value_prefix:
        raise ConfigurationError("the peer has rewards, not their sums: set network.value_prefix: false.")

    def array(tensor: torch.Tensor) -> Any:
        return jnp.asarray(tensor.detach().numpy())

    def linear(layer: nn.Linear) -> Params:
        return {"w": array(layer.weight.t()), "b": array(layer.bias)}

    def norm(layer: nn.LayerNorm) -> Params:
        return {"scale": array(layer.weight), "shift": array(layer.bias)}

    def tower(blocks: nn.Sequential) -> Params:
        *residual, last = blocks
        return {
            "blocks": [{"norm": norm(b.norm), "first": linear(b.first), "second": linear(b.second)} for b in residual],
            "norm": norm(last),
        }

    def convolution(layer: nn.Conv1d, batch_norm: nn.BatchNorm2d) -> Params:
        scale = batch_norm.weight / torch.sqrt(batch_norm.running_var + batch_norm.eps)
        return {
            "w": array((layer.weight * scale[:, None, None]).permute(2, 1, 0)),
            "b": array((layer.bias - batch_norm.running_mean) * scale + batch_norm.bias),
        }

    temporal = [
        {
            "first": convolution(block.first, block.first_norm),
            "second": convolution(block.second, block.second_norm),
            "skip": linear(_as_linear(block.skip)) if isinstance(block.skip, nn.Conv1d) else None,
        }
        for block in networks.temporal.blocks
    ]
    return {
        "temporal": temporal,
        "score": linear(networks.temporal.score),
        "place": array(networks.temporal.place),
        "static": linear(networks.static[0]),
        "static_norm": norm(networks.static[1]),
        "state_norm": norm(networks.state_norm),
        "afterstate_input": linear(networks.afterstate_input.linear),
        "afterstate": tower(networks.afterstate_blocks),
        "chance": linear(networks.chance_head),
        "afterstate_value": linear(networks.afterstate_value_head),
        "dynamics_input": linear(networks.dynamics_input.linear),
        "dynamics": tower(networks.dynamics_blocks),
        "reward": linear(networks.reward_head),
        "policy": tower(networks.policy_blocks),
        "policy_head": linear(networks.policy_head),
        "value": tower(networks.value_blocks),
        "value_head": linear(networks.value_head),
        "centres": array(networks.centres),
    }


def _as_linear(layer: nn.Conv1d) -> nn.Linear:
    made = nn.Linear(layer.in_channels, layer.out_channels)
    made.weight.data, made.bias.data = layer.weight.data[:, :, 0], layer.bias.data
    return made


def _linear(p: Params, x: Any) -> Any:
    return x @ p["w"] + p["b"]


def _norm(p: Params, x: Any) -> Any:
    mean = x.mean(axis=-1, keepdims=True)
    variance = jnp.square(x - mean).mean(axis=-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p["scale"] + p["shift"]


def _tower(p: Params, x: Any) -> Any:
    for block in p["blocks"]:
        x = x + _linear(block["second"], jax.nn.relu(_linear(block["first"], _norm(block["norm"], x))))
    return _norm(p["norm"], x)


def _convolution(p: Params, x: Any, dilation: int) -> Any:
    reach = (p["w"].shape[0] - 1) * dilation
    return p["b"] + jax.lax.conv_general_dilated(
        x, p["w"], (1,), [(reach, 0)], rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC")
    )


def represent(p: Params, temporal: Any, static: Any) -> Any:
    """States (B, H)."""
    x = temporal
    for index, block in enumerate(p["temporal"]):
        hidden = jax.nn.relu(_convolution(block["first"], x, 2**index))
        hidden = jax.nn.relu(_convolution(block["second"], hidden, 2**index))
        x = jax.nn.relu(hidden + (x if block["skip"] is None else _linear(block["skip"], x)))
    attention = jax.nn.softmax(_linear(p["score"], x)[..., 0] + p["place"], axis=1)
    code = jnp.einsum("bt,btc->bc", attention, x)
    place = jax.nn.relu(_norm(p["static_norm"], _linear(p["static"], static)))
    return _norm(p["state_norm"], jnp.concatenate([code, place], axis=-1))


def _decode(p: Params, logits: Any) -> Any:
    return jax.nn.softmax(logits, axis=-1) @ p["centres"]


def predict(p: Params, states: Any) -> tuple[Any, Any]:
    """Policy logits (B, A) and values (B,)."""
    policy = _linear(p["policy_head"], _tower(p["policy"], states))
    return policy, _decode(p, _linear(p["value_head"], _tower(p["value"], states)))


def afterstate(p: Params, states: Any, actions: Any) -> tuple[Any, Any]:
    """Chance logits (B, C) and afterstate values (B,)."""
    joined = jnp.concatenate([states, jax.nn.one_hot(actions, NUM_ACTIONS)], axis=-1)
    hidden = _tower(p["afterstate"], jax.nn.relu(_linear(p["afterstate_input"], joined)))
    return _linear(p["chance"], hidden), _decode(p, _linear(p["afterstate_value"], hidden))


def dynamics(p: Params, states: Any, actions: Any, outcomes: Any) -> tuple[Any, Any]:
    """Next states (B, H) and rewards (B,)."""
    joined = jnp.concatenate(
        [states, jax.nn.one_hot(actions, NUM_ACTIONS), jax.nn.one_hot(outcomes, NUM_OUTCOMES)], axis=-1
    )
    following = _tower(p["dynamics"], states + jax.nn.relu(_linear(p["dynamics_input"], joined)))
    return following, _decode(p, _linear(p["reward"], following))


def make_search(search: SearchConfig) -> Any:
    """A compiled function of (params, key, temporal, static, invalid actions) that gives visit counts (B, A)."""

    def decision(p: Params, key: Any, action: Any, state: Any) -> Any:
        logits, value = afterstate(p, state, action)
        return mctx.DecisionRecurrentFnOutput(chance_logits=logits, afterstate_value=value), (state, action)

    def chance(p: Params, key: Any, outcome: Any, embedding: Any) -> Any:
        following, reward = dynamics(p, *embedding, outcome)
        logits, value = predict(p, following)
        output = mctx.ChanceRecurrentFnOutput(
            action_logits=logits, value=value, reward=reward, discount=jnp.full_like(value, search.discount)
        )
        return output, following

    @jax.jit
    def run(p: Params, key: Any, temporal: Any, static: Any, invalid: Any) -> Any:
        states = represent(p, temporal, static)
        logits, values = predict(p, states)
        output = mctx.stochastic_muzero_policy(
            params=p,
            rng_key=key,
            root=mctx.RootFnOutput(prior_logits=logits, value=values, embedding=states),
            decision_recurrent_fn=decision,
            chance_recurrent_fn=chance,
            num_simulations=search.simulations,
            invalid_actions=invalid,
            dirichlet_fraction=search.dirichlet_fraction,
            dirichlet_alpha=search.dirichlet_alpha,
            pb_c_init=search.pb_c_init,
            pb_c_base=search.pb_c_base,
        )
        return output.action, output.search_tree.summary().visit_counts

    return run


def check(networks: MuZeroNetworks, p: Params, temporal: np.ndarray, static: np.ndarray) -> float:
    """Greatest difference between these networks and torch's, over all heads."""
    rows = len(static)
    actions, outcomes = np.arange(rows) % NUM_ACTIONS, np.arange(rows) % NUM_OUTCOMES
    with torch.inference_mode():
        state = networks.represent(torch.from_numpy(temporal), torch.from_numpy(static))
        expected = [state, *networks.predict(state)]
        expected[2] = networks.decode(expected[2])
        chance, value = networks.afterstate(state, torch.from_numpy(actions))
        following, reward = networks.dynamics(state, torch.from_numpy(actions), torch.from_numpy(outcomes))
        expected += [chance, networks.decode(value), following, networks.decode(reward)]
    ours = represent(p, temporal, static)
    found = [ours, *predict(p, ours), *afterstate(p, ours, actions), *dynamics(p, ours, actions, outcomes)]
    return max(float(np.abs(np.asarray(f) - e.numpy()).max()) for f, e in zip(found, expected, strict=True))

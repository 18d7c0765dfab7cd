"""The networks of PPO as stable-baselines3 has them, and their policy half as plain arrays."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from fx_pipeline.agents.ppo.config import NetworkConfig
from fx_pipeline.agents.ppo.kernels import RELU, TANH

_ACTIVATIONS: dict[str, tuple[type[nn.Module], int]] = {"tanh": (nn.Tanh, TANH), "relu": (nn.ReLU, RELU)}


class Simplicial(nn.Module):
    """Cuts the last dimension into groups and makes each a softmax (simplicial embeddings)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., H) to (..., H)."""
        return torch.softmax(hidden.unflatten(-1, (self.groups, -1)), dim=-1).flatten(-2)


class TradingPolicy(ActorCriticPolicy):
    """`ActorCriticPolicy` with simplicial embeddings after the last hidden layers, where they are wanted."""

    def __init__(self, *args: Any, simplicial_groups: int = 0, **kwargs: Any) -> None:
        self._simplicial_groups = simplicial_groups
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        if self._simplicial_groups:
            for half in (self.mlp_extractor.policy_net, self.mlp_extractor.value_net):
                half.append(Simplicial(self._simplicial_groups))


def policy_kwargs(config: NetworkConfig) -> dict[str, Any]:
    """What stable-baselines3 makes `TradingPolicy` with."""
    return {
        "net_arch": [config.width] * config.layers,
        "activation_fn": _ACTIVATIONS[config.activation][0],
        "simplicial_groups": config.simplicial_groups,
        # One call for all parameters.
        "optimizer_kwargs": {"fused": True},
    }


class Layers(NamedTuple):
    """The policy half.

    Attributes
    ----------
    weights : tuple of (I, O) float32
        Of the hidden layers and of the logits.
    biases : tuple of (O,) float32
    activation, groups : int
        As `kernels.decide` takes them.
    """

    weights: tuple[npt.NDArray[np.float32], ...]
    biases: tuple[npt.NDArray[np.float32], ...]
    activation: int
    groups: int


def layers_of(state: dict[str, Tensor], config: NetworkConfig) -> Layers:
    """Return the policy half of the state of a `TradingPolicy`.

    Raises
    ------
    KeyError, ValueError
        If the state is not one of this configuration.
    """
    names = [f"mlp_extractor.policy_net.{2 * layer}" for layer in range(config.layers)] + ["action_net"]
    weights = tuple(np.array(state[f"{name}.weight"].numpy().T, np.float32, order="C") for name in names)
    biases = tuple(np.array(state[f"{name}.bias"].numpy(), np.float32) for name in names)
    if [weight.shape[1] for weight in weights[:-1]] != [config.width] * config.layers:
        raise ValueError(f"its layers do not have the width {config.width}")
    return Layers(weights, biases, _ACTIVATIONS[config.activation][1], config.simplicial_groups)

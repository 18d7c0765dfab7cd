"""Fitting the networks: K-step unroll through dynamics and afterstates.

Losses as in Stochastic MuZero (Antonoglou et al. 2022, section 4), with the outcome of the market as the chance code:
it is observed, so there is no encoder to learn. The first state's weight is 1, those of the K unrolled ones sum to 1.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fx_pipeline.agents.muzero.config import LearnerConfig
from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.agents.muzero.replay import Batch
from fx_pipeline.agents.muzero.support import encode
from fx_pipeline.market.errors import FxPipelineError

LOSSES = ("policy", "value", "afterstate_value", "reward", "outcome")


class TrainingDivergedError(FxPipelineError):
    """A loss or a gradient is not finite."""


class Learner:
    """Updates the networks from batches.

    Parameters
    ----------
    networks : MuZeroNetworks
    config : LearnerConfig

    Attributes
    ----------
    optimizer : torch.optim.Adam
    updates : int
        Updates made.
    """

    def __init__(self, networks: MuZeroNetworks, config: LearnerConfig) -> None:
        self.networks = networks
        self.config = config
        self.updates = 0
        self.optimizer = torch.optim.Adam(
            networks.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._centres = networks.centres.numpy()

    def update(self, batch: Batch, *, dropout_seed: int, progress: float = 0.0) -> dict[str, float]:
        """Make one update.

        Parameters
        ----------
        batch : Batch
        dropout_seed : int
            Seeds the dropout masks of this update.
        progress : float
            Share of the budget that is spent, 0..1, for the learning rate.

        Returns
        -------
        dict
            `loss`, `loss_<name>` for each of `LOSSES`, and `gradient_norm` before clipping.

        Raises
        ------
        TrainingDivergedError
            If the loss or the gradient is not finite; the networks are then as they were before the update.
        """
        config = self.config
        self.networks.train()
        buffers = [buffer.clone() for buffer in self.networks.buffers()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(dropout_seed)
            losses = self.losses(batch)
        total = (
            config.policy_weight * losses["policy"]
            + config.value_weight * (losses["value"] + losses["afterstate_value"])
            + config.reward_weight * losses["reward"]
            + config.outcome_weight * losses["outcome"]
        )
        self.optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.networks.parameters(), config.clip_norm).item()
        metrics = {"loss": total.item(), "gradient_norm": norm}
        metrics |= {f"loss_{name}": loss.item() for name, loss in losses.items()}
        if not all(math.isfinite(value) for value in metrics.values()):
            with torch.no_grad():
                for buffer, before in zip(self.networks.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            raise TrainingDivergedError(
                f"update {self.updates}: {metrics} is not finite. The weights are those before it: lower the "
                "learning rate or look for observations that are not finite."
            )
        fraction = 1.0 + min(max(progress, 0.0), 1.0) * (config.final_learning_rate_fraction - 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * fraction
        self.optimizer.step()
        self.updates += 1
        return metrics

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch, each a mean over its samples, by name."""
        networks = self.networks
        unroll = batch.actions.shape[1]
        actions, outcomes = torch.from_numpy(batch.actions), torch.from_numpy(batch.outcomes)
        state = networks.represent(torch.from_numpy(batch.temporal), torch.from_numpy(batch.static))
        states, rewards = [state], []
        for step in range(unroll):
            # Half the gradient at each step back, as MuZero's appendix G has it.
            halved = 0.5 * state + 0.5 * state.detach()
            state, reward = networks.dynamics(halved, actions[:, step], outcomes[:, step])
            states.append(state)
            rewards.append(reward)
        # Time comes first: row k * B + b is step k of sample b.
        every = torch.cat(states)
        policy_logits, value_logits = networks.predict(every)
        chance_logits, afterstate_logits = networks.afterstate(torch.cat(states[:-1]), actions.t().reshape(-1))
        values = self._two_hot(batch.values)
        weights = torch.from_numpy(_weights(batch.state_mask))
        step_weights = torch.from_numpy(_time_first(batch.step_mask)) / (unroll * len(batch.step_mask))
        steps = len(step_weights)
        policies = torch.from_numpy(_time_first(batch.policies))
        chance = functional.cross_entropy(chance_logits, outcomes.t().reshape(-1), reduction="none")
        return {
            "policy": (_cross_entropy(policy_logits, policies) * weights).sum(),
            "value": (_cross_entropy(value_logits, values) * weights).sum(),
            "afterstate_value": (_cross_entropy(afterstate_logits, values[:steps]) * step_weights).sum(),
            "reward": (_cross_entropy(torch.cat(rewards), self._two_hot(batch.rewards)) * step_weights).sum(),
            "outcome": (chance * step_weights).sum(),
        }

    def _two_hot(self, pips: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(encode(_time_first(pips), self._centres))


def _time_first(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])


def _weights(state_mask: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    batch, states = state_mask.shape
    scale = np.full(states, 1.0 / (states - 1), dtype=np.float32)
    scale[0] = 1.0
    return _time_first(state_mask * scale / np.float32(batch))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(dim=-1)

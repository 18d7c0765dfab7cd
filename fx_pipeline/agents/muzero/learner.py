"""Fitting the networks: K-step unroll through dynamics and afterstates.

Losses as in Stochastic MuZero (Antonoglou et al. 2022, section 4), with the outcome of the market as the chance code:
it is observed, so there is no encoder to learn. The first state's weight is 1, those of the K unrolled ones sum to 1.

With `network.value_prefix` the reward loss fits the sums of the rewards since the first state, whose own sum is 0
(EfficientZero, Ye et al. 2021, section 4.2, but without their LSTM and its reset: the state carries the sum).
"""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.kit.torch_settings import CPU
from fx_pipeline.agents.muzero.batch import Batch
from fx_pipeline.agents.muzero.config import LearnerConfig
from fx_pipeline.agents.muzero.consistency import build_projection
from fx_pipeline.agents.muzero.engine.engine import best_precision
from fx_pipeline.agents.muzero.engine.pack import Precision
from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.agents.muzero.support import encode

CONSISTENCY = "consistency"


class _Forward(NamedTuple):
    """Losses by name, and logits of the first states."""

    losses: dict[str, Tensor]
    policy_logits: Tensor
    value_logits: Tensor


class Learner:
    """Updates the networks from batches.

    Parameters
    ----------
    networks : MuZeroNetworks
    config : LearnerConfig
    seed : int
        Of the weights that only the learner has.
    device : torch.device
        Where it learns. On a GPU matrix products are in bfloat16, whatever `precision` says.

    Attributes
    ----------
    modules : torch.nn.ModuleDict
        All weights: "networks"; "averaged", if `target_ema` is on; "projection", if `consistency_weight` is.
    optimizer : torch.optim.Adam
    updates : int
        Updates made.
    precision : str
        Of the matrix products: "fp32" or "bf16".
    td_errors : (B,) float32
        |value target - predicted value| of the last update's first states, in pips; 0 where there is no target.
    """

    def __init__(
        self, networks: MuZeroNetworks, config: LearnerConfig, seed: int = 0, device: torch.device = CPU
    ) -> None:
        self.networks = networks
        self.config = config
        self.device = device
        on_cpu: Precision = best_precision() if config.precision == "auto" else config.precision
        self.precision: Precision = on_cpu if device == CPU else "bf16"
        self.updates = 0
        self.td_errors = np.zeros(0, dtype=np.float32)
        self.modules = nn.ModuleDict({"networks": networks})
        self._averaged = self._projection = None
        if config.consistency_weight:
            self._projection = build_projection(networks.config.hidden_size, seed)
            self.modules["projection"] = self._projection
        self._centres = networks.centres.numpy()
        self.modules.to(device)
        self._parameters = list(self.modules.parameters())
        if config.target_ema:
            self._averaged = copy.deepcopy(networks).eval().requires_grad_(False)
            self.modules["averaged"] = self._averaged
        self.optimizer = torch.optim.Adam(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        newest = self.networks if self._averaged is None else self._averaged
        self._acting = newest if device == CPU else copy.deepcopy(newest).to(CPU)

    @property
    def acting(self) -> MuZeroNetworks:
        """The networks that shall play, on the CPU: the averaged ones, if there are any; as `publish` left them."""
        return self._acting

    def publish(self) -> None:
        """Bring the newest weights to `acting`."""
        newest = self.networks if self._averaged is None else self._averaged
        if self._acting is not newest:
            self._acting.load_state_dict(newest.state_dict())

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
            `loss`, `loss_<name>` for each loss, `gradient_norm` before clipping, and of the first states: `value_error`
            (mean of `td_errors`), `value_correlation` of targets and predictions, `policy_kl` from the prediction to
            the search (nats).

        Raises
        ------
        TrainingDivergedError
            If the loss or the gradient is not finite; the networks are then as they were before the update.
        """
        config = self.config
        self.networks.train()
        buffers = [buffer.clone() for buffer in self.networks.buffers()]
        with torch.random.fork_rng(devices=[] if self.device == CPU else [self.device]):
            torch.manual_seed(dropout_seed)
            losses, policy_logits, value_logits = self._forward(batch)
        total = (
            config.policy_weight * losses["policy"]
            + config.value_weight * (losses["value"] + losses["afterstate_value"])
            + config.reward_weight * losses["reward"]
            + config.outcome_weight * losses["outcome"]
        )
        if self._projection is not None:
            total = total + config.consistency_weight * losses[CONSISTENCY]
        self.optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        names = ["loss", "gradient_norm", *(f"loss_{name}" for name in losses)]
        metrics = dict(zip(names, torch.stack([total, norm, *losses.values()]).tolist(), strict=True))
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
        self._average()
        return metrics | self._compare(batch, policy_logits, value_logits)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch, each a mean over its samples, by name."""
        return self._forward(batch).losses

    def _forward(self, batch: Batch) -> _Forward:
        networks = self.networks
        samples, unroll = batch.actions.shape
        actions, outcomes = self._tensor(batch.actions), self._tensor(batch.outcomes)
        mixed = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            state = networks.represent(self._tensor(batch.temporal), self._tensor(batch.static))
            states = [state]
            # A prefix is a head of every state, a reward of every state but the first.
            rewards = [networks.reward_head(state)] if networks.config.value_prefix else []
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
            consistency = {} if self._projection is None else {CONSISTENCY: self._consistency(batch, states)}
        values = self._two_hot(batch.values)
        taken = batch.action_values
        action_values = values[: unroll * len(batch.actions)] if taken is None else self._two_hot(taken)
        weights = self._tensor(_weights(batch.state_mask))
        step_weights = self._tensor(_time_first(batch.step_mask)) / (unroll * samples)
        # Of how steps are drawn; the policy loss takes them as they come.
        drawn = self._tensor(np.tile(batch.weights, unroll + 1))
        weights_drawn, step_weights = weights * drawn, step_weights * drawn[: len(step_weights)]
        policies = self._tensor(_time_first(batch.policies))
        chance = functional.cross_entropy(chance_logits.float(), outcomes.t().reshape(-1), reduction="none")
        reward_targets, reward_weights = batch.rewards, step_weights
        if networks.config.value_prefix:
            reward_targets = _prefixes(batch)
            first = self._tensor(batch.state_mask[:, 0] * batch.weights) / (unroll * samples)
            reward_weights = torch.cat([first, step_weights])
        losses = {
            "policy": (_cross_entropy(policy_logits, policies) * weights).sum(),
            "value": (_cross_entropy(value_logits, values) * weights_drawn).sum(),
            "afterstate_value": (_cross_entropy(afterstate_logits, action_values) * step_weights).sum(),
            "reward": (_cross_entropy(torch.cat(rewards), self._two_hot(reward_targets)) * reward_weights).sum(),
            "outcome": (chance * step_weights).sum(),
        }
        return _Forward(losses | consistency, policy_logits[:samples].detach(), value_logits[:samples].detach())

    def _consistency(self, batch: Batch, states: list[Tensor]) -> Tensor:
        assert self._projection is not None
        assert batch.later_temporal is not None and batch.later_static is not None
        # In evaluation mode: these windows shall not count twice in the batch norm's statistics.
        training = self.networks.training
        self.networks.eval()
        with torch.no_grad():
            seen = self.networks.represent(
                self._tensor(_time_first(batch.later_temporal)), self._tensor(_time_first(batch.later_static))
            )
        self.networks.train(training)
        steps = self.config.consistency_steps
        mask = self._tensor(_time_first(batch.state_mask[:, 1 : steps + 1]))
        return (self._projection(torch.cat(states[1 : steps + 1]), seen) * mask).sum() / len(mask)

    @torch.no_grad()
    def _average(self) -> None:
        if self._averaged is None:
            return
        # The first averages would otherwise be of the initial weights.
        decay = min(self.config.target_ema, self.updates / (self.updates + 10.0))
        torch._foreach_lerp_(
            list(self._averaged.parameters()), [weight.detach() for weight in self.networks.parameters()], 1.0 - decay
        )
        for buffer, newest in zip(self._averaged.buffers(), self.networks.buffers(), strict=True):
            buffer.copy_(newest)

    @torch.no_grad()
    def _compare(self, batch: Batch, policy_logits: Tensor, value_logits: Tensor) -> dict[str, float]:
        mask = batch.state_mask[:, 0] > 0
        predicted = self.networks.decode(value_logits.float()).cpu().numpy()
        self.td_errors = np.where(mask, np.abs(batch.values[:, 0] - predicted), 0.0).astype(np.float32)
        targets, predicted = batch.values[mask, 0].astype(np.float64), predicted[mask].astype(np.float64)
        spread = targets.std() * predicted.std() if len(targets) else 0.0
        together = ((targets - targets.mean()) * (predicted - predicted.mean())).mean() if spread else 0.0
        policies = batch.policies[:, 0]
        log_prior = torch.log_softmax(policy_logits.float(), dim=-1).cpu().numpy()
        kl = (policies * (np.log(np.maximum(policies, 1e-12)) - log_prior)).sum(axis=-1)
        searched = mask & (policies.sum(axis=-1) > 0)
        return {
            "value_error": float(self.td_errors[mask].mean()) if mask.any() else 0.0,
            "value_correlation": float(together / spread) if spread else 0.0,
            "policy_kl": float(kl[searched].mean()) if searched.any() else 0.0,
        }

    def _two_hot(self, pips: npt.NDArray[np.float32]) -> Tensor:
        return self._tensor(encode(_time_first(pips), self._centres))

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _time_first(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(-1, *array.shape[2:])


def _prefixes(batch: Batch) -> npt.NDArray[np.float32]:
    """Sums (B, K + 1) of the rewards before each state; masked steps add nothing."""
    return np.pad(batch.rewards * batch.step_mask, ((0, 0), (1, 0))).cumsum(axis=1)


def _weights(state_mask: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    batch, states = state_mask.shape
    scale = np.full(states, 1.0 / (states - 1), dtype=np.float32)
    scale[0] = 1.0
    return _time_first(state_mask * scale / np.float32(batch))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * functional.log_softmax(logits.float(), dim=-1)).sum(dim=-1)

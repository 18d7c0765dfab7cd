"""The rollout buffer: advantages are normalised over the rollout and weighted, minibatches drawn from a seed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

_NAMES = ("observations", "actions", "values", "log_probs", "advantages", "returns")


class TradeBuffer(RolloutBuffer):
    """A `RolloutBuffer` for rollouts of whole sessions.

    The library draws its minibatches from numpy's global generator, and its last one of a pass may be small; here they
    are drawn from `order`, and all of a size, to one step.

    Attributes
    ----------
    weigh : callable
        Returns the weights (T, B) float32 of the rollout that was just played.
    order : callable
        Number of a pass over the rollout to its random generator.
    raw_deviation : float
        Standard deviation of the advantages before they were normalised.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weigh: Callable[[], npt.NDArray[np.float32]] = lambda: np.ones_like(self.advantages)
        self.order: Callable[[int], np.random.Generator] = np.random.default_rng
        self.raw_deviation = 0.0
        self._tensors: tuple[torch.Tensor, ...] = ()
        self._passes = 0

    def reset(self) -> None:
        """Empty it; see the base class."""
        self._tensors, self._passes = (), 0
        super().reset()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[np.bool_]) -> None:
        """Compute returns, which nothing weights, and then normalised, weighted advantages."""
        super().compute_returns_and_advantage(last_values, dones)
        self.raw_deviation = float(self.advantages.std())
        normal = (self.advantages - self.advantages.mean()) / (self.raw_deviation + 1e-8)
        self.advantages = normal * self.weigh()

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:  # type: ignore[override]
        """Pass over the rollout once, in minibatches of about `batch_size` steps."""
        steps = self.buffer_size * self.n_envs
        if not self._tensors:
            flat = [getattr(self, name).reshape(steps, -1) for name in _NAMES]
            # What is no observation and no action is a vector.
            shaped = [part if number < 2 else part[:, 0] for number, part in enumerate(flat)]
            self._tensors = tuple(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in shaped)
        order = self.order(self._passes).permutation(steps)
        self._passes += 1
        for batch in np.array_split(order, max(1, round(steps / (batch_size or steps)))):
            chosen = torch.from_numpy(batch)
            yield RolloutBufferSamples(*(tensor[chosen] for tensor in self._tensors))

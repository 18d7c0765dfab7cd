"""The networks as the search sees them: numpy in, numpy out.

Rows are computed in one batch. The same row can differ in its last bits between batches of different sizes, because
matrix libraries choose their kernels by shape; padding to whole tiles (`pad_rows`) removes the differences that
were observed, but no library promises it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.search import AfterstateOutput, RootOutput, StateOutput


class TorchEvaluator:
    """Implements the `Evaluator` of `fx_pipeline.search` with torch, in evaluation mode (no dropout, fixed batch norm).

    Parameters
    ----------
    networks : MuZeroNetworks
        Read at every call: after learning, the same evaluator sees the new weights.
    pad_rows : int
        Batches are padded to a multiple of this many rows; 1 pads nothing.
    """

    def __init__(self, networks: MuZeroNetworks, pad_rows: int = 1) -> None:
        self.networks = networks
        self.pad_rows = pad_rows

    @torch.inference_mode()
    def root(self, observation: Observation) -> RootOutput:
        """States, policy logits and values of B observations."""
        self._ready()
        rows = len(observation.static)
        states = self.networks.represent(self._tensor(observation.temporal), self._tensor(observation.static))
        logits, values = self.networks.predict(states)
        return RootOutput(states[:rows].numpy(), logits[:rows].numpy(), self.networks.decode(values)[:rows].numpy())

    @torch.inference_mode()
    def afterstate(self, states: npt.NDArray[np.float32], actions: npt.NDArray[np.int64]) -> AfterstateOutput:
        """See `fx_pipeline.search.Evaluator.afterstate`."""
        self._ready()
        rows = len(states)
        chance, values = self.networks.afterstate(self._tensor(states), self._tensor(actions))
        return AfterstateOutput(chance[:rows].numpy(), self.networks.decode(values)[:rows].numpy())

    @torch.inference_mode()
    def dynamics(
        self, states: npt.NDArray[np.float32], actions: npt.NDArray[np.int64], outcomes: npt.NDArray[np.int64]
    ) -> StateOutput:
        """See `fx_pipeline.search.Evaluator.dynamics`."""
        self._ready()
        rows = len(states)
        following, rewards = self.networks.dynamics(self._tensor(states), self._tensor(actions), self._tensor(outcomes))
        logits, values = self.networks.predict(following)
        return StateOutput(
            following[:rows].numpy(),
            self.networks.decode(rewards)[:rows].numpy(),
            logits[:rows].numpy(),
            self.networks.decode(values)[:rows].numpy(),
        )

    def _ready(self) -> None:
        # eval() walks all modules: too slow to call it at every node of a search.
        if self.networks.training:
            self.networks.eval()

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        missing = -len(array) % self.pad_rows
        if missing:
            array = np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
        return torch.from_numpy(np.ascontiguousarray(array))

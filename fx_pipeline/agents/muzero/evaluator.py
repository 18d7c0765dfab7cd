"""The networks as the search sees them: numpy in, numpy out.

The same row can differ in its last bits between batches of different sizes, because matrix libraries choose their
kernels by shape. With `pad_rows`, batches are padded to whole tiles and observations are encoded a tile at a time:
with tiles of 16 no difference was found in any preset for batches of 1 to 256 rows, with one thread or two; without
padding half of the batches differ. No library promises it for every machine, nor for layers of fewer than 16 units.
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
        Rows of a tile; 1 for none.
    """

    def __init__(self, networks: MuZeroNetworks, pad_rows: int = 1) -> None:
        self.networks = networks
        self.pad_rows = pad_rows

    @torch.inference_mode()
    def root(self, observation: Observation) -> RootOutput:
        """States, policy logits and values of B observations.

        Raises
        ------
        DataError
            If they have another shape than the networks' inputs.
        """
        self.networks.spec.check(observation, "the network")
        self._ready()
        rows = len(observation.static)
        temporal, static = self._tensor(observation.temporal), self._tensor(observation.static)
        tile = self.pad_rows if self.pad_rows > 1 else rows
        states = torch.cat(
            [
                self.networks.represent(some_temporal, some_static)
                for some_temporal, some_static in zip(temporal.split(tile), static.split(tile), strict=True)
            ]
        )
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
        before = self._tensor(states)
        following, rewards = self.networks.dynamics(before, self._tensor(actions), self._tensor(outcomes))
        logits, values = self.networks.predict(following)
        return StateOutput(
            following[:rows].numpy(),
            self.networks.rewards(before, rewards)[:rows].numpy(),
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

"""The trained agent as a greedy policy."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.agents.ppo import gate, kernels
from fx_pipeline.agents.ppo.checkpoint import load_checkpoint
from fx_pipeline.agents.ppo.config import PpoConfig
from fx_pipeline.agents.ppo.networks import Layers
from fx_pipeline.agents.ppo.view import shown
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.spec import ObservationSpec


class PpoPolicy(Stateless):
    """Implements `fx_pipeline.agents.base.Policy`: to the bit, a decision depends on its own observation alone.

    Parameters
    ----------
    layers : Layers
    config : PpoConfig
    spec : ObservationSpec
        Of the training.
    threshold : float or None
        Of the gate; None without one.
    name : str
    aside : bool
        Whether it never trades.

    Attributes
    ----------
    weights_sha256 : str
        Of the file that it was loaded from; empty when it was not.
    """

    weights_sha256: str = ""

    def __init__(
        self,
        layers: Layers,
        config: PpoConfig,
        spec: ObservationSpec,
        threshold: float | None,
        name: str = "ppo",
        aside: bool = False,
    ) -> None:
        self.name, self.spec, self.config, self.aside = name, spec, config, aside
        self._layers, self._threshold = layers, threshold
        self._actions = action_set(spec.action_set)
        self._backs, self._columns = shown(spec.feature_set, spec.window_bars)
        self._column = None if threshold is None else gate.change_column(config.gate, spec.feature_set)

    @classmethod
    def from_checkpoint(cls, folder: Path) -> "PpoPolicy":
        """Load a policy; see `load_checkpoint` for what is refused."""
        loaded = load_checkpoint(folder)
        sha256 = str(loaded.record["weights_sha256"])
        policy = cls(loaded.layers, loaded.config, loaded.spec, loaded.threshold, f"ppo-{sha256[:12]}", loaded.aside)
        policy.weights_sha256 = sha256
        return policy

    def choose(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Return one legal action per observation, (B,) int64."""
        assert self.spec is not None
        self.spec.check(observation, self.name)
        if self.aside:
            held = observation.static[:, 0]
            return self._actions.toward(np.zeros(len(held)), held, observation.legal)
        batch = len(observation.static)
        bars = self.spec.window_bars - 1 - self._backs
        parts = [observation.temporal[:, bars, self._columns], observation.static]
        closed = np.zeros(batch, dtype=np.bool_)
        if self._column is not None and self._threshold is not None:
            closed = gate.moves(observation.temporal, self._column, self.config.gate.bars) < self._threshold
            parts.append(closed[:, None].astype(np.float32))
        rows = np.concatenate(parts, axis=1, dtype=np.float32)
        actions: npt.NDArray[np.int64] = kernels.decide(
            rows, *self._layers, observation.legal, self._actions.rest, self._actions.flat, closed,
            np.ascontiguousarray(observation.static[:, 0]), self._actions.target_array,
        )  # fmt: skip
        return actions

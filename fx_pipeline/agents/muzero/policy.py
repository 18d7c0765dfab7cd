"""The trained agent as a `Policy`: greedy, without noise and without memory."""

import contextlib
import copy
import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.agents.muzero.checkpoint import load_checkpoint
from fx_pipeline.agents.muzero.config import MuZeroConfig
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.engine.pack import unsupported
from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.agents.muzero.planner import EngineName, TorchPlanner, make_planner
from fx_pipeline.agents.muzero.torch_settings import torch_settings
from fx_pipeline.environment.actions import HOLD, NUM_ACTIONS
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.market.arrays import NUM_FEATURES, MarketArrays

#: Rows of a tile; see `evaluator`.
TILE_ROWS = 16


class MuZeroPolicy(Stateless):
    """Implements `fx_pipeline.agents.base.Policy`.

    A decision depends on its own observation only, so that a live decision equals the one of a batch, to the bit with
    the engine; `evaluator` says how far that goes with a matrix library underneath.

    Parameters
    ----------
    networks : MuZeroNetworks
    config : MuZeroConfig
    chunk_rows : int
        Greatest number of rows searched at once.
    threads : int
        Threads of torch.
    engine : str
        "fp32", "bf16" or "torch"; by default float32 by the engine, or torch for networks that it cannot run.
        Decisions are not made in bfloat16 unless asked for: a search in float32 takes about a millisecond.
    workers : int
        Threads of the engine; 0 for all cores.
    name : str

    Attributes
    ----------
    weights_sha256 : str
        Of the file that it was loaded from; empty when it was not.
    """

    weights_sha256: str = ""

    def __init__(
        self,
        networks: MuZeroNetworks,
        config: MuZeroConfig,
        *,
        chunk_rows: int = 256,
        threads: int = 1,
        engine: EngineName | None = None,
        workers: int = 0,
        name: str = "muzero",
    ) -> None:
        self.name = name
        self.config = config
        self.use_search = True
        self.chunk_rows = chunk_rows
        self.threads = threads
        search = dataclasses.replace(config.search, simulations=config.decision.simulations)
        chosen: EngineName = engine or ("torch" if unsupported(networks) else "fp32")
        self._planner = make_planner(chosen, networks, search, workers=workers, pad_rows=TILE_ROWS)
        self._features: npt.NDArray[np.float32] | None = None

    @classmethod
    def from_checkpoint(
        cls, folder: Path, *, instrument: str | None = None, pip: float | None = None
    ) -> "MuZeroPolicy":
        """Load a policy; see `load_checkpoint` for what is refused."""
        loaded = load_checkpoint(folder, instrument=instrument, pip=pip)
        name = f"muzero-{loaded.record['weights_sha256'][:12]}"
        policy = cls(loaded.networks, loaded.config, name=name)
        # Of the bytes that were loaded, which the checkpoint's record was held against.
        policy.weights_sha256 = str(loaded.record["weights_sha256"])
        policy.warm_up()
        return policy

    def warm_up(self) -> None:
        """Decide once on nothing, so that the first decision that counts does not wait for kernels to load."""
        legal = np.zeros((1, NUM_ACTIONS), dtype=np.bool_)
        legal[0, HOLD] = True
        window = np.zeros((1, self.config.selfplay.window_bars, NUM_FEATURES), dtype=np.float32)
        static, bar = np.zeros((1, NUM_STATIC), dtype=np.float32), np.zeros(1, dtype=np.int64)
        self.choose(Observation(window, static, legal, bar))

    def without_search(self) -> "MuZeroPolicy":
        """Return the policy of the head alone, its most likely legal action; both share what they know of a market."""
        other = copy.copy(self)
        other.use_search = False
        return other

    def over(self, market: MarketArrays, bars: npt.NDArray[np.int64]) -> "MuZeroPolicy":
        """Return the same policy for observations of `market` alone; see `fx_pipeline.agents.base.Foresighted`."""
        if not isinstance(self._planner, Engine):
            return self
        self._planner.market_codes(market.features, bars)
        other = copy.copy(self)
        other._features = market.features
        return other

    def choose(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Return one legal action per observation, (B,) int64."""
        rows = len(observation.static)
        if rows == 0:
            return np.zeros(0, dtype=np.int64)
        parts = []
        for first in range(0, rows, self.chunk_rows):
            part = slice(first, first + self.chunk_rows)
            temporal, static, legal, bar = observation
            # The engine has no use for torch's settings, and they take a second to load.
            uses_torch = isinstance(self._planner, TorchPlanner)
            with torch_settings(self.threads) if uses_torch else contextlib.nullcontext():
                parts.append(self._chosen(Observation(temporal[part], static[part], legal[part], bar[part])))
        return np.concatenate(parts)

    def _chosen(self, observation: Observation) -> npt.NDArray[np.int64]:
        known: dict[str, npt.NDArray[np.float32]] = {}
        if isinstance(self._planner, Engine) and self._features is not None:
            known["codes"] = self._planner.market_codes(self._features, observation.bar)
        if not self.use_search:
            logits = self._planner.priors(observation, **known)
            return np.where(observation.legal, logits, -np.inf).argmax(axis=1).astype(np.int64)
        # The same counter for all: with sampled outcomes, too, a row does not depend on its place in the batch.
        counters = np.zeros(len(observation.static), dtype=np.uint64)
        result = self._planner.plan(observation, seed=0, counters=counters, noise=0.0, **known)
        return result.actions

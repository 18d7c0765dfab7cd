"""Who plans: the compiled engine or the torch oracle, behind one interface."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.muzero.engine.engine import Engine, best_precision
from fx_pipeline.agents.muzero.engine.pack import unsupported
from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.environment.actions import NUM_OUTCOMES
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.search import RootOutput, SearchConfig, SearchResult, StochasticSearch

EngineName = Literal["auto", "torch", "fp32", "bf16"]


class Planner(Protocol):
    """Searches from observations with the networks' weights; one of another shape than their inputs is a DataError."""

    def refresh(self) -> None:
        """Take over the networks' present weights."""
        ...

    def priors(self, observation: Observation) -> npt.NDArray[np.float64]:
        """Policy logits (B, A), without a search."""
        ...

    def plan(
        self, observation: Observation, *, seed: int, counters: npt.NDArray[np.uint64], noise: float
    ) -> SearchResult:
        """Search from each observation; row b's random numbers depend on (seed, counters[b]) alone; see
        `StochasticSearch.run` for `noise`."""
        ...


class TorchPlanner:
    """The oracle: torch and the generic search, on any machine and for networks of any shape.

    Parameters
    ----------
    networks : MuZeroNetworks
        Read at every call.
    search : SearchConfig
    pad_rows : int
        See `TorchEvaluator`.
    """

    def __init__(self, networks: MuZeroNetworks, search: SearchConfig, pad_rows: int = 1) -> None:
        self._evaluator = TorchEvaluator(networks, pad_rows)
        self._search = StochasticSearch(search, networks.spec.actions, NUM_OUTCOMES)

    def refresh(self) -> None:
        """Nothing to do: the weights are read at every call."""

    def priors(self, observation: Observation) -> npt.NDArray[np.float64]:
        """See `Planner`."""
        return np.asarray(self._evaluator.root(observation).prior_logits, dtype=np.float64)

    def plan(
        self, observation: Observation, *, seed: int, counters: npt.NDArray[np.uint64], noise: float
    ) -> SearchResult:
        """See `Planner`."""
        root: RootOutput = self._evaluator.root(observation)
        return self._search.run(root, observation.legal, self._evaluator, seed=seed, counters=counters, noise=noise)


def root_values(result: SearchResult, best: bool) -> npt.NDArray[np.float64]:
    """Values (B,) of the roots: the mean of the simulations, or the Q of the `best`, the most visited action."""
    if not best:
        return result.values
    return np.take_along_axis(result.q_values, result.visits.argmax(axis=1)[:, None], axis=1)[:, 0]


def resolve_engine(name: EngineName, networks: MuZeroNetworks) -> EngineName:
    """What "auto" means here: the engine in its best precision, or torch for networks that it cannot run."""
    if name != "auto":
        return name
    return "torch" if unsupported(networks) else best_precision()


def make_planner(
    name: EngineName, networks: MuZeroNetworks, search: SearchConfig, *, workers: int = 0, pad_rows: int = 1
) -> Planner:
    """Make a planner.

    Parameters
    ----------
    name : str
        "auto", "torch", "fp32" or "bf16".
    workers : int
        Threads of the engine; 0 for all cores.
    pad_rows : int
        Of torch; see `TorchEvaluator`.

    Raises
    ------
    ConfigurationError
        If the processor or the shape of the networks does not allow the engine.
    """
    resolved = resolve_engine(name, networks)
    if resolved == "torch":
        return TorchPlanner(networks, search, pad_rows)
    return Engine(networks, search, "bf16" if resolved == "bf16" else "fp32", workers)

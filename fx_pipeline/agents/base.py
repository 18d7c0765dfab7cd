"""The policy seam: what validation, live trading and the Dagster layer know of an agent."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig

#: Called with (fraction done 0..1, metrics of the latest iteration).
Progress = Callable[[float, Mapping[str, float]], None]


Actions = npt.NDArray[np.int64]
#: What a policy keeps of a batch from bar to bar, of whatever type it likes; None for one without a memory.
Carry = Any


@runtime_checkable
class Policy(Protocol):
    """Chooses actions for a batch, deterministically: from what it sees and from its carry, and from nothing else.

    What it decides depends on the last `spec.window_bars` observations at most, so that a carry that was lost can be
    made again from them; see `replayed`.

    Attributes
    ----------
    spec : ObservationSpec or None
        Of the observations that it takes; None for one that takes any.
    """

    @property
    def spec(self) -> ObservationSpec | None: ...

    def initial(self, batch: int) -> Carry:
        """Return the carry of `batch` sessions that begin."""
        ...

    def act(self, observation: Observation, carry: Carry) -> tuple[Actions, Carry]:
        """Return one legal action per observation, (B,) int64, and the carry for the next; the old one is as it was."""
        ...


class Stateless:
    """A policy without a memory: `choose` is all that it needs."""

    spec: ObservationSpec | None = None

    def initial(self, batch: int) -> None:
        """Return no carry."""

    def act(self, observation: Observation, carry: None = None) -> tuple[Actions, None]:
        """Return what `choose` does, and no carry."""
        return self.choose(observation), None

    def choose(self, observation: Observation) -> Actions:
        """Return one legal action per observation, (B,) int64."""
        raise NotImplementedError


def replayed(policy: Policy, observations: Iterable[Observation], batch: int = 1) -> Carry:
    """Return the carry of a policy that has seen these observations, in the order of time."""
    carry = policy.initial(batch)
    for observation in observations:
        _, carry = policy.act(observation, carry)
    return carry


@runtime_checkable
class Foresighted(Policy, Protocol):
    """A policy of whose decisions a part depends on the market alone, and can be computed for many bars at once."""

    def over(self, market: MarketArrays, bars: npt.NDArray[np.int64]) -> Policy:
        """Return a policy that decides the same, to the bit, on observations of `market` at `bars` (K,), but sooner."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """All that an agent may learn from: nothing in it lies beyond the training span.

    Attributes
    ----------
    market : MarketArrays
        Bars up to the end of the training span.
    starts : (S,) int64
        Valid session starts, as bar indices of `market`; every session ends inside the training span.
    costs : CostConfig
    window : Mapping
        The walk-forward window (key and spans as ISO times), for the checkpoint's record.
    """

    market: MarketArrays
    starts: npt.NDArray[np.int64]
    costs: CostConfig
    window: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """How much to train.

    Attributes
    ----------
    episodes : int
        Of self-play: a training that can be repeated exactly.
    minutes : float, optional
        Ends it sooner by the clock, with schedules that follow the clock: for proofs and comparisons in equal time.
        Such a training cannot be repeated exactly.
    """

    episodes: int
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"a budget needs at least one episode, not {self.episodes}.")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"a budget's minutes must be positive, not {self.minutes}.")


@dataclass(frozen=True)
class Checkpoint:
    """A trained agent on disk.

    Attributes
    ----------
    folder : Path
        Holds the weights and `checkpoint.json`.
    sha256 : str
        Hash of the weights: the identity of the model.
    metrics : Mapping
        Figures of the training.
    history : list of Mapping
        Metrics of each training iteration.
    """

    folder: Path
    sha256: str
    metrics: Mapping[str, float]
    history: list[Mapping[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class SelectionScore:
    """What weights earned in sessions by which a training chooses among the weights that it has had.

    Attributes
    ----------
    checkpoint_sha256 : str
        The hash that a checkpoint of these weights has.
    config_digest, code_version : str
        Of the training, as in the checkpoint's record.
    episode : int
        Episodes of self-play behind the weights.
    session_ns : (T,) int64
        First bar of each session, UTC, increasing.
    session_pnl_pips : (T,) float64
        What was made in it, after costs.
    trade_pnl_pips : (N,) float64
        What each closed trade made, after costs.
    """

    checkpoint_sha256: str
    config_digest: str
    code_version: str
    episode: int
    session_ns: npt.NDArray[np.int64]
    session_pnl_pips: npt.NDArray[np.float64]
    trade_pnl_pips: npt.NDArray[np.float64]


#: Called with each score of a training before it chooses anything by it.
OnScore = Callable[[SelectionScore], None]


class Trainer(Protocol):
    """Trains an agent on one window."""

    def train(
        self,
        data: TrainingData,
        budget: Budget,
        *,
        seed: int,
        folder: Path,
        resume: bool = True,
        progress: Progress | None = None,
        on_score: OnScore | None = None,
    ) -> Checkpoint:
        """Train and write a checkpoint into `folder`; an interrupted training is taken up where it was.

        `on_score` hears of every score by which weights are chosen; the same twice where a step is made again.
        """
        ...

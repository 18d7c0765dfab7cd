"""Replay of whole episodes in preallocated arrays.

Feature windows are not stored: they are gathered from the market when a sample is drawn. Which steps a batch starts
from is decided in `Replay._choose` alone, which episode goes in `Replay.begin`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.muzero.config import LearnerConfig, ReplayConfig
from fx_pipeline.agents.muzero.targets import empty_targets, value_targets
from fx_pipeline.environment.actions import NUM_ACTIONS
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.errors import FxPipelineError


@dataclass(frozen=True)
class Batch:
    """What one update learns from; K unroll steps, n = K + 1 states.

    Attributes
    ----------
    temporal : (B, T, F) float32
    static : (B, 6) float32
    actions, outcomes : (B, K) int64
    rewards : (B, K) float32
    policies : (B, K + 1, A) float32
        Visit shares of the search; all zero where no search was made, which gives no policy loss.
    values : (B, K + 1) float32
    state_mask : (B, K + 1) float32
        1 where the state has targets.
    step_mask : (B, K) float32
        1 where action, outcome and reward are of a step inside the session. A session's last decision is not one:
        it is forced, and no observation tells it from any other.
    """

    temporal: npt.NDArray[np.float32]
    static: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    policies: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    state_mask: npt.NDArray[np.float32]
    step_mask: npt.NDArray[np.float32]


class Replay:
    """The newest episodes, oldest overwritten first.

    Parameters
    ----------
    config : ReplayConfig
    session_bars : int
        Steps of an episode.

    Self-play writes its steps straight into the arrays.

    Attributes
    ----------
    arrays : dict
        All state, by name, over E episodes of T steps: `starts` (E,) bar of the first decision, `lengths` (E,) steps
        recorded so far, `static` (E, T, 6), `actions`, `outcomes`, `rewards`, `root_values` (E, T) and `policies`
        (E, T, A).
    written : int
        Episodes begun so far.
    """

    def __init__(self, config: ReplayConfig, session_bars: int) -> None:
        self.config = config
        self.session_bars = session_bars
        self.capacity = config.capacity_steps // session_bars
        shape = (self.capacity, session_bars)
        self.written = 0
        self.arrays: dict[str, npt.NDArray[Any]] = {
            "starts": np.zeros(self.capacity, dtype=np.int64),
            "lengths": np.zeros(self.capacity, dtype=np.int64),
            "static": np.zeros((*shape, NUM_STATIC), dtype=np.float32),
            "actions": np.zeros(shape, dtype=np.int8),
            "outcomes": np.zeros(shape, dtype=np.int8),
            "rewards": np.zeros(shape, dtype=np.float32),
            "root_values": np.zeros(shape, dtype=np.float32),
            "policies": np.zeros((*shape, NUM_ACTIONS), dtype=np.float32),
        }

    @property
    def steps(self) -> int:
        """Steps held."""
        return int(self.arrays["lengths"].sum())

    def begin(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Open one episode for each start bar (B,), over the oldest ones; return their rows (B,)."""
        if len(starts) > self.capacity:
            raise FxPipelineError(f"{len(starts)} episodes do not fit a replay of {self.capacity}.")
        rows = (self.written + np.arange(len(starts))) % self.capacity
        self.arrays["starts"][rows] = starts
        self.arrays["lengths"][rows] = 0
        self.written += len(starts)
        return rows

    def sample(
        self,
        market: MarketArrays,
        learner: LearnerConfig,
        *,
        window_bars: int,
        discount: float,
        generator: np.random.Generator,
    ) -> Batch:
        """Draw a batch.

        Parameters
        ----------
        market : MarketArrays
            The one that the starts index.
        learner : LearnerConfig
        window_bars : int
        discount : float
        generator : numpy.random.Generator

        Raises
        ------
        FxPipelineError
            If nothing has been recorded.
        """
        episodes, steps = self._choose(learner.batch_size, generator)
        unroll = learner.unroll_steps
        arrays = self.arrays
        lengths = arrays["lengths"][episodes, None]
        times = steps[:, None] + np.arange(unroll + 1)
        inside = np.minimum(times, self.session_bars - 1)
        rows = episodes[:, None]
        values = empty_targets(len(episodes), unroll + 1)
        value_targets(
            arrays["rewards"],
            arrays["root_values"],
            arrays["lengths"],
            episodes,
            steps,
            unroll + 1,
            learner.td_steps,
            discount,
            learner.bootstrap_at_end,
            values,
        )
        has_targets = (times < np.minimum(lengths, self.session_bars - 1)).astype(np.float32)
        return Batch(
            temporal=market.windows(arrays["starts"][episodes] + steps, window_bars),
            static=arrays["static"][episodes, steps],
            actions=arrays["actions"][rows, inside[:, :-1]].astype(np.int64),
            outcomes=arrays["outcomes"][rows, inside[:, :-1]].astype(np.int64),
            rewards=arrays["rewards"][rows, inside[:, :-1]],
            policies=arrays["policies"][rows, inside],
            values=values,
            state_mask=has_targets,
            step_mask=has_targets[:, :-1],
        )

    def _choose(
        self, batch: int, generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows and steps (B,) that a batch starts from: uniform, with a share from open positions."""
        usable = np.arange(self.session_bars) < np.minimum(self.arrays["lengths"], self.session_bars - 1)[:, None]
        anywhere = np.flatnonzero(usable)
        if len(anywhere) == 0:
            raise FxPipelineError("the replay holds no step to learn from: collect some first.")
        flat = anywhere[generator.integers(len(anywhere), size=batch)]
        in_trade = np.flatnonzero(usable & (self.arrays["static"][:, :, 0] != 0.0))
        share = round(batch * self.config.in_trade_share)
        if share and len(in_trade):
            flat[:share] = in_trade[generator.integers(len(in_trade), size=share)]
        return flat // self.session_bars, flat % self.session_bars

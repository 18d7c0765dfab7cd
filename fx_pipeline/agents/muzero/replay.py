"""Replay of whole episodes in preallocated arrays.

Feature windows are not stored: they are gathered from the market when a sample is drawn. Which steps a batch starts
from is decided in `sampling`, what a step is worth in `quality`.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.muzero.batch import Batch, Mirror, mirrored
from fx_pipeline.agents.muzero.config import LearnerConfig, ReplayConfig
from fx_pipeline.agents.muzero.quality import EVICTED_SHARE, settle, successes, whole_quality, worst
from fx_pipeline.agents.muzero.sampling import LEAST_QUALITY, Sampler, recency
from fx_pipeline.agents.muzero.targets import Recorded, corrected_td_steps, empty_targets, value_targets
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.errors import ConfigurationError, FxPipelineError


class Replay:
    """Episodes, of which the oldest or the worst make room for new ones.

    Self-play writes its steps straight into the arrays and says so by `advance`: until then they do not count. Steps
    that do not count yet may be written while samples are drawn.

    Parameters
    ----------
    config : ReplayConfig
    session_bars : int
        Steps of an episode.
    actions : ActionSet
        Of the agent that plays.

    Raises
    ------
    ConfigurationError
        If not one episode fits.

    Attributes
    ----------
    arrays : dict
        All state but `written`, by name, over E episodes of T steps.

        Of the play: `starts` (E,) bar of the first decision, `lengths` (E,) steps recorded so far, `static` (E, T, 6),
        `actions`, `outcomes`, `rewards`, `root_values` (E, T) and `policies` (E, T, A).

        Of the keeping: `serials` (E,) number of the episode, -1 for an empty row; `waves` (E,) number, from 1, of the
        `begin` that opened it; `refreshed` (E,) newest wave when its targets were last searched; `reanalyzed` (1,)
        steps that were due to be searched again so far; `qualities` (E, T) see `quality.settle`; `td_errors` (E, T) of
        the last update that began there; `trade_counts`, `trade_pips` (E,) closed trades and the sum of their rewards.
    written : int
        Episodes begun so far.
    """

    def __init__(self, config: ReplayConfig, session_bars: int, actions: ActionSet = UNIT4) -> None:
        self.config = config
        self.session_bars = session_bars
        self.capacity = config.capacity_steps // session_bars
        if self.capacity < 1:
            raise ConfigurationError(
                f"replay.capacity_steps {config.capacity_steps} cannot hold an episode of {session_bars} bars: raise "
                "it."
            )
        self._targets = actions.target_array
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
            "policies": np.zeros((*shape, len(actions)), dtype=np.float32),
            "serials": np.full(self.capacity, -1, dtype=np.int64),
            "waves": np.zeros(self.capacity, dtype=np.int64),
            "refreshed": np.zeros(self.capacity, dtype=np.int64),
            "reanalyzed": np.zeros(1, dtype=np.int64),
            "qualities": np.zeros(shape, dtype=np.float32),
            "td_errors": np.zeros(shape, dtype=np.float32),
            "trade_counts": np.zeros(self.capacity, dtype=np.int64),
            "trade_pips": np.zeros(self.capacity),
        }
        self._sampler: Sampler | None = None
        self._sampler_state: tuple[int, bytes] | None = None

    @property
    def steps(self) -> int:
        """Steps held."""
        return int(self.arrays["lengths"].sum())

    @property
    def wave(self) -> int:
        """Number of the newest wave; 0 before the first."""
        return int(self.arrays["waves"].max())

    def begin(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Open one episode for each start bar (B,), and return their rows (B,).

        Raises
        ------
        FxPipelineError
            If there is no room for so many.
        """
        count = len(starts)
        if count > self.capacity:
            raise FxPipelineError(f"{count} episodes do not fit a replay of {self.capacity}.")
        rows = self._oldest(count) if self.config.evict == "oldest" else self._emptied(count)
        arrays = self.arrays
        wave = self.wave + 1
        self._clear(rows)
        arrays["starts"][rows] = starts
        arrays["serials"][rows] = self.written + np.arange(count)
        arrays["waves"][rows] = arrays["refreshed"][rows] = wave
        self.written += count
        return rows

    def newest(self, count: int) -> npt.NDArray[np.int64]:
        """Rows (count,) of the newest episodes, in the order in which they were begun."""
        return np.argsort(self.arrays["serials"], kind="stable")[self.capacity - count :]

    def advance(self, rows: npt.NDArray[np.int64], steps: int) -> None:
        """Count `steps` more recorded steps of each of `rows` (B,), which stand at the same step; rate them."""
        arrays = self.arrays
        first = int(arrays["lengths"][rows[0]])
        settle(rows, first, first + steps, arrays["static"][:, :, 0], arrays["actions"], self._targets,
               arrays["rewards"], arrays["qualities"], arrays["trade_counts"], arrays["trade_pips"],
               self.config.share_trade_reward)  # fmt: skip
        arrays["lengths"][rows] += steps

    def feed_back(self, batch: Batch, td_errors: npt.NDArray[np.float32]) -> None:
        """Keep the TD errors (B,) of an update's samples: they count from the next `advance` on."""
        self.arrays["td_errors"][batch.rows, batch.steps] = td_errors

    def quality(self) -> npt.NDArray[np.float32]:
        """Quality (E, T) of each step; meaningless beyond `lengths`."""
        arrays = self.arrays
        return whole_quality(arrays["qualities"], arrays["td_errors"], arrays["trade_counts"], arrays["trade_pips"])

    def sample(
        self,
        market: MarketArrays,
        learner: LearnerConfig,
        *,
        window_bars: int,
        discount: float,
        generator: np.random.Generator,
        mirror: Mirror | None = None,
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
        mirror : Mirror, optional
            By which every other sample is turned upside down; None: none is.

        Raises
        ------
        FxPipelineError
            If nothing has been recorded.
        """
        choice = self._ready_sampler().draw(learner.batch_size, generator)
        episodes, steps = choice.places // self.session_bars, choice.places % self.session_bars
        unroll = learner.unroll_steps
        arrays = self.arrays
        lengths = arrays["lengths"][episodes, None]
        times = steps[:, None] + np.arange(unroll + 1)
        inside = np.minimum(times, self.session_bars - 1)
        rows = episodes[:, None]
        recorded = Recorded(*(arrays[name] for name in Recorded._fields))
        ages = self.wave - arrays["waves"][episodes]
        horizons = corrected_td_steps(learner.td_steps, ages, learner.td_steps_decay_waves)

        def returns(count: int, trusted: int) -> npt.NDArray[np.float32]:
            targets = empty_targets(len(episodes), count)
            value_targets(
                recorded, episodes, steps, count, horizons, discount, learner.bootstrap_at_end, cut, trusted, targets
            )
            return targets

        cut = learner.exploration_cut
        values = returns(unroll + 1, 0)
        has_targets = (times < np.minimum(lengths, self.session_bars - 1)).astype(np.float32)
        later_temporal = later_static = None
        if learner.consistency_weight:
            later = inside[:, 1 : learner.consistency_steps + 1]
            bars = (arrays["starts"][rows] + later).ravel()
            windows = market.windows(bars, window_bars)
            later_temporal = windows.reshape(*later.shape, *windows.shape[1:])
            later_static = arrays["static"][rows, later]
        batch = Batch(
            rows=episodes,
            steps=steps,
            temporal=market.windows(arrays["starts"][episodes] + steps, window_bars),
            static=arrays["static"][episodes, steps],
            actions=arrays["actions"][rows, inside[:, :-1]].astype(np.int64),
            outcomes=arrays["outcomes"][rows, inside[:, :-1]].astype(np.int64),
            rewards=arrays["rewards"][rows, inside[:, :-1]],
            policies=arrays["policies"][rows, inside],
            values=values,
            action_values=returns(unroll, 1) if cut else None,
            state_mask=has_targets,
            step_mask=has_targets[:, :-1],
            weights=choice.weights,
            later_temporal=later_temporal,
            later_static=later_static,
        )
        return batch if mirror is None else mirrored(batch, slice(1, None, 2), mirror)

    def _ready_sampler(self) -> Sampler:
        """The sampler of the present state; priorities are those of its first use, TD errors included."""
        arrays = self.arrays
        state = (self.written, arrays["lengths"].tobytes())
        if self._sampler is None or state != self._sampler_state:
            ends = np.minimum(arrays["lengths"], self.session_bars - 1)
            priorities = None
            if self.config.priority_weight:
                priorities = np.maximum(self.quality(), 0.0) + LEAST_QUALITY
                priorities *= recency(arrays["serials"])[:, None].astype(np.float32)
            self._sampler = Sampler(
                self.config,
                np.arange(self.session_bars) < ends[:, None],
                arrays["static"][:, :, 0] != 0.0,
                self._successes() if self.config.success_share else np.zeros(0, dtype=np.int64),
                priorities,
            )
            self._sampler_state = state
        return self._sampler

    def _successes(self) -> npt.NDArray[np.int64]:
        return successes(self.arrays["rewards"], self.arrays["lengths"], self.arrays["serials"])

    def _oldest(self, count: int) -> npt.NDArray[np.int64]:
        return np.argsort(self.arrays["serials"], kind="stable")[:count]

    def _emptied(self, count: int) -> npt.NDArray[np.int64]:
        arrays = self.arrays
        while len(free := np.flatnonzero(arrays["serials"] < 0)) < count:
            lengths = arrays["lengths"]
            held = arrays["serials"] >= 0
            played = held & (arrays["waves"] == self.wave) & (lengths < self.session_bars)
            rows = np.flatnonzero(held & ~played)
            missing = count - len(free)
            if missing > len(rows):
                raise FxPipelineError(
                    f"{count} episodes do not fit a replay of {self.capacity} of which {int(played.sum())} are being "
                    "played: raise replay.capacity_steps."
                )
            recorded = np.arange(self.session_bars) < lengths[:, None]
            means = np.where(recorded, self.quality(), 0.0).sum(axis=1) / np.maximum(lengths, 1)
            remembered = np.isin(np.arange(self.capacity), self._successes() // self.session_bars)
            at_once = min(math.ceil(EVICTED_SHARE * self.capacity), len(rows))
            traded = arrays["trade_counts"][rows] > 0
            evicted = worst(at_once, rows, means[rows], traded, remembered[rows], arrays["serials"][rows])
            self._clear(evicted)
            arrays["serials"][evicted] = -1
        return free[:count]

    def _clear(self, rows: npt.NDArray[np.int64]) -> None:
        for name in ("lengths", "td_errors", "trade_counts", "trade_pips"):
            self.arrays[name][rows] = 0

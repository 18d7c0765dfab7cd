"""The engine as Python sees it: weights, threads, and batches of any size."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.muzero.engine import forward, pack
from fx_pipeline.agents.muzero.engine.pack import Packed, Precision
from fx_pipeline.agents.muzero.engine.play import Manner, Record, play
from fx_pipeline.agents.muzero.engine.search import Trees, allocate_trees, grow
from fx_pipeline.agents.muzero.engine.stretch import Stretch, allocate_stretch, encode_bars
from fx_pipeline.agents.muzero.engine.vectors import HAS_BF16
from fx_pipeline.agents.muzero.networks import MuZeroNetworks
from fx_pipeline.environment.actions import NUM_OUTCOMES
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.search import SearchConfig, SearchResult
from fx_pipeline.search.rules import at_noise, make_rules

#: Most sessions of a group. A simulation brings all weights through the cache once for the whole group: a row of 128
#: takes 5 % less time than one of 48, and more than that buys nothing.
GROUP_ROWS = 128
#: Market codes that are kept for one version of the weights: those of a year of minutes (384 MB at 240 channels), so
#: that a validation encodes them once for all that it plays.
KEPT_CODES = 400_000

Float32 = npt.NDArray[np.float32]


def workers_available() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_precision() -> Precision:
    """bfloat16 where the processor multiplies it, else float32."""
    return "bf16" if HAS_BF16 else "fp32"


class Engine:
    """Search and self-play without Python in the loop, on all cores.

    Results depend neither on the number of threads nor on how rows are grouped: a row sees its own numbers only.

    Parameters
    ----------
    networks : MuZeroNetworks
        Their weights are taken over now and at every `refresh`.
    search : SearchConfig
    precision : str
        "fp32", or "bf16" where the processor has it.
    workers : int
        Threads; 0 for all cores.

    Raises
    ------
    ConfigurationError
        If the processor or the shape of the networks does not allow it.
    """

    def __init__(self, networks: MuZeroNetworks, search: SearchConfig, precision: Precision, workers: int = 0) -> None:
        reason = pack.unsupported(networks)
        if reason is not None:
            raise ConfigurationError(f"the fast engine cannot run these networks: {reason}. Set runtime.engine: torch.")
        if precision == "bf16" and not HAS_BF16:
            raise ConfigurationError("this processor has no bfloat16 products (AVX512_BF16): use fp32.")
        self.networks = networks
        self.spec = networks.spec
        self.search = search
        self.precision = precision
        self.workers = workers or workers_available()
        self._rules = make_rules(search, self.spec.actions, NUM_OUTCOMES)
        self._rooms: list[tuple[forward.Scratch, Trees]] = []
        self._stretches: list[Stretch] = []
        self._pool: ThreadPoolExecutor | None = None
        self.refresh()

    @property
    def codes_known(self) -> int:
        """Bars that have been encoded with the present weights."""
        return self._known

    def refresh(self) -> None:
        """Take over the networks' present weights."""
        self.packed: Packed = pack.pack(self.networks, self.precision)
        self._codes = np.zeros((0, int(self.packed.sizes[pack.CHANNELS])), dtype=np.float32)
        self._known = 0
        self._slots: npt.NDArray[np.int32] | None = None
        self._features: Float32 | None = None

    def priors(self, observation: Observation, codes: Float32 | None = None) -> npt.NDArray[np.float64]:
        """Policy logits (B, A), without a search; `codes` and errors as of `plan`."""
        states = self._states(observation, codes)
        logits = np.zeros((len(states), self.spec.actions))

        def run(group: int, rows: slice) -> None:
            scratch, _ = self.room(group)
            forward.policy_of(self.packed, scratch, states[rows], logits[rows])

        self._each_group(len(states), run)
        return logits

    def plan(
        self,
        observation: Observation,
        *,
        seed: int,
        counters: npt.NDArray[np.uint64],
        noise: float,
        codes: Float32 | None = None,
    ) -> SearchResult:
        """Search from each observation; see `fx_pipeline.search.StochasticSearch.run`.

        `codes` (B, channels) are the market codes of its windows where they are known, from `market_codes`: they save
        the encoding, and change nothing.

        Raises
        ------
        DataError
            If the observation has another shape than the networks' inputs.
        TrainingDivergedError
            If the model gives a number that is not finite.
        """
        states = self._states(observation, codes)
        batch, actions = len(states), self.spec.actions
        rules = at_noise(self._rules, noise, np.uint64(seed))
        result = SearchResult(
            visits=np.zeros((batch, actions), dtype=np.int32),
            values=np.zeros(batch),
            q_values=np.zeros((batch, actions)),
            prior_probs=np.zeros((batch, actions)),
            max_depth=np.zeros(batch, dtype=np.int32),
            policy=np.zeros((batch, actions)),
            actions=np.zeros(batch, dtype=np.int64),
        )
        finite = np.ones(batch, dtype=bool)

        def run(group: int, rows: slice) -> None:
            scratch, room = self.room(group)
            count = rows.stop - rows.start
            room.states[:count] = states[rows]
            finite[rows] = grow(self.packed, scratch, room, rules, observation.legal[rows], counters[rows])
            result.visits[rows] = room.visits[:count]
            result.values[rows] = room.values[:count]
            result.q_values[rows] = room.q_values[:count]
            result.prior_probs[rows] = room.tree.probs[:count, 0, :actions]
            result.max_depth[rows] = room.depths[:count]
            result.policy[rows] = room.policy[:count]
            result.actions[rows] = room.actions[:count]

        self._each_group(batch, run)
        if not finite.all():
            raise _not_finite()
        return result

    def play(
        self,
        environment: LockstepEnvironment,
        record: Record,
        manner: Manner,
        counters: npt.NDArray[np.uint64],
        seed: int,
        steps: int,
    ) -> int:
        """Play `steps` bars of all sessions of an environment, and record them.

        Parameters
        ----------
        environment : LockstepEnvironment
            Moved on in place.
        record : Record
            Where to record; `rows` has one entry a session.
        counters : (B,) uint64
            Those of each session's first decision.
        seed : int
            Of the search.
        steps : int

        Returns
        -------
        int
            Sum of the search depths over sessions and steps.

        Raises
        ------
        DataError
            If the environment shows something else than the networks were made for.
        TrainingDivergedError
            If the model gives a number that is not finite.
        """
        self.spec.require(environment.spec, "the network")
        seats = environment.seats
        batch, first = len(seats.starts), environment.steps_done
        bars = seats.starts[:, None] + np.arange(first, first + steps)
        codes, places = self._market_codes(environment.market.features, bars)
        rules = at_noise(self._rules, manner.noise, np.uint64(seed))
        depths = np.zeros(batch, dtype=np.int64)

        def run(group: int, rows: slice) -> None:
            scratch, room = self.room(group)
            depths[rows.start] = play(
                self.packed,
                scratch,
                room,
                rules,
                environment.game,
                seats.part(rows),
                record._replace(rows=record.rows[rows]),
                manner,
                codes,
                places[rows],
                counters[rows],
                environment.session_bars,
                first,
                steps,
            )

        self._each_group(batch, run)
        if (depths < 0).any():
            raise _not_finite()
        environment.steps_done += steps
        return int(depths.sum())

    def market_codes(self, features: Float32, bars: npt.NDArray[np.int64]) -> Float32:
        """Codes (B, channels) of the windows of `features` (T, F) that end at `bars` (B,).

        They are kept while the same features are asked for and the weights stay: ask for all bars of a session first.

        Raises
        ------
        DataError
            If there are more or fewer features than the networks read.
        IndexError
            If a window leaves the features: a negative index would wrap around to the newest bars.
        """
        window = int(self.packed.sizes[pack.WINDOW])
        if len(bars) and not (window - 1 <= int(bars.min()) and int(bars.max()) < len(features)):
            raise IndexError(
                f"windows of {window} bars that end at bars {int(bars.min())}..{int(bars.max())} leave the "
                f"{len(features)} bars of the market."
            )
        codes, places = self._market_codes(features, bars)
        return codes[places]

    def _states(self, observation: Observation, codes: Float32 | None) -> Float32:
        # The loops behind this trust every shape.
        self.spec.check(observation, "the network")
        static = np.ascontiguousarray(observation.static, dtype=np.float32)
        sizes = self.packed.sizes
        states = pack.aligned((len(static), int(sizes[pack.HIDDEN])), np.float32)
        if codes is not None:
            forward.embed_rows(self.packed, codes, static, states)
            return states
        temporal = np.ascontiguousarray(observation.temporal, dtype=np.float32)
        made = np.zeros((len(static), int(sizes[pack.CHANNELS])), dtype=np.float32)

        def run(group: int, rows: slice) -> None:
            scratch, _ = self.room(group)
            forward.encode_windows(self.packed, scratch, temporal[rows], made[rows])
            forward.embed_rows(self.packed, made[rows], static[rows], states[rows])

        self._each_group(len(static), run)
        return states

    def _market_codes(self, features: Float32, bars: npt.NDArray[np.int64]) -> tuple[Float32, npt.NDArray[np.int64]]:
        """Codes (K, channels), and which of them each of `bars` has; each bar is encoded once."""
        if features.ndim != 2 or features.shape[1] != self.spec.features:
            raise DataError(f"the network reads {self.spec.features} features a bar, and is given {features.shape}.")
        if self._features is not features or self._slots is None:
            self._features, self._known = features, 0
            self._slots = np.full(len(features), -1, dtype=np.int32)
        wanted = np.unique(bars)
        missing = wanted[self._slots[wanted] < 0]
        if len(missing) and self._known and self._known + len(missing) > KEPT_CODES:
            self._known = 0
            self._slots[:] = -1
            missing = wanted
        needed = self._known + len(missing)
        if needed > len(self._codes):
            room = max(needed, min(2 * len(self._codes), KEPT_CODES))
            grown = np.zeros((room, self._codes.shape[1]), dtype=np.float32)
            grown[: self._known] = self._codes[: self._known]
            self._codes = grown
        fresh = self._codes[self._known : needed]

        while len(self._stretches) < self.workers:
            self._stretches.append(allocate_stretch(self.packed, self.precision))

        def run(group: int, rows: slice) -> None:
            scratch, _ = self.room(group)
            encode_bars(self.packed, scratch, self._stretches[group], features, missing[rows], fresh[rows])

        self._each_group(len(missing), run, whole=True)
        self._slots[missing] = np.arange(self._known, needed)
        self._known = needed
        return self._codes, self._slots[bars].astype(np.int64)

    def room(self, worker: int) -> tuple[forward.Scratch, Trees]:
        """Scratch and trees of one worker, for `GROUP_ROWS` rows."""
        hidden = int(self.packed.sizes[pack.HIDDEN])
        while len(self._rooms) <= worker:
            self._rooms.append(
                (
                    forward.allocate_scratch(self.packed, self.precision, GROUP_ROWS),
                    allocate_trees(GROUP_ROWS, self.search.simulations, hidden, self.spec.actions),
                )
            )
        return self._rooms[worker]

    def _each_group(self, rows: int, run: Callable[[int, slice], Any], whole: bool = False) -> None:
        """Call `run` with a room's number and a slice of `rows` for each group; groups of one worker share a room."""
        if rows == 0:
            return
        # As many groups for each worker.
        groups = self.workers * (1 if whole else -(-rows // (GROUP_ROWS * self.workers)))
        size = -(-rows // groups)
        slices = [slice(first, min(first + size, rows)) for first in range(0, rows, size)]
        workers = min(self.workers, len(slices))
        self.room(workers - 1)

        def work(worker: int) -> None:
            for rows in slices[worker::workers]:
                run(worker, rows)

        if workers == 1:
            work(0)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="engine")
        # All are waited for before the first error is raised: none may go on writing.
        pending = [self._pool.submit(work, worker) for worker in range(workers)]
        errors = [future.exception() for future in pending]
        for error in errors:
            if error is not None:
                raise error


def _not_finite() -> TrainingDivergedError:
    return TrainingDivergedError(
        "the model gave a value, reward or logit that is not finite: its weights are broken, or an observation is not "
        "finite. Train again with a lower learning rate."
    )

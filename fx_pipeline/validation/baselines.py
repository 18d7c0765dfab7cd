"""Policies that need no skill: what a model must beat on the same sessions and costs, with the actions that it has.

They stand behind the same `Policy` seam, so they run through the same rollout. None has a memory: each decides from
the observation alone.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.validation.rollout import Rollout

SMA_FAST_BARS = 30
SMA_SLOW_BARS = 120
_EXPOSURE = STATIC_FEATURES.index("position_side")

Actions = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Held(Stateless):
    """Take one exposure at the first bar of a session and hold it to the end; the cost is paid once a session.

    Attributes
    ----------
    exposure : float
        0 never trades.
    name : str
    actions : ActionSet
        Has that exposure.
    """

    exposure: float
    name: str
    actions: ActionSet = UNIT4

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        held = observation.static[:, _EXPOSURE]
        return self.actions.toward(np.full(len(held), self.exposure), held, observation.legal)


@dataclass(frozen=True)
class Flat(Held):
    """Never trade."""

    exposure: float = 0.0
    name: str = "flat"


def buy_and_hold(actions: ActionSet = UNIT4) -> Held:
    """Buy at each session's start, as much as can be, and hold to its end."""
    return Held(max(actions.levels), "buy and hold", actions)


def sell_and_hold(actions: ActionSet = UNIT4) -> Held:
    """Sell at each session's start, as much as can be, and hold to its end."""
    return Held(min(actions.levels), "sell and hold", actions)


class SmaCross(Stateless):
    """Long while the fast moving average of closes is above the slow one, short while it is below.

    Parameters
    ----------
    market : MarketArrays
    fast, slow : int
        Bars of the two averages; both end at and include the bar of the decision.
    actions : ActionSet
        On a side that it does not have the rule is flat, and says so in its name.
    """

    def __init__(
        self,
        market: MarketArrays,
        fast: int = SMA_FAST_BARS,
        slow: int = SMA_SLOW_BARS,
        actions: ActionSet = UNIT4,
    ) -> None:
        if not 1 <= fast < slow:
            raise ValueError(f"the fast average ({fast}) must be shorter than the slow one ({slow}).")
        self.name = f"SMA cross {fast}/{slow}"
        short, long = min(actions.levels), max(actions.levels)
        if not short < 0.0 < long:
            self.name += ", long only" if long > 0.0 else ", short only"
        self._actions = actions
        # Differences from the first close keep the running sum small, and so exact to the last pip's fraction.
        total = np.concatenate(([0.0], np.cumsum(market.close - market.close[0])))
        self._wanted = np.zeros(len(market))
        if len(market) < slow:
            return
        fast_mean = (total[slow:] - total[slow - fast : len(total) - fast]) / fast
        slow_mean = (total[slow:] - total[: len(total) - slow]) / slow
        self._wanted[slow - 1 :] = np.select([fast_mean > slow_mean, fast_mean < slow_mean], [long, short], 0.0)

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        wanted, held = self._wanted[observation.bar], observation.static[:, _EXPOSURE]
        return self._actions.toward(wanted, held, observation.legal)


class Habit(Protocol):
    """How much a policy trades, without when: chances of going from one exposure to another, from bar to bar.

    Attributes
    ----------
    levels : tuple of float
        The exposures, K of them.
    moves : (K,) float64
        Chance to leave each level at a decision that is free.
    shares : (K, K) float64
        Where to, once it is left: rows are levels, and sum to 1 where they can be left.
    """

    @property
    def levels(self) -> tuple[float, ...]: ...
    @property
    def moves(self) -> Float64: ...
    @property
    def shares(self) -> Float64: ...


@dataclass(frozen=True)
class Turnover:
    """The habit of who holds one unit or none, and leaves it to flat.

    Attributes
    ----------
    entry_probability : float
        Chance to enter at a flat bar.
    exit_probability : float
        Chance to close at a bar in a position, before a session's last bar.
    long_share : float
        Share of entries that are long.
    """

    entry_probability: float
    exit_probability: float
    long_share: float

    @property
    def levels(self) -> tuple[float, ...]:
        """Long, flat and short."""
        return (1.0, 0.0, -1.0)

    @property
    def moves(self) -> Float64:
        """As of `Habit`."""
        return np.array([self.exit_probability, self.entry_probability, self.exit_probability])

    @property
    def shares(self) -> Float64:
        """As of `Habit`."""
        return np.array([[0.0, 1.0, 0.0], [self.long_share, 0.0, 1.0 - self.long_share], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Transitions:
    """The habit of who holds exposures of several sizes, or turns them; see `Habit`."""

    levels: tuple[float, ...]
    moves: Float64
    shares: Float64


def turnover(done: Rollout) -> Turnover | Transitions:
    """Measure the habit of a rollout; all chances are 0 when it did not trade."""
    actions = done.action_set
    # All decisions but the last of each session, which is not free.
    free = np.arange(done.session_bars) < done.lengths[:, None] - 1
    held, wanted = done.held[free], done.wanted[free]
    if actions.through_flat and set(actions.levels) == {1.0, 0.0, -1.0}:
        entered, left = (held == 0.0) & (wanted != 0.0), (held != 0.0) & (wanted == 0.0)
        entries = int(entered.sum())
        return Turnover(
            entry_probability=entries / max(int((held == 0.0).sum()), 1),
            exit_probability=int(left.sum()) / max(int((held != 0.0).sum()), 1),
            long_share=int((entered & (wanted > 0.0)).sum()) / max(entries, 1),
        )
    size = len(actions.levels)
    places = size * actions.level_of(held) + actions.level_of(wanted)
    counts = np.bincount(places, minlength=size * size).reshape(size, size).astype(np.float64)
    visits = counts.sum(axis=1)
    np.fill_diagonal(counts, 0.0)
    left_level = counts.sum(axis=1)
    return Transitions(
        actions.levels, left_level / np.maximum(visits, 1.0), counts / np.maximum(left_level, 1.0)[:, None]
    )


class RandomTrader(Stateless):
    """Trade at random with a given turnover: the same number, length, size and direction of trades, no timing.

    The draw for a bar is a hash of the seed and the bar, so it depends neither on the batch nor on earlier calls.

    Parameters
    ----------
    habit : Habit
        From `turnover`.
    seed : int
    actions : ActionSet
        Of the habit.
    """

    def __init__(self, habit: Habit, seed: int, actions: ActionSet = UNIT4) -> None:
        if habit.levels != actions.levels:
            raise ValueError(f"a habit of {habit.levels} cannot be had with {actions.name}, {actions.levels}.")
        self.name = f"random, same turnover (seed {seed})"
        self._actions, self._key = actions, np.uint64(seed)
        self._levels, self._moves, self._reached = np.array(habit.levels), habit.moves, habit.shares.cumsum(axis=1)
        # Rounding must not leave the last place out of reach.
        self._reached[:, -1] = 1.0

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        when, where = (_uniform(self._key, observation.bar, stream) for stream in (0, 1))
        held = observation.static[:, _EXPOSURE]
        level = self._actions.level_of(held)
        there = (where[:, None] < self._reached[level]).argmax(axis=1)
        wanted = self._levels[np.where(when < self._moves[level], there, level)]
        return self._actions.toward(wanted, held, observation.legal)


def _uniform(key: np.uint64, bar: Actions, stream: int) -> npt.NDArray[np.float64]:
    # splitmix64 of (seed, bar, stream); unsigned arithmetic wraps by definition.
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        word = _mix(np.atleast_1d(key + golden))
        word = _mix(word + (bar.astype(np.uint64) * np.uint64(2) + np.uint64(stream + 1)) * golden)
    return (word >> np.uint64(11)).astype(np.float64) / float(2**53)


def _mix(word: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))

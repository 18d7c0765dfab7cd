"""Policies that need no skill: what a model must beat on the same sessions and costs.

They stand behind the same `Policy` seam, so they run through the same rollout. None has a memory: each decides from
the observation alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.validation.rollout import Rollout

SMA_FAST_BARS = 30
SMA_SLOW_BARS = 120
_SIDE = STATIC_FEATURES.index("position_side")

Actions = npt.NDArray[np.int64]


def _hold_or_close(observation: Observation) -> Actions:
    return np.where(observation.legal[:, HOLD], HOLD, CLOSE).astype(np.int64)


@dataclass(frozen=True)
class Flat(Stateless):
    """Never trade."""

    name: str = "flat"

    def choose(self, observation: Observation) -> Actions:
        """Return HOLD for each of the (B,) observation."""
        return _hold_or_close(observation)


@dataclass(frozen=True)
class EnterAndHold(Stateless):
    """Enter at the first bar of a session and hold to its end; the cost is paid once a session.

    Attributes
    ----------
    action : int
        BUY or SELL.
    name : str
    """

    action: int
    name: str

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        return np.where(observation.legal[:, self.action], self.action, _hold_or_close(observation))


def buy_and_hold() -> EnterAndHold:
    """Buy at each session's start and hold to its end."""
    return EnterAndHold(BUY, "buy and hold")


def sell_and_hold() -> EnterAndHold:
    """Sell at each session's start and hold to its end."""
    return EnterAndHold(SELL, "sell and hold")


class SmaCross(Stateless):
    """Long while the fast moving average of closes is above the slow one, short while it is below.

    Parameters
    ----------
    market : MarketArrays
    fast, slow : int
        Bars of the two averages; both end at and include the bar of the decision.
    """

    def __init__(self, market: MarketArrays, fast: int = SMA_FAST_BARS, slow: int = SMA_SLOW_BARS) -> None:
        if not 1 <= fast < slow:
            raise ValueError(f"the fast average ({fast}) must be shorter than the slow one ({slow}).")
        self.name = f"SMA cross {fast}/{slow}"
        # Differences from the first close keep the running sum small, and so exact to the last pip's fraction.
        total = np.concatenate(([0.0], np.cumsum(market.close - market.close[0])))
        self._side = np.zeros(len(market), dtype=np.int64)
        if len(market) < slow:
            return
        fast_mean = (total[slow:] - total[slow - fast : len(total) - fast]) / fast
        slow_mean = (total[slow:] - total[: len(total) - slow]) / slow
        self._side[slow - 1 :] = np.sign(fast_mean - slow_mean)

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        wanted = self._side[observation.bar]
        held = np.rint(observation.static[:, _SIDE]).astype(np.int64)
        entry = np.select([wanted > 0, wanted < 0], [BUY, SELL], HOLD)
        action = np.where(held == 0, entry, np.where(held == wanted, HOLD, CLOSE))
        legal = observation.legal[np.arange(len(action)), action]
        return np.where(legal, action, _hold_or_close(observation))


@dataclass(frozen=True)
class Turnover:
    """How much a policy trades, without when.

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


def turnover(done: Rollout) -> Turnover:
    """Measure the turnover of a rollout; all probabilities are 0 when it did not trade."""
    # All decisions but the last of each session, which is not free.
    free = np.arange(done.session_bars) < done.lengths[:, None] - 1
    actions, held = done.actions[free], done.in_position[free]
    entries, longs = int(((actions == BUY) | (actions == SELL)).sum()), int((actions == BUY).sum())
    return Turnover(
        entry_probability=entries / max(int((~held).sum()), 1),
        exit_probability=int((actions == CLOSE).sum()) / max(int(held.sum()), 1),
        long_share=longs / max(entries, 1),
    )


class RandomTrader(Stateless):
    """Trade at random with a given turnover: the same number, length and direction of trades, no timing.

    The draw for a bar is a hash of the seed and the bar, so it depends neither on the batch nor on earlier calls.

    Parameters
    ----------
    turnover : Turnover
    seed : int
    """

    def __init__(self, turnover: Turnover, seed: int) -> None:
        self.name = f"random, same turnover (seed {seed})"
        self._turnover = turnover
        self._key = np.uint64(seed)

    def choose(self, observation: Observation) -> Actions:
        """Return the (B,) actions."""
        when, side = (_uniform(self._key, observation.bar, stream) for stream in (0, 1))
        legal = observation.legal
        enter = legal[:, BUY] & (when < self._turnover.entry_probability)
        leave = legal[:, CLOSE] & (when < self._turnover.exit_probability)
        entry = np.where(side < self._turnover.long_share, BUY, SELL)
        return np.where(enter, entry, np.where(leave, CLOSE, _hold_or_close(observation)))


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

"""Policies to compare with: the best one, the best rule on one feature, and uniform chance."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, NUM_ACTIONS, SELL, playable
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.proofs.markets import MarketName, closes_in_pips
from fx_pipeline.proofs.optimum import best_plan, next_belief

Int64 = npt.NDArray[np.int64]

_SIDE = STATIC_FEATURES.index("position_side")
_POSITION_IN_RANGE = FEATURE_NAMES.index("position_in_range_60")


class BestPlayer(Stateless):
    """Plays the optimum of a market, which knows what the past says of the hidden state.

    Parameters
    ----------
    name : str
    market : MarketArrays
        From `proof_market`.
    starts : (B,) int64
        First bars of the sessions of the batch: the end of a session is part of the plan.
    """

    def __init__(self, name: MarketName, market: MarketArrays, starts: Int64) -> None:
        self._plan = best_plan(name)
        self._state = known_state(name, market)
        self._starts = starts

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        state = self._state[observation.bar]
        decision = int(observation.bar[0] - self._starts[0])
        gains = [np.interp(state, self._plan.grid, gain) for gain in self._plan.gains[decision]]
        buy, sell, close_long, close_short = gains
        side = observation.static[:, _SIDE]
        entry = np.select([(buy > 0) & (buy >= sell), sell > 0], [BUY, SELL], HOLD)
        leave = np.where(np.where(side > 0, close_long, close_short) > 0, CLOSE, HOLD)
        return playable(np.where(side == 0, entry, leave), observation.legal)


def known_state(name: MarketName, market: MarketArrays) -> npt.NDArray[np.float64]:
    """What can be known at each close (T,) of the state that the plan of that market is a function of."""
    pips = closes_in_pips(market)
    if name == "walk":
        return np.zeros(len(market))
    if name == "ou":
        return pips
    belief, beliefs = 0.5, []
    for move in np.diff(pips, prepend=pips[0]).tolist():
        belief = float(next_belief(belief, move))
        beliefs.append(belief)
    return np.asarray(beliefs)


@dataclass(frozen=True)
class RangeRule(Stateless):
    """Buys low and sells high in the range of the last 60 bars, or the other way round.

    Attributes
    ----------
    enter : float
        Buys where the price stands at or below this share of the range, sells at or above 1 - `enter`.
    leave : float
        Closes a long at or above this share, a short at or below 1 - `leave`.
    follow : bool
        Trade breakouts: the range upside down.
    """

    enter: float
    leave: float
    follow: bool = False

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        place = observation.temporal[:, -1, _POSITION_IN_RANGE].astype(np.float64)
        low = 1.0 - place if self.follow else place
        side = observation.static[:, _SIDE]
        entry = np.select([low <= self.enter, 1.0 - low <= self.enter], [BUY, SELL], HOLD)
        leave = np.where(np.where(side > 0, low, 1.0 - low) >= self.leave, CLOSE, HOLD)
        return playable(np.where(side == 0, entry, leave), observation.legal)


#: The best rules on the one feature.
BEST_RULES = {"ou": RangeRule(0.2, 0.7), "regime": RangeRule(0.3, 0.5, follow=True)}


@dataclass
class RandomPlayer(Stateless):
    """One of the four actions at random; one that the position does not allow is HOLD.

    It remembers its generator, so two calls differ.

    Attributes
    ----------
    seed : int
    """

    seed: int
    _draw: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(self.seed)

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        return playable(self._draw.integers(NUM_ACTIONS, size=len(observation.legal)), observation.legal)

"""Policies to compare with: the best one, the best rule on one feature, and uniform chance."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.proofs.markets import MarketName, closes_in_pips
from fx_pipeline.proofs.optimum import SESSION_BARS, best_plan, next_belief

Int64 = npt.NDArray[np.int64]

_EXPOSURE = STATIC_FEATURES.index("position_side")
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
    actions : ActionSet
    session_bars : int
    """

    def __init__(
        self,
        name: MarketName,
        market: MarketArrays,
        starts: Int64,
        actions: ActionSet = UNIT4,
        session_bars: int = SESSION_BARS,
    ) -> None:
        self._plan = best_plan(name, session_bars, actions)
        self._state = known_state(name, market)
        self._starts = starts

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        state = self._state[observation.bar]
        decision = int(observation.bar[0] - self._starts[0])
        actions, held = self._plan.actions, observation.static[:, _EXPOSURE]
        have, levels = actions.level_of(held), np.array(actions.levels)
        wanted = levels[have]
        for level in np.unique(have).tolist():
            rows = have == level
            gains = self._plan.gains(decision, level, state[rows])
            best = gains.argmax(axis=0)
            # What brings nothing is left alone.
            wanted[rows] = levels[np.where(gains.max(axis=0) > 0.0, best, level)]
        return actions.toward(wanted, held, observation.legal)


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
    actions : ActionSet
        It trades their largest exposures, as far as they have both sides.
    """

    enter: float
    leave: float
    follow: bool = False
    actions: ActionSet = UNIT4

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        place = observation.temporal[:, -1, _POSITION_IN_RANGE].astype(np.float64)
        low = 1.0 - place if self.follow else place
        held = observation.static[:, _EXPOSURE]
        long, short = max(self.actions.levels), min(self.actions.levels)
        entry = np.select([low <= self.enter, 1.0 - low <= self.enter], [long, short], 0.0)
        leave = np.where(np.where(held > 0, low, 1.0 - low) >= self.leave, 0.0, held)
        return self.actions.toward(np.where(held == 0, entry, leave), held, observation.legal)


#: The best rules on the one feature.
BEST_RULES = {"ou": RangeRule(0.2, 0.7), "regime": RangeRule(0.3, 0.5, follow=True)}


@dataclass
class RandomPlayer(Stateless):
    """One of the actions at random; one that the position does not allow keeps it.

    It remembers its generator, so two calls differ.

    Attributes
    ----------
    seed : int
    actions : ActionSet
    """

    seed: int
    actions: ActionSet = UNIT4
    _draw: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._draw = np.random.default_rng(self.seed)

    def choose(self, observation: Observation) -> Int64:
        """Return the (B,) actions."""
        drawn = self._draw.integers(len(self.actions), size=len(observation.legal))
        return self.actions.playable(drawn, observation.legal)

"""What the best policy earns on each market, by dynamic programming over what can be known of its state.

`ou` is solved over the price itself and `regime` over the probability that the hidden trend is up, so both optima can
be reached by an agent that sees the past. On `walk` every entry costs 4 pips and earns nothing.

Sizes between nothing and all earn nothing more. Cut an exposure x into layers, one for each u in (0, 1): the layer is
long while x > u, short while x < -u, and flat otherwise. What x holds and what it opens is the mean of what the layers
hold and open, so its P&L after a cost in proportion to what is opened is the mean of theirs; and each layer holds one
unit or none, and moves only where x does. So no policy of exposures earns more than the best one of 1, 0 and -1 that
may turn at once, and a set that has these (`leverage7`, `long_flat_short`) has its optimum. It is a little more than
that of `unit4`, which is flat for a bar where it turns.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.proofs.markets import (
    COST_PIPS,
    OU_RHO,
    OU_SD_PIPS,
    OU_SIGMA_PIPS,
    REGIME_DRIFT_PIPS,
    REGIME_FLIP,
    REGIME_SIGMA_PIPS,
    MarketName,
)

Float64 = npt.NDArray[np.float64]

SESSION_BARS = SessionRules().bars
GRID_POINTS = 401
QUADRATURE_NODES = 21
_REACH_SD = 5.0


@dataclass(frozen=True)
class Plan:
    """The best policy of a session of K decisions, on a grid of G states.

    Attributes
    ----------
    grid : (G,) float64
        The state: pips from the mean on `ou`, probability of a rising trend on `regime`.
    actions : ActionSet
        Its L `levels` are what can be held.
    onward : (K, L, G) float64
        Expected pips from a decision to the end of the session with each level held after it, without what is paid for
        it. 0 at the last decision: the position is closed.
    optimum_pips : float
        Expected pips of a session that starts flat in the stationary distribution of the state.
    """

    grid: Float64
    actions: ActionSet
    onward: Float64
    optimum_pips: float

    def gains(self, decision: int, held: int, state: Float64 | None = None) -> Float64:
        """What going from a level to each other brings over staying, in expected pips to the end of the session.

        Parameters
        ----------
        decision : int
        held : int
            Index of the level that is held.
        state : (B,) float64, optional
            The grid by default.

        Returns
        -------
        (L, B) float64
            Minus infinity where the actions allow no such step.
        """
        onward = self.onward[decision]
        if state is not None:
            onward = np.stack([np.interp(state, self.grid, values) for values in onward])
        gains = onward - onward[held]
        for wanted, level in enumerate(self.actions.levels):
            gains[wanted] -= COST_PIPS * _opened(self.actions.levels[held], level)
            if not _allowed(self.actions, self.actions.levels[held], level):
                gains[wanted] = -np.inf
        return gains


@cache
def best_plan(name: MarketName, session_bars: int = SESSION_BARS, actions: ActionSet = UNIT4) -> Plan:
    """Solve a market; takes well under a second for three levels.

    Parameters
    ----------
    name : str
    session_bars : int
        K.
    actions : ActionSet

    Returns
    -------
    Plan
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
    weights = weights / weights.sum()
    if name == "walk":
        grid = np.zeros(1)
        return _solve(grid, np.ones((1, 1)), np.zeros(1), np.ones(1), session_bars, actions)
    if name == "ou":
        grid = np.linspace(-_REACH_SD * OU_SD_PIPS, _REACH_SD * OU_SD_PIPS, GRID_POINTS)
        onward = OU_RHO * grid[:, None] + OU_SIGMA_PIPS * nodes
        transition = _transition(grid, onward, np.broadcast_to(weights, onward.shape))
        density = np.exp(-0.5 * (grid / OU_SD_PIPS) ** 2)
        return _solve(grid, transition, (OU_RHO - 1.0) * grid, density / density.sum(), session_bars, actions)
    grid = np.linspace(REGIME_FLIP, 1.0 - REGIME_FLIP, GRID_POINTS)
    moves = np.concatenate(
        [REGIME_DRIFT_PIPS + REGIME_SIGMA_PIPS * nodes, -REGIME_DRIFT_PIPS + REGIME_SIGMA_PIPS * nodes]
    )
    onward = next_belief(grid[:, None], moves)
    chances = np.concatenate([grid[:, None] * weights, (1.0 - grid[:, None]) * weights], axis=1)
    transition = _transition(grid, onward, chances)
    drift = REGIME_DRIFT_PIPS * (2.0 * grid - 1.0)
    return _solve(grid, transition, drift, _stationary(transition), session_bars, actions)


def optimum_pips(name: MarketName, session_bars: int = SESSION_BARS, actions: ActionSet = UNIT4) -> float:
    """Expected pips of a session under the best policy."""
    return best_plan(name, session_bars, actions).optimum_pips


def next_belief(belief: npt.ArrayLike, move_pips: npt.ArrayLike) -> Float64:
    """Bayes' rule: the probability that the next bar of `regime` trends up, after a bar that moved by `move_pips`.

    Parameters
    ----------
    belief : array-like
        The probability that this bar trended up, before it was seen.
    move_pips : array-like
        Broadcast with `belief`.
    """
    before, move = np.asarray(belief, dtype=np.float64), np.asarray(move_pips, dtype=np.float64)
    up = before * np.exp(2.0 * REGIME_DRIFT_PIPS * move / REGIME_SIGMA_PIPS**2)
    posterior = up / (up + 1.0 - before)
    return posterior * (1.0 - REGIME_FLIP) + (1.0 - posterior) * REGIME_FLIP


def _transition(grid: Float64, onward: Float64, chances: Float64) -> Float64:
    """Matrix (G, G) that takes values on the grid to their expectation one bar on, by linear interpolation.

    `onward` (G, N) are the next states and `chances` (G, N) their probabilities.
    """
    place = np.clip(np.interp(onward, grid, np.arange(len(grid))), 0.0, len(grid) - 1.0)
    left = np.minimum(place.astype(np.int64), len(grid) - 2)
    share = place - left
    matrix = np.zeros((len(grid), len(grid)))
    rows = np.broadcast_to(np.arange(len(grid))[:, None], onward.shape)
    np.add.at(matrix, (rows, left), chances * (1.0 - share))
    np.add.at(matrix, (rows, left + 1), chances * share)
    return matrix


def _stationary(transition: Float64, bars: int = 4_096) -> Float64:
    distribution = np.full(len(transition), 1.0 / len(transition))
    for _ in range(bars):
        distribution = distribution @ transition
    return distribution / distribution.sum()


def _opened(held: float, wanted: float) -> float:
    """Exposure that is opened on the way from one to another: what a cost is paid on."""
    return abs(wanted) if held * wanted <= 0.0 else max(abs(wanted) - abs(held), 0.0)


def _allowed(actions: ActionSet, held: float, wanted: float) -> bool:
    return not actions.through_flat or held == 0.0 or wanted in (held, 0.0)


def _solve(
    grid: Float64, transition: Float64, drift: Float64, start: Float64, session_bars: int, actions: ActionSet
) -> Plan:
    """Backward induction; `drift` (G,) is the expected move of the next bar, `start` (G,) where a session begins."""
    levels = actions.levels
    onward = np.zeros((session_bars, len(levels), len(grid)))
    # At the last decision nothing is left to earn: results are counted bar by bar as they arise.
    values = np.zeros((len(levels), len(grid)))
    for decision in range(session_bars - 2, -1, -1):
        for place, level in enumerate(levels):
            onward[decision, place] = transition @ values[place] + level * drift
        for place, held in enumerate(levels):
            steps = [(_opened(held, level), one) for one, level in enumerate(levels) if _allowed(actions, held, level)]
            values[place] = np.max([onward[decision, one] for opened, one in steps if not opened], axis=0)
            paid = [onward[decision, one] - COST_PIPS * opened - values[place] for opened, one in steps if opened]
            if paid:
                values[place] += np.maximum(np.max(paid, axis=0), 0.0)
    return Plan(grid, actions, onward, float(start @ values[levels.index(0.0)]))

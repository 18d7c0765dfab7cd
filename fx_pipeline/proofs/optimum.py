"""What the best policy earns on each market, by dynamic programming over what can be known of its state.

`ou` is solved over the price itself and `regime` over the probability that the hidden trend is up, so both optima can
be reached by an agent that sees the past. On `walk` every entry costs 4 pips and earns nothing.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import SESSION_BARS
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
    gains : (K, 4, G) float64
        What an action brings over HOLD, in expected pips to the end of the session: BUY and SELL when flat, CLOSE of
        a long and CLOSE of a short. The last decision has none: the position is closed.
    optimum_pips : float
        Expected pips of a session that starts flat in the stationary distribution of the state.
    """

    grid: Float64
    gains: Float64
    optimum_pips: float


@cache
def best_plan(name: MarketName, session_bars: int = SESSION_BARS) -> Plan:
    """Solve a market; takes well under a second.

    Parameters
    ----------
    name : str
    session_bars : int
        K.

    Returns
    -------
    Plan
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_NODES)
    weights = weights / weights.sum()
    if name == "walk":
        grid = np.zeros(1)
        return _solve(grid, np.ones((1, 1)), np.zeros(1), np.ones(1), session_bars)
    if name == "ou":
        grid = np.linspace(-_REACH_SD * OU_SD_PIPS, _REACH_SD * OU_SD_PIPS, GRID_POINTS)
        onward = OU_RHO * grid[:, None] + OU_SIGMA_PIPS * nodes
        transition = _transition(grid, onward, np.broadcast_to(weights, onward.shape))
        density = np.exp(-0.5 * (grid / OU_SD_PIPS) ** 2)
        return _solve(grid, transition, (OU_RHO - 1.0) * grid, density / density.sum(), session_bars)
    grid = np.linspace(REGIME_FLIP, 1.0 - REGIME_FLIP, GRID_POINTS)
    moves = np.concatenate(
        [REGIME_DRIFT_PIPS + REGIME_SIGMA_PIPS * nodes, -REGIME_DRIFT_PIPS + REGIME_SIGMA_PIPS * nodes]
    )
    onward = next_belief(grid[:, None], moves)
    chances = np.concatenate([grid[:, None] * weights, (1.0 - grid[:, None]) * weights], axis=1)
    transition = _transition(grid, onward, chances)
    return _solve(grid, transition, REGIME_DRIFT_PIPS * (2.0 * grid - 1.0), _stationary(transition), session_bars)


def optimum_pips(name: MarketName, session_bars: int = SESSION_BARS) -> float:
    """Expected pips of a session under the best policy."""
    return best_plan(name, session_bars).optimum_pips


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


def _solve(grid: Float64, transition: Float64, drift: Float64, start: Float64, session_bars: int) -> Plan:
    """Backward induction; `drift` (G,) is the expected move of the next bar, `start` (G,) where a session begins."""
    gains = np.zeros((session_bars, 4, len(grid)))
    # At the last decision nothing is left to earn: results are counted bar by bar as they arise.
    flat, long, short = np.zeros((3, len(grid)))
    for decision in range(session_bars - 2, -1, -1):
        stay = transition @ flat
        hold_long, hold_short = transition @ long + drift, transition @ short - drift
        gains[decision] = (
            hold_long - COST_PIPS - stay,
            hold_short - COST_PIPS - stay,
            stay - hold_long,
            stay - hold_short,
        )
        entry = np.maximum(gains[decision, 0], gains[decision, 1])
        flat, long, short = stay + np.maximum(entry, 0.0), np.maximum(hold_long, stay), np.maximum(hold_short, stay)
    return Plan(grid, gains, float(start @ flat))

"""The position kernel: the only code that computes a P&L, a position feature or a reward.

A position is a row of float64, indexed by the constants below. It is one trade, from flat to flat or to the other side:

- EXPOSURE is the signed share of the allowed position that is held; GREATEST the most of it that was held.
- ENTRY is the average price of what is held. It moves where the position grows, and stays where it shrinks: then the
  part that was let go is REALISED, in pips.
- Pips are weighted by exposure: what a third of the allowed position gains in 9 pips is 3. PIPS is the result after the
  costs so far, realised and not; PEAK the high-water mark max(entry, best PIPS), which starts at 0; LOW the low-water
  mark, alike.
- OPENED and CLOSED are the exposures that were added and let go so far, OPENED_AT and CLOSED_AT their average prices:
  the whole trade made ``side * OPENED * (CLOSED_AT - OPENED_AT) / pip`` less COST.
- ENTRY_BAR is the bar in which the entry filled.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.units import POSITION_UNITS

EXPOSURE, ENTRY, COST, PIPS, PEAK, DRAWDOWN, MAX_DRAWDOWN, ACCUMULATED, AREA, BARS, ENTRY_BAR, LOW = range(12)
REALISED, GREATEST, OPENED, OPENED_AT, CLOSED, CLOSED_AT = range(12, 18)
POSITION_SIZE = 18
NUM_STATIC = 6
STATIC_FEATURES = (
    "position_side",
    "position_pips",
    "bars_since_entry",
    "pips_from_peak",
    "max_drawdown_pips",
    "accumulated_dd",
)


@numba.njit(cache=True, nogil=True)
def open_position(position: npt.NDArray[np.float64], exposure: float, price: float, cost_pips: float) -> None:
    """Open a flat position in place, filled at `price`, with `cost_pips` charged for an exposure of 1."""
    size = abs(exposure)
    position[:] = 0.0
    position[EXPOSURE] = exposure
    position[ENTRY] = position[OPENED_AT] = price
    position[COST] = size * cost_pips
    position[GREATEST] = position[OPENED] = size


@numba.njit(cache=True, nogil=True)
def resize(position: npt.NDArray[np.float64], exposure: float, price: float, cost_pips: float, pip: float) -> None:
    """Bring an open position to another exposure on its side in place, at `price`; what is added pays `cost_pips`."""
    held, size = position[EXPOSURE], abs(exposure)
    added = size - abs(held)
    if added > 0.0:
        position[ENTRY] += (price - position[ENTRY]) * added / size
        position[COST] += added * cost_pips
        position[OPENED] += added
        position[OPENED_AT] += (price - position[OPENED_AT]) * added / position[OPENED]
        position[GREATEST] = max(position[GREATEST], size)
    else:
        position[REALISED] += (held - exposure) * (price - position[ENTRY]) / pip
        let_go(position, -added, price)
    position[EXPOSURE] = exposure


@numba.njit(cache=True, nogil=True)
def let_go(position: npt.NDArray[np.float64], size: float, price: float) -> None:
    """Count an exposure of `size` as let go at `price`."""
    if position[CLOSED] == 0.0:
        position[CLOSED_AT] = price
    position[CLOSED] += size
    position[CLOSED_AT] += (price - position[CLOSED_AT]) * size / position[CLOSED]


@numba.njit(cache=True, nogil=True)
def mark(position: npt.NDArray[np.float64], price: float, pip: float) -> None:
    """Value an open position at `price` at the end of a bar and carry its water marks and drawdowns on."""
    pips = position[EXPOSURE] * (price - position[ENTRY]) / pip - position[COST]
    if position[REALISED] != 0.0:
        pips += position[REALISED]
    position[PIPS] = pips
    position[PEAK] = max(position[PEAK], pips)
    position[LOW] = min(position[LOW], pips)
    drawdown = position[PEAK] - pips
    position[ACCUMULATED] += max(0.0, drawdown - position[DRAWDOWN])
    position[MAX_DRAWDOWN] = max(position[MAX_DRAWDOWN], drawdown)
    position[AREA] += drawdown
    position[DRAWDOWN] = drawdown


@numba.njit(cache=True, nogil=True)
def penalty(position: npt.NDArray[np.float64], drawdown_kind: int) -> float:
    """D of the trade so far: 0 the sum of increases of the drawdown, 1 its maximum, 2 the area in pip-bars."""
    if drawdown_kind == 1:
        return position[MAX_DRAWDOWN]
    if drawdown_kind == 2:
        return position[AREA]
    return position[ACCUMULATED]


@numba.njit(cache=True, nogil=True)
def amddp1(pnl_pips: float, drawdown_pips: float, weight: float, profit_floor: float) -> float:
    """Reward of a closed trade: pnl less weight times D, floored when the trade made a profit."""
    reward = pnl_pips - weight * drawdown_pips
    if pnl_pips > 0.0:
        return max(reward, profit_floor)
    return reward


@numba.njit(cache=True, nogil=True)
def write_static(position: npt.NDArray[np.float64], out: npt.NDArray[np.float32], unit_pips: float) -> None:
    """Write the six position features (all zero when flat) into `out` (6,); `unit_pips` as of `market.units`.

    The first is the exposure. The pips of the others are weighted by it.
    """
    if position[EXPOSURE] == 0.0:
        out[:] = 0.0
        return
    scale = POSITION_UNITS * unit_pips
    out[0] = position[EXPOSURE]
    out[1] = math.tanh(position[PIPS] / scale)
    out[2] = math.tanh(position[BARS] / 100.0)
    out[3] = math.tanh((position[PIPS] - position[PEAK]) / scale)
    out[4] = math.tanh(position[MAX_DRAWDOWN] / scale)
    out[5] = math.tanh(position[ACCUMULATED] / scale)

"""What the same trades would have made at other costs.

Decisions are held fixed: the trades are re-priced, not re-decided. A model that sees its own unrealised result might
decide otherwise at another cost, so a sweep shows how much of an edge costs eat, not what another cost would breed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fx_pipeline.environment.actions import BUY, CLOSE, SELL
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, Fills, build_fills
from fx_pipeline.validation.metrics import drawdown
from fx_pipeline.validation.rollout import Rollout

SWEEP_PIPS = (0.0, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class CostLine:
    """The same trades at one cost model.

    Attributes
    ----------
    name : str
    fixed_pips : float or None
        The spread charged on entry, for a fixed cost.
    total_pips, max_drawdown_pips : float
    expectancy_pips, win_rate : float or None
        None without trades.
    as_validated : bool
        Whether this is the cost that the policy decided under.
    """

    name: str
    fixed_pips: float | None
    total_pips: float
    expectancy_pips: float | None
    win_rate: float | None
    max_drawdown_pips: float
    as_validated: bool


@dataclass(frozen=True)
class CostSweep:
    """The same trades at several costs.

    Attributes
    ----------
    lines : tuple of CostLine
    break_even_pips : float or None
        Fixed spread, charged on entry, at which the expectancy is zero; negative when the trades lose before costs.
    """

    lines: tuple[CostLine, ...]
    break_even_pips: float | None


def reprice(done: Rollout, market: MarketArrays, fills: Fills) -> npt.NDArray[np.float64]:
    """Price the trades of a rollout with other fills.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
    fills : Fills
        Of another cost model on the same market.

    Returns
    -------
    (N,) float64
        P&L in pips after those costs.
    """
    entry_row, entry_step = np.nonzero((done.actions == BUY) | (done.actions == SELL))
    exit_row, exit_step = np.nonzero(done.actions == CLOSE)
    entry, leave = done.starts[entry_row] + entry_step, done.starts[exit_row] + exit_step
    long = done.actions[entry_row, entry_step] == BUY
    at_end = exit_step == done.session_bars - 1
    paid = np.where(long, fills.buy[entry], fills.sell[entry])
    received = np.where(
        long,
        np.where(at_end, fills.last_sell[leave], fills.sell[leave]),
        np.where(at_end, fills.last_buy[leave], fills.buy[leave]),
    )
    # Financing is charged for each step from bar to bar between the two fills.
    delay = 0 if fills.at_close else 1
    first, last = entry + delay, np.where(at_end, leave, leave + delay)
    carry = np.where(long, _held(fills.carry_long_pips, first, last), _held(fills.carry_short_pips, first, last))
    side = np.where(long, 1.0, -1.0)
    return side * (received - paid) / market.pip - fills.entry_cost_pips[entry] - carry


def sweep_costs(
    done: Rollout,
    market: MarketArrays,
    costs: CostConfig,
    spreads_pips: Sequence[float] = SWEEP_PIPS,
    quoted: bool = True,
) -> CostSweep:
    """Re-price the trades of a rollout at fixed spreads, at the modelled spread by hour, and at the candles' quotes.

    Decisions are held fixed. Slippage, financing and the fill rule stay as validated.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
    costs : CostConfig
        The cost model of the rollout.
    spreads_pips : sequence of float
    quoted : bool
        Whether to price at the candles' bid and ask: not when those are modelled themselves.

    Returns
    -------
    CostSweep
    """
    variants: list[tuple[str, float | None, CostConfig]] = [
        (f"{pips:g} pip{'s' if pips != 1 else ''} fixed", pips, replace(costs, kind="fixed", fixed_pips=pips))
        for pips in spreads_pips
    ]
    variants.append(("by hour (profile)", None, replace(costs, kind="profile")))
    if quoted:
        variants.append(("quoted bid and ask", None, replace(costs, kind="quoted")))
    if not any(_same_costs(variant, costs) for _, _, variant in variants):
        variants.insert(0, ("as validated", costs.fixed_pips if costs.kind == "fixed" else None, costs))
    lines = []
    for name, pips, variant in variants:
        pnl = reprice(done, market, build_fills(market, variant))
        lines.append(
            CostLine(
                name=name,
                fixed_pips=pips,
                total_pips=float(pnl.sum()),
                expectancy_pips=float(pnl.mean()) if len(pnl) else None,
                win_rate=float((pnl > 0).mean()) if len(pnl) else None,
                max_drawdown_pips=float(drawdown(pnl).max()) if len(pnl) else 0.0,
                as_validated=_same_costs(variant, costs),
            )
        )
    free = reprice(done, market, build_fills(market, replace(costs, kind="fixed", fixed_pips=0.0)))
    return CostSweep(tuple(lines), float(free.mean()) if len(free) else None)


def _held(
    charge: npt.NDArray[np.float64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    total = np.concatenate(([0.0], np.cumsum(charge)))
    return np.asarray(total[last] - total[first])


def _same_costs(left: CostConfig, right: CostConfig) -> bool:
    if left.kind != "fixed" and left.kind == right.kind:
        return replace(left, fixed_pips=right.fixed_pips) == right
    return left == right

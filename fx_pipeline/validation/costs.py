"""What the same trades would have made at other costs.

Decisions are held fixed: the trades are re-priced, not re-decided. A model that sees its own unrealised result might
decide otherwise at another cost, so a sweep shows how much of an edge costs eat, not what another cost would breed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import TICK_PIPS, CostConfig, Fills, JudgedCosts, build_fills
from fx_pipeline.market.spreads import cost_scale
from fx_pipeline.validation.legs import legs_of
from fx_pipeline.validation.metrics import drawdown
from fx_pipeline.validation.rollout import Rollout

SWEEP_PIPS = (0.0, 1.0, 2.0, 4.0)
SLIPPAGE_PIPS = (0.1, 0.5, 1.0)
LATENCY_BARS = (1, 2, 5)
#: Charged on longs and shorts alike, a day.
FINANCING_PIPS = (0.5, 1.0)


@dataclass(frozen=True)
class CostLine:
    """The same trades at one cost model.

    Attributes
    ----------
    name : str
    group : str
        What is varied: ``"spread"``, ``"slippage"``, ``"latency"`` or ``"financing"``; the rest is as validated.
    fixed_pips : float or None
        The spread charged on entry, for a fixed cost.
    total_pips, max_drawdown_pips : float
    expectancy_pips, win_rate : float or None
        None without trades.
    as_validated : bool
        Whether this is the cost that the policy decided under.
    """

    name: str
    group: str
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
        Fixed spread, charged on what is opened, at which the expectancy is zero; negative when the trades lose before
        costs.
    stressed_expectancy_pips : float or None
        At the costs of the validation with at least one tick of slippage a fill.
    parity_error_pips : float
        Largest difference between the P&L of a trade in the environment and here, at the same costs: two computations
        of one thing.
    """

    lines: tuple[CostLine, ...]
    break_even_pips: float | None
    stressed_expectancy_pips: float | None
    parity_error_pips: float


def reprice(done: Rollout, market: MarketArrays, fills: Fills, latency_bars: int = 0) -> npt.NDArray[np.float64]:
    """Price the trades of a rollout with other fills.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
    fills : Fills
        Of another cost model on the same market.
    latency_bars : int
        Bars by which every order comes later than decided; what would come after the session fills at its end.

    Returns
    -------
    (N,) float64
        P&L in pips after those costs.
    """
    added, gone = legs_of(done)
    count = int(added.trade.max(initial=-1)) + 1
    long = np.zeros(count, dtype=np.bool_)
    long[added.trade] = done.wanted[added.session, added.step] > 0.0
    final, closing = done.lengths[added.session] - 1, done.lengths[gone.session] - 1
    # An entry that is late for its session still precedes its exit.
    entry = done.starts[added.session] + np.minimum(added.step + latency_bars, final - 1)
    exit_step = np.minimum(gone.step + latency_bars, closing)
    leave, at_end = done.starts[gone.session] + exit_step, exit_step == closing
    opened = np.bincount(added.trade, added.size, count)
    longs, left_longs = long[added.trade], long[gone.trade]
    paid = np.where(longs, fills.buy[entry], fills.sell[entry])
    received = np.where(
        left_longs,
        np.where(at_end, fills.last_sell[leave], fills.sell[leave]),
        np.where(at_end, fills.last_buy[leave], fills.buy[leave]),
    )
    average_paid, average_received = (
        np.bincount(legs.trade, legs.size * prices, count) / opened
        for legs, prices in ((added, paid), (gone, received))
    )
    # Financing is charged for each step from bar to bar between the fills.
    delay = 0 if fills.at_close else 1
    charged = np.bincount(
        gone.trade, gone.size * _so_far(fills, left_longs, np.where(at_end, leave, leave + delay)), count
    )
    spared = np.bincount(added.trade, added.size * _so_far(fills, longs, entry + delay), count)
    cost = np.bincount(added.trade, added.size * fills.entry_cost_pips[entry], count)
    side = np.where(long, 1.0, -1.0)
    return side * opened * (average_received - average_paid) / market.pip - cost - (charged - spared)


def sweep_costs(
    done: Rollout,
    market: MarketArrays,
    costs: CostConfig,
    spreads_pips: Sequence[float] = SWEEP_PIPS,
    quoted: bool = True,
) -> CostSweep:
    """Re-price the trades of a rollout at other spreads, with slippage, with late orders, and with financing.

    Decisions are held fixed, and of the costs one thing is varied at a time; the rest stays as validated. What is tried
    is in proportion to the instrument's spread: a pip of slippage is much for a currency pair and nothing for bitcoin.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
    costs : CostConfig
        The cost model of the rollout.
    spreads_pips : sequence of float
        Of a currency pair. The fixed spread of `costs` is added to them.
    quoted : bool
        Whether to price at the candles' bid and ask: not when those are modelled themselves, unless `costs` does.

    Returns
    -------
    CostSweep
    """

    def line(name: str, group: str, variant: CostConfig, latency_bars: int = 0) -> CostLine:
        pnl = reprice(done, market, build_fills(market, variant), latency_bars)
        return CostLine(
            name=name,
            group=group,
            fixed_pips=variant.fixed_pips if variant.kind == "fixed" else None,
            total_pips=float(pnl.sum()),
            expectancy_pips=float(pnl.mean()) if len(pnl) else None,
            win_rate=float((pnl > 0).mean()) if len(pnl) else None,
            max_drawdown_pips=float(drawdown(pnl).max()) if len(pnl) else 0.0,
            as_validated=latency_bars == 0 and _same_costs(variant, costs),
        )

    scale = cost_scale(market.instrument)
    judged = isinstance(costs, JudgedCosts)
    base = costs.released() if isinstance(costs, JudgedCosts) else costs
    own = {costs.fixed_pips} if costs.kind == "fixed" and not judged else set()
    lines = [line("the worst at each bar (as judged)", "spread", costs)] if judged else []
    lines += [
        line(f"{_pips(pips)} fixed", "spread", replace(base, kind="fixed", fixed_pips=pips))
        for pips in sorted({*(scale * pips for pips in spreads_pips), *own})
    ]
    lines.append(line("by hour (profile)", "spread", replace(base, kind="profile")))
    if quoted or costs.kind == "quoted":
        lines.append(line("quoted bid and ask", "spread", replace(base, kind="quoted")))
    lines += [
        line(f"{_pips(pips)} of slippage a fill", "slippage", replace(costs, slippage_pips=pips))
        for pips in (scale * pips for pips in SLIPPAGE_PIPS)
    ]
    lines += [line(f"{bars} bar{'s' if bars != 1 else ''} late", "latency", costs, bars) for bars in LATENCY_BARS]
    lines += [
        line(
            f"{_pips(pips)} of financing a day",
            "financing",
            _financed(costs, pips),
        )
        for pips in (scale * pips for pips in FINANCING_PIPS)
    ]
    free = reprice(done, market, build_fills(market, replace(base, kind="fixed", fixed_pips=0.0)))
    again = reprice(done, market, build_fills(market, costs))
    stressed = stressed_pips(done, market, costs)
    return CostSweep(
        lines=tuple(lines),
        break_even_pips=float(free.sum() / done.trades["opened"].sum()) if len(free) else None,
        stressed_expectancy_pips=float(stressed.mean()) if len(stressed) else None,
        parity_error_pips=float(np.abs(again - done.pnl_pips).max()) if len(again) else 0.0,
    )


def stressed_pips(done: Rollout, market: MarketArrays, costs: CostConfig) -> npt.NDArray[np.float64]:
    """P&L (N,) of the trades of a rollout at its costs with at least a tick of slippage a fill."""
    tick = cost_scale(market.instrument) * TICK_PIPS
    return reprice(done, market, build_fills(market, replace(costs, slippage_pips=max(costs.slippage_pips, tick))))


def _pips(value: float) -> str:
    return f"{value:g} pip{'' if value == 1 else 's'}"


def _so_far(fills: Fills, long: npt.NDArray[np.bool_], bar: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Financing of an exposure of 1 on each side from the first bar of the market to `bar` (L,)."""
    charges = (np.concatenate(([0.0], np.cumsum(carry))) for carry in (fills.carry_long_pips, fills.carry_short_pips))
    on_long, on_short = (total[bar] for total in charges)
    return np.where(long, on_long, on_short)


def _financed(costs: CostConfig, pips: float) -> CostConfig:
    charged = replace(costs, financing_long_pips=pips, financing_short_pips=pips)
    return replace(charged, financing_rate=0.0) if isinstance(charged, JudgedCosts) else charged


def _same_costs(left: CostConfig, right: CostConfig) -> bool:
    if left.kind != "fixed" and left.kind == right.kind:
        return replace(left, fixed_pips=right.fixed_pips) == right
    return left == right

"""The kernel of one unit as it was before positions had an exposure, word for word: `unit4` equals it to the bit."""

import math

import numba
import numpy as np

from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, NEUTRAL, SELL, outcome_of
from fx_pipeline.market.units import POSITION_UNITS

SIDE, ENTRY, COST, PIPS, PEAK, DRAWDOWN, MAX_DRAWDOWN, ACCUMULATED, AREA, BARS, ENTRY_BAR, LOW = range(12)
POSITION_SIZE = 12


@numba.njit(cache=True)
def open_position(position: np.ndarray, side: int, price: float, cost_pips: float) -> None:
    """Open a flat position in place: `side` 1 or -1, filled at `price`, with `cost_pips` charged on entry."""
    position[:] = 0.0
    position[SIDE] = side
    position[ENTRY] = price
    position[COST] = cost_pips


@numba.njit(cache=True)
def mark(position: np.ndarray, price: float, pip: float) -> None:
    """Value an open position at `price` at the end of a bar and carry its water marks and drawdowns on."""
    pips = position[SIDE] * (price - position[ENTRY]) / pip - position[COST]
    position[PIPS] = pips
    position[PEAK] = max(position[PEAK], pips)
    position[LOW] = min(position[LOW], pips)
    drawdown = position[PEAK] - pips
    position[ACCUMULATED] += max(0.0, drawdown - position[DRAWDOWN])
    position[MAX_DRAWDOWN] = max(position[MAX_DRAWDOWN], drawdown)
    position[AREA] += drawdown
    position[DRAWDOWN] = drawdown


@numba.njit(cache=True)
def penalty(position: np.ndarray, drawdown_kind: int) -> float:
    """D of the trade so far: 0 the sum of increases of the drawdown, 1 its maximum, 2 the area in pip-bars."""
    if drawdown_kind == 1:
        return position[MAX_DRAWDOWN]
    if drawdown_kind == 2:
        return position[AREA]
    return position[ACCUMULATED]


@numba.njit(cache=True)
def amddp1(pnl_pips: float, drawdown_pips: float, weight: float, profit_floor: float) -> float:
    """Reward of a closed trade: pnl less weight times D, floored when the trade made a profit."""
    reward = pnl_pips - weight * drawdown_pips
    if pnl_pips > 0.0:
        return max(reward, profit_floor)
    return reward


@numba.njit(cache=True)
def write_static(position: np.ndarray, out: np.ndarray, unit_pips: float) -> None:
    """Write the six position features (all zero when flat) into `out` (6,); `unit_pips` as of `market.units`."""
    if position[SIDE] == 0.0:
        out[:] = 0.0
        return
    scale = POSITION_UNITS * unit_pips
    out[0] = position[SIDE]
    out[1] = math.tanh(position[PIPS] / scale)
    out[2] = math.tanh(position[BARS] / 100.0)
    out[3] = math.tanh((position[PIPS] - position[PEAK]) / scale)
    out[4] = math.tanh(position[MAX_DRAWDOWN] / scale)
    out[5] = math.tanh(position[ACCUMULATED] / scale)


@numba.njit(cache=True)
def legal_actions(side: float, last: bool, out: np.ndarray) -> None:
    """Write into `out` (4,) which actions a position side allows, at a session's last bar or before it."""
    flat = side == 0.0
    out[HOLD] = flat or not last
    out[BUY] = flat and not last
    out[SELL] = flat and not last
    out[CLOSE] = not flat


@numba.njit(cache=True)
def describe(positions, last, static, legal, unit_pips):  # type: ignore[no-untyped-def]
    """Write what policies see of the positions (B, POSITION_SIZE) into `static` (B, 6) and `legal` (B, 4)."""
    for row in range(len(positions)):
        write_static(positions[row], static[row], unit_pips)
        legal_actions(positions[row, SIDE], last, legal[row])


@numba.njit(cache=True)
def step_sessions(game, seats, bars, actions, last):  # type: ignore[no-untyped-def]
    """Move B sessions by one bar, in place; return rewards (B,) float64 and outcomes (B,) int8.

    ``seats.positions, trades, trade_counts`` are updated; `describe` writes the rest. Actions are legal.
    """
    close, sigma, pip, fills = game.close, game.sigma, game.pip, game.fills
    drawdown_kind, dense, drawdown_weight = game.drawdown_kind, game.dense, game.drawdown_weight
    idle_reward, entry_reward, profit_floor = game.idle_reward, game.entry_reward, game.profit_floor
    positions, trades, trade_counts = seats.positions, seats.trades, seats.trade_counts
    batch = len(bars)
    rewards = np.zeros(batch)
    outcomes = np.full(batch, NEUTRAL, dtype=np.int8)
    for row in range(batch):
        bar, action, position = bars[row], actions[row], positions[row]
        if not last:
            outcomes[row] = outcome_of(close[bar + 1] - close[bar], sigma[bar])
        if position[SIDE] == 0.0 and action == HOLD:
            rewards[row] = idle_reward
            continue
        pips, drawdown = position[PIPS], penalty(position, drawdown_kind)
        opened = position[SIDE] == 0.0
        if opened:
            pips, drawdown = 0.0, 0.0
            side = 1.0 if action == BUY else -1.0
            price = fills.buy[bar] if action == BUY else fills.sell[bar]
            open_position(position, side, price, fills.entry_cost_pips[bar])
            position[ENTRY_BAR] = bar if fills.at_close else bar + 1
        long = position[SIDE] > 0.0
        # An order that fills at the next open crosses the night before an exit, but not before an entry.
        at_open = not fills.at_close and not last
        if (action == CLOSE and at_open) or (action == HOLD and not last) or (opened and fills.at_close):
            position[COST] += fills.carry_long_pips[bar] if long else fills.carry_short_pips[bar]
        if action == CLOSE:
            if last:
                price = fills.last_sell[bar] if long else fills.last_buy[bar]
            else:
                price = fills.sell[bar] if long else fills.buy[bar]
            exit_bar = bar + 1 if at_open else bar
        else:
            price = fills.long_mark[bar + 1] if long else fills.short_mark[bar + 1]
        area = position[AREA]
        mark(position, price, pip)
        position[BARS] += 1.0
        if action == CLOSE:
            # The area is in pip-bars: the fill that closes adds a mark, but no bar that was held.
            position[AREA] = area
        change = penalty(position, drawdown_kind) - drawdown
        if dense:
            rewards[row] = position[PIPS] - pips - drawdown_weight * change
        if opened:
            rewards[row] += entry_reward
        if action == CLOSE:
            pnl, total = position[PIPS], penalty(position, drawdown_kind)
            reward = amddp1(pnl, total, drawdown_weight, profit_floor)
            if not dense:
                rewards[row] = reward
            trade = trades[row, trade_counts[row]]
            trade[0], trade[1], trade[2] = position[SIDE], position[ENTRY_BAR], exit_bar
            trade[3], trade[4], trade[5] = position[ENTRY], price, position[COST]
            trade[6], trade[7], trade[8] = pnl, total, position[MAX_DRAWDOWN]
            trade[9], trade[10], trade[11] = position[PEAK], reward, position[LOW]
            # A bar is held when its close finds the position open; the fill that closes it is one mark more.
            trade[12] = position[BARS] - 1.0
            trade_counts[row] += 1
            position[:] = 0.0
    return rewards, outcomes

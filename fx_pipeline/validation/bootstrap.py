"""Stationary block bootstrap (Politis and Romano 1994) of a P&L list: equity paths and their drawdowns.

A path depends on the seed and on its own number only, so the result is the same for any number of threads and a
path can be drawn again alone. Block lengths are geometric; a block that runs past the end goes on at the start.
"""

import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.metrics import as_pnl

FloatArray = npt.NDArray[np.float64]

# Below this length the automatic block length is not defined (its autocovariances run out of lags).
MIN_TRADES_FOR_BLOCKS = 8

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 1.0 / 9007199254740992.0


class EquityPaths(NamedTuple):
    """Resampled equity paths; `R` runs, `G` points of the grid.

    Attributes
    ----------
    terminal_pips : (R,) float64
        Total of each path.
    max_drawdown_pips : (R,) float64
        Largest fall from the running peak, the start (0) included.
    equity_pips : (R, G) float64
        Cumulative P&L after the number of trades that the grid names.
    """

    terminal_pips: FloatArray
    max_drawdown_pips: FloatArray
    equity_pips: FloatArray


@numba.njit(cache=True, nogil=True, inline="always")
def _mix(state: np.uint64) -> np.uint64:
    # splitmix64 (Steele, Lea and Flood 2014): a counter in, a random word out.
    z = state
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True, inline="always")
def _unit(word: np.uint64) -> float:
    # In (0, 1]: its logarithm is finite.
    return (np.float64(word >> np.uint64(11)) + 1.0) * _TO_UNIT


@numba.njit(cache=True, nogil=True)
def _path_indices(seed: np.uint64, path: np.uint64, log_keep: float, out: npt.NDArray[np.int64]) -> None:
    n = len(out)
    state = _mix(_mix(np.uint64(seed) + _GOLDEN) + np.uint64(path) * _GOLDEN)
    filled = 0
    while filled < n:
        state += _GOLDEN
        # u is in (0, 1], and n * u rounds up to n for u = 1 only.
        index = min(int(n * _unit(_mix(state))), n - 1)
        length = 1
        if log_keep < 0.0:
            state += _GOLDEN
            length = 1 + int(min(math.log(_unit(_mix(state))) / log_keep, 1e9))
        for _ in range(min(length, n - filled)):
            out[filled] = index
            filled += 1
            index += 1
            if index == n:
                index = 0


@numba.njit(cache=True, nogil=True)
def _equity(
    pnl: FloatArray,
    seed: np.uint64,
    first_path: np.uint64,
    log_keep: float,
    grid: npt.NDArray[np.int64],
    terminal: FloatArray,
    max_drawdown: FloatArray,
    equity_at_grid: FloatArray,
) -> None:
    indices = np.empty(len(pnl), np.int64)
    for row in range(len(terminal)):
        _path_indices(seed, first_path + np.uint64(row), log_keep, indices)
        equity = peak = worst = 0.0
        point = 0
        while point < len(grid) and grid[point] == 0:
            equity_at_grid[row, point] = 0.0
            point += 1
        for step in range(len(indices)):
            equity += pnl[indices[step]]
            peak = max(peak, equity)
            worst = max(worst, peak - equity)
            if point < len(grid) and grid[point] == step + 1:
                equity_at_grid[row, point] = equity
                point += 1
        terminal[row] = equity
        max_drawdown[row] = worst


def _cores() -> int:
    # Containers and `taskset` grant fewer cores than the machine has; not every platform can tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise DataError(f"a seed is at least 0 and below 2^63, not {seed}.")


def _log_keep(block_length: float) -> float:
    if not block_length >= 1:
        raise DataError(f"a mean block length is at least 1, not {block_length}.")
    # Blocks of mean length b go on with probability 1 - 1 / b; 0 stands for blocks of exactly one.
    return math.log1p(-1.0 / block_length) if block_length > 1 else 0.0


def stationary_indices(n: int, paths: int, block_length: float, seed: int) -> npt.NDArray[np.int64]:
    """Draw the resampling indices of whole paths.

    Parameters
    ----------
    n : int
        Length of the list that is resampled, and of each path.
    paths : int
        Number of paths, `R`.
    block_length : float
        Mean length of a block, >= 1; 1 is the IID bootstrap.
    seed : int
        At least 0.

    Returns
    -------
    (R, n) int64
        The same indices that `equity_paths` uses.
    """
    if n < 1:
        raise DataError("an empty list cannot be resampled.")
    _check_seed(seed)
    out = np.empty((paths, n), np.int64)
    log_keep = _log_keep(block_length)
    for path in range(paths):
        _path_indices(np.uint64(seed), np.uint64(path), log_keep, out[path])
    return out


def equity_paths(
    pnl_pips: npt.ArrayLike,
    runs: int,
    block_length: float,
    seed: int,
    grid: npt.ArrayLike = (),
    threads: int | None = None,
) -> EquityPaths:
    """Resample a P&L list and accumulate each path.

    Parameters
    ----------
    pnl_pips : (N,) array-like
        P&L of each trade (or session), in order.
    runs : int
        Number of paths, `R`.
    block_length : float
        Mean length of a block, >= 1; 1 is the IID bootstrap.
    seed : int
        At least 0.
    grid : (G,) array-like of int
        Increasing numbers of trades, each in [0, N], after which the equity is recorded.
    threads : int, optional
        Threads to use; all cores of this process by default. The result does not depend on it.

    Returns
    -------
    EquityPaths

    Raises
    ------
    DataError
        If the list is empty or a value is not finite.
    """
    pnl = as_pnl(pnl_pips)
    if not len(pnl):
        raise DataError("an empty list of trades cannot be resampled: there is nothing to simulate.")
    _check_seed(seed)
    points = np.asarray(grid, dtype=np.int64)
    if len(points) and (points[0] < 0 or points[-1] > len(pnl) or (np.diff(points) <= 0).any()):
        raise DataError(f"the grid must increase within 0 to {len(pnl)}.")
    log_keep = _log_keep(block_length)
    terminal, worst, equity = np.empty(runs), np.empty(runs), np.empty((runs, len(points)))
    workers = max(1, min(threads or _cores(), runs))
    bounds = np.linspace(0, runs, workers + 1).astype(int)

    def work(part: int) -> None:
        rows = slice(bounds[part], bounds[part + 1])
        _equity(
            pnl, np.uint64(seed), np.uint64(bounds[part]), log_keep, points, terminal[rows], worst[rows], equity[rows]
        )

    if workers == 1:
        work(0)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    return EquityPaths(terminal, worst, equity)


def optimal_block(values: npt.ArrayLike) -> float:
    """Mean block length by Politis and White (2004, corrected 2009), clamped to [1, N / 4].

    The automatic length is unreliable on short lists, where it can exceed the list: the clamp keeps at least four
    blocks in a path. Lists shorter than 8, and constant ones, get 1.

    Parameters
    ----------
    values : (N,) array-like

    Returns
    -------
    float
    """
    series = as_pnl(values)
    if len(series) < MIN_TRADES_FOR_BLOCKS or float(np.ptp(series)) == 0.0:
        return 1.0
    from arch.bootstrap import optimal_block_length

    with warnings.catch_warnings():
        # Divisions by zero on degenerate series show as a length that is not finite, which is handled below.
        warnings.simplefilter("ignore", RuntimeWarning)
        length = float(optimal_block_length(series)["stationary"].iloc[0])
    if not math.isfinite(length):
        return 1.0
    return float(min(max(length, 1.0), max(1.0, len(series) / 4)))

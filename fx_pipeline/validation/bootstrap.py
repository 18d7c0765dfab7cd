"""Stationary block bootstrap (Politis and Romano 1994) of a P&L list: equity paths and their drawdowns.

A path depends on the seed and on its own number only, so the result is the same for any number of threads and a
path can be drawn again alone. Block lengths are geometric; a block that runs past the end goes on at the start.
"""

import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.excursions import Excursions
from fx_pipeline.validation.metrics import as_pnl
from fx_pipeline.validation.resampling import (
    BlockLaw,
    block_law,
    draw_indices,
    equity_by_element,
    equity_by_piece,
    excursion_table,
    excursions_by_element,
    piece_table,
)

FloatArray = npt.NDArray[np.float64]

# Below this length the automatic block length is not defined (its autocovariances run out of lags).
MIN_TRADES_FOR_BLOCKS = 8


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


def _cores() -> int:
    # Containers and `taskset` grant fewer cores than the machine has; not every platform can tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _law(block_length: float, n: int, seed: int) -> BlockLaw:
    if not 0 <= seed < 2**63:
        raise DataError(f"a seed is at least 0 and below 2^63, not {seed}.")
    if not 1 <= block_length < math.inf:
        raise DataError(f"a mean block length is a finite number of at least 1, not {block_length}.")
    return block_law(block_length, n)


def stationary_indices(
    n: int, paths: int, block_length: float, seed: int, *, steps: int | None = None, first_path: int = 0
) -> npt.NDArray[np.int64]:
    """Draw the resampling indices of whole paths.

    Parameters
    ----------
    n : int
        Length of the list that is resampled.
    paths : int
        Number of paths, `R`.
    block_length : float
        Mean length of a block, >= 1; 1 is the IID bootstrap.
    seed : int
        At least 0.
    steps : int, optional
        Length of a path, `M`; `n` by default.
    first_path : int
        Number of the first path: long tables can be drawn in parts.

    Returns
    -------
    (R, M) int64
        The same indices that `equity_paths` uses.
    """
    if n < 1:
        raise DataError("an empty list cannot be resampled.")
    law = _law(block_length, n, seed)
    out = np.empty((paths, n if steps is None else steps), np.int64)
    size, longest, goes_on = np.uint64(n), np.uint64(law.longest), np.uint64(law.goes_on)
    draw_indices(size, np.uint64(seed), np.uint64(first_path), longest, goes_on, law.below, law.first, out)
    return out


def equity_paths(
    pnl_pips: npt.ArrayLike,
    runs: int,
    block_length: float,
    seed: int,
    grid: npt.ArrayLike = (),
    threads: int | None = None,
    *,
    steps: int | None = None,
    moved: Excursions | None = None,
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
        Increasing numbers of trades, each in [0, M], after which the equity is recorded.
    threads : int, optional
        Threads to use; all cores of this process by default. The result does not depend on it.
    steps : int, optional
        Length of a path, `M`; `N` by default.
    moved : Excursions, optional
        How far each trade moved while it was open: drawdowns then are those of bars, not of closed trades. The paths
        are the same ones.

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
    length = len(pnl) if steps is None else steps
    points = np.asarray(grid, dtype=np.int64)
    if len(points) and (points[0] < 0 or points[-1] > length or (np.diff(points) <= 0).any()):
        raise DataError(f"the grid must increase within 0 to {length}.")
    law = _law(block_length, len(pnl), seed)
    # The kernels need not ask whether a mark is left: the last one is never reached.
    marks = np.append(points, np.iinfo(np.int64).max).astype(np.uint64)
    table = piece_table(pnl, law.longest) if law.longest > 1 and moved is None else None
    if moved is not None:
        table = excursion_table(pnl, *moved, law.longest)
    terminal, worst, equity = np.empty(runs), np.empty(runs), np.empty((runs, len(points)))
    workers = max(1, min(threads or _cores(), runs))
    bounds = np.linspace(0, runs, workers + 1).astype(int)

    def work(part: int) -> None:
        rows = slice(bounds[part], bounds[part + 1])
        path = np.uint64(length), np.uint64(seed), np.uint64(bounds[part])
        results = marks, terminal[rows], worst[rows], equity[rows]
        if table is not None and law.longest == 1:
            excursions_by_element(table, np.uint64(len(pnl)), *path, np.uint64(law.goes_on), *results)
        elif table is not None:
            size, longest = np.uint64(len(pnl)), np.uint64(law.longest)
            equity_by_piece(table, size, *path, longest, np.uint64(law.goes_on), law.below, law.first, *results)
        else:
            equity_by_element(pnl, *path, np.uint64(law.goes_on), *results)

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

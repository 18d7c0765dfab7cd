"""Monte Carlo of a list of trades: where the equity could have gone had the same trades come in another order.

Trades (or sessions) are resampled in blocks, never bars of price. IID resampling breaks up losing streaks, and so
understates drawdowns: it is computed beside the block bootstrap, to show by how much it flatters.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import equity_paths, optimal_block
from fx_pipeline.validation.metrics import as_pnl

FAN_PERCENTILES = (5, 25, 50, 75, 95)
TERMINAL_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
DRAWDOWN_PERCENTILES = (5, 25, 50, 75, 95, 99)
FAN_POINTS = 101
HISTOGRAM_BINS = 48

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MonteCarlo:
    """Distributions over `runs` resampled paths of `N` trades.

    Attributes
    ----------
    runs, seed : int
    method : str
        ``"stationary"`` or ``"iid"``.
    block_length : float
        Mean block length in trades; 1 for IID.
    trades : int
        `N`.
    terminal_pips : dict of int to float
        Percentile -> total P&L.
    mean_terminal_pips : float
    max_drawdown_pips : dict of int to float
        Percentile -> largest drawdown of a path.
    probability_not_positive : float
        Share of paths whose total is <= 0.
    fan_grid : (G,) int64
        Numbers of trades at which the fan is drawn.
    fan_pips : dict of int to (G,) float64
        Percentile -> cumulative P&L at those points.
    drawdown_counts, drawdown_edges : (K,) int64, (K + 1,) float64
        Histogram of the paths' largest drawdowns.
    """

    runs: int
    seed: int
    method: str
    block_length: float
    trades: int
    terminal_pips: dict[int, float]
    mean_terminal_pips: float
    max_drawdown_pips: dict[int, float]
    probability_not_positive: float
    fan_grid: npt.NDArray[np.int64]
    fan_pips: dict[int, FloatArray]
    drawdown_counts: npt.NDArray[np.int64]
    drawdown_edges: FloatArray


@dataclass(frozen=True)
class IidComparison:
    """What IID resampling of the same trades would have said.

    Attributes
    ----------
    max_drawdown_p95_pips : float
        95th percentile of the largest drawdown under IID resampling.
    terminal_p5_pips : float
        5th percentile of the total under IID resampling.
    probability_not_positive : float
        Share of IID paths whose total is <= 0.
    drawdown_flattered_pips, terminal_flattered_pips : float
        By how much IID shows a smaller drawdown and a better bad case than the block bootstrap (may be negative).
    """

    max_drawdown_p95_pips: float
    terminal_p5_pips: float
    probability_not_positive: float
    drawdown_flattered_pips: float
    terminal_flattered_pips: float


def simulate_equity(
    pnl_pips: npt.ArrayLike,
    runs: int = 10_000,
    *,
    seed: int,
    method: Literal["stationary", "iid"] = "stationary",
    block: float | None = None,
) -> MonteCarlo:
    """Resample a P&L list `runs` times.

    Parameters
    ----------
    pnl_pips : (N,) array-like
        P&L of each trade (or session) in pips after costs, in order.
    runs : int
        Paths. The rank of a 5 % tail is known to +-1.5 points at 200 runs, 0.7 at 1,000 and 0.2 at 10,000.
    seed : int
        At least 0.
    method : str
        ``"stationary"`` resamples blocks, ``"iid"`` single trades.
    block : float, optional
        Mean block length; by default the automatic one, clamped to [1, N / 4].

    Returns
    -------
    MonteCarlo

    Raises
    ------
    DataError
        If there are no trades, or a value is not finite.
    """
    pnl = as_pnl(pnl_pips)
    if not len(pnl):
        raise DataError("there are no trades to resample.")
    if runs < 1:
        raise DataError(f"at least one Monte Carlo run is needed, not {runs}.")
    automatic = optimal_block(pnl) if block is None and method == "stationary" else 1.0
    length = automatic if block is None or method == "iid" else float(block)
    grid = np.unique(np.linspace(0, len(pnl), FAN_POINTS).round().astype(np.int64))
    paths = equity_paths(pnl, runs, length, seed, grid)
    counts, edges = np.histogram(paths.max_drawdown_pips, bins=HISTOGRAM_BINS)
    fan = np.percentile(paths.equity_pips, FAN_PERCENTILES, axis=0)
    return MonteCarlo(
        runs=runs,
        seed=seed,
        method=method,
        block_length=length,
        trades=len(pnl),
        terminal_pips=_percentiles(paths.terminal_pips, TERMINAL_PERCENTILES),
        mean_terminal_pips=float(paths.terminal_pips.mean()),
        max_drawdown_pips=_percentiles(paths.max_drawdown_pips, DRAWDOWN_PERCENTILES),
        probability_not_positive=float(np.mean(paths.terminal_pips <= 0)),
        fan_grid=grid,
        fan_pips={q: fan[row] for row, q in enumerate(FAN_PERCENTILES)},
        drawdown_counts=counts,
        drawdown_edges=edges,
    )


def compare_with_iid(pnl_pips: npt.ArrayLike, blocks: MonteCarlo) -> IidComparison:
    """Resample the same trades one by one, with the same number of runs and seed, and compare with `blocks`."""
    iid = simulate_equity(pnl_pips, blocks.runs, seed=blocks.seed, method="iid")
    return IidComparison(
        max_drawdown_p95_pips=iid.max_drawdown_pips[95],
        terminal_p5_pips=iid.terminal_pips[5],
        probability_not_positive=iid.probability_not_positive,
        drawdown_flattered_pips=blocks.max_drawdown_pips[95] - iid.max_drawdown_pips[95],
        terminal_flattered_pips=iid.terminal_pips[5] - blocks.terminal_pips[5],
    )


def _percentiles(values: FloatArray, percentiles: tuple[int, ...]) -> dict[int, float]:
    return {q: float(value) for q, value in zip(percentiles, np.percentile(values, percentiles), strict=True)}

"""Figures of a list of closed trades, in pips after costs.

Degenerate lists (no trades, one trade, no losses, no variance) give ``None`` and a flag, never a number that
could pass a threshold.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError

SQN_CAP = 100
# Below this count the normal approximation behind SQN and its p-value does not hold.
FEW_TRADES = 30
# Quantile of the standard normal at 95 %, one-sided.
Z_95 = 1.6448536269514722

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TradeMetrics:
    """Figures of `N` closed trades.

    Attributes
    ----------
    trades : int
        `N`.
    total_pips : float
        Sum of the P&L; 0 without trades.
    expectancy_pips : float or None
        ``win_rate * avg_win - (1 - win_rate) * avg_loss``, which is the mean P&L of a trade.
    median_pips, std_pips, best_pips, worst_pips : float or None
        Median, standard deviation (ddof 1) and extremes of the P&L.
    win_rate : float or None
        Fraction of trades with a P&L above 0. A trade of exactly 0 pips counts as a loss of 0 pips.
    avg_win_pips, avg_loss_pips : float or None
        Mean P&L of the winners, mean size of the losers (positive).
    payoff : float or None
        ``avg_win / avg_loss``.
    profit_factor : float or None
        Gross profit over gross loss.
    trading_quality : float or None
        ``expectancy * 5 + avg_pnl * 0.5 + win_rate * min(N, 10) * 2 + min(N * 0.1, 1)``.
    sharpe_per_trade : float or None
        Mean over standard deviation (ddof 1) of the P&L, not annualised.
    sqn : float or None
        Van Tharp's system quality number ``sqrt(min(N, 100)) * sharpe_per_trade``.
    t_stat : float or None
        The uncapped number, ``sqrt(N) * sharpe_per_trade``: the t statistic of mean P&L > 0.
    p_value : float or None
        One-sided p-value of `t_stat` (Student's t, ``N - 1`` degrees of freedom), trades taken as independent.
    skew, kurtosis : float or None
        Population moments of the P&L; kurtosis is raw (3 for a normal).
    max_drawdown_pips : float
        Largest fall of the cumulative P&L from its running peak, the start (0) included.
    longest_drawdown_trades : int
        Most consecutive trades spent below the running peak.
    trades_needed : int or None
        Trades at which this Sharpe per trade would be significant at 95 %, one-sided; None unless positive.
    flags : tuple of str
        Which degenerate cases applied: ``no_trades``, ``one_trade``, ``few_trades``, ``no_wins``, ``no_losses``,
        ``zero_variance``.
    """

    trades: int
    total_pips: float
    expectancy_pips: float | None
    median_pips: float | None
    std_pips: float | None
    best_pips: float | None
    worst_pips: float | None
    win_rate: float | None
    avg_win_pips: float | None
    avg_loss_pips: float | None
    payoff: float | None
    profit_factor: float | None
    trading_quality: float | None
    sharpe_per_trade: float | None
    sqn: float | None
    t_stat: float | None
    p_value: float | None
    skew: float | None
    kurtosis: float | None
    max_drawdown_pips: float
    longest_drawdown_trades: int
    trades_needed: int | None
    flags: tuple[str, ...]


def as_pnl(pnl_pips: npt.ArrayLike) -> FloatArray:
    """Return the P&L list as a contiguous `(N,)` float64 array.

    Raises
    ------
    DataError
        If it is not one-dimensional or holds a value that is not finite.
    """
    pnl = np.ascontiguousarray(pnl_pips, dtype=np.float64)
    if pnl.ndim != 1:
        raise DataError(f"a P&L list has one dimension, this one has shape {pnl.shape}.")
    if not np.isfinite(pnl).all():
        raise DataError(f"trade {int(np.argmin(np.isfinite(pnl)))} has a P&L that is not finite: mend the rollout.")
    return pnl


def drawdown(pnl_pips: npt.ArrayLike) -> FloatArray:
    """Depth below the running peak after each trade, the start (0) being the first peak.

    Parameters
    ----------
    pnl_pips : (N,) array-like

    Returns
    -------
    (N,) float64
        Pips, >= 0.
    """
    equity = np.cumsum(as_pnl(pnl_pips))
    peak: FloatArray = np.maximum(np.maximum.accumulate(equity), 0.0) if len(equity) else equity
    return peak - equity


def longest_run(mask: npt.NDArray[np.bool_]) -> int:
    """Length of the longest run of true values in a (N,) mask; 0 without any."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def trades_needed(sharpe_per_trade: float | None) -> int | None:
    """Trades at which that Sharpe per trade is significant at 95 %, one-sided: ``ceil((1.645 / SR)^2)``."""
    if sharpe_per_trade is None or not sharpe_per_trade > 0:
        return None
    return math.ceil((Z_95 / sharpe_per_trade) ** 2)


def trading_quality(expectancy_pips: float, win_rate: float, trades: int) -> float:
    """The project's quality score of a list of trades.

    ``expectancy * 5 + avg_pnl * 0.5 + win_rate * min(trades, 10) * 2 + min(trades * 0.1, 1)``; the mean P&L is the
    expectancy, and `win_rate` is a fraction.
    """
    activity = min(trades * 0.1, 1.0)
    return expectancy_pips * 5 + expectancy_pips * 0.5 + win_rate * min(trades, 10) * 2 + activity


def trade_metrics(pnl_pips: npt.ArrayLike) -> TradeMetrics:
    """Compute the figures of a list of trades.

    Parameters
    ----------
    pnl_pips : (N,) array-like
        P&L of each closed trade in pips after costs, in the order in which they closed.

    Returns
    -------
    TradeMetrics

    Raises
    ------
    DataError
        If a P&L is not finite.
    """
    from scipy.stats import t as student_t

    pnl = as_pnl(pnl_pips)
    n = len(pnl)
    flags: list[str] = []
    if n == 0:
        flags.append("no_trades")
    elif n == 1:
        flags.append("one_trade")
    if n < FEW_TRADES:
        flags.append("few_trades")

    wins, losses = pnl[pnl > 0], pnl[pnl <= 0]
    gross_profit, gross_loss = float(wins.sum()), -float(losses.sum())
    if n and not len(wins):
        flags.append("no_wins")
    if n and gross_loss == 0:
        flags.append("no_losses")
    expectancy = float(pnl.mean()) if n else None
    win_rate = len(wins) / n if n else None
    avg_win = float(wins.mean()) if len(wins) else None
    avg_loss = -float(losses.mean()) if len(losses) else None

    std = sharpe = sqn = t_stat = p_value = skew = kurtosis = None
    if n >= 2:
        # A constant list has a standard deviation of rounding noise: compare the values themselves.
        # (A spread so small that its square is 0 is no variance either.)
        if float(np.ptp(pnl)) == 0.0 or float(pnl.std()) == 0.0:
            flags.append("zero_variance")
            std = 0.0
        else:
            std = float(pnl.std(ddof=1))
            sharpe = float(pnl.mean()) / std
            sqn = math.sqrt(min(n, SQN_CAP)) * sharpe
            t_stat = math.sqrt(n) * sharpe
            p_value = float(student_t.sf(t_stat, n - 1))
            standard = (pnl - pnl.mean()) / pnl.std()
            skew, kurtosis = float((standard**3).mean()), float((standard**4).mean())

    below = drawdown(pnl)
    return TradeMetrics(
        trades=n,
        total_pips=float(pnl.sum()),
        expectancy_pips=expectancy,
        median_pips=float(np.median(pnl)) if n else None,
        std_pips=std,
        best_pips=float(pnl.max()) if n else None,
        worst_pips=float(pnl.min()) if n else None,
        win_rate=win_rate,
        avg_win_pips=avg_win,
        avg_loss_pips=avg_loss,
        payoff=_ratio(avg_win, avg_loss) if avg_win is not None and avg_loss else None,
        profit_factor=_ratio(gross_profit, gross_loss) if gross_loss > 0 else None,
        trading_quality=trading_quality(expectancy, win_rate, n)
        if expectancy is not None and win_rate is not None
        else None,
        sharpe_per_trade=sharpe,
        sqn=sqn,
        t_stat=t_stat,
        p_value=p_value,
        skew=skew,
        kurtosis=kurtosis,
        max_drawdown_pips=float(below.max()) if n else 0.0,
        longest_drawdown_trades=longest_run(below > 0),
        trades_needed=trades_needed(sharpe),
        flags=tuple(flags),
    )


def _ratio(gain: float, loss: float) -> float | None:
    # A loss of 1e-310 pips is rounding: the ratio would be infinite, which no JSON holds.
    ratio = gain / loss
    return ratio if math.isfinite(ratio) else None

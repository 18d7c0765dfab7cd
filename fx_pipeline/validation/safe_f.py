"""How large to trade so that a deep drawdown stays unlikely, and what that then earns: Bandy's safe-f and CAR25.

Source: Howard Bandy, "Modeling Trading System Performance" (2011), and his `risk-normalization` package. safe-f is the
largest fraction at which the 95th percentile of the largest drawdown over a horizon stays within a tolerance; CAR25 is
the 25th percentile of the compound annual return at that fraction.

Two things are done better here. All fractions are judged on the same paths (common random numbers): for each path the
largest drawdown then never falls as the fraction grows, and the fraction is a root instead of the end of a random walk.
And trades are resampled in blocks by default, since IID resampling breaks up the losing streaks that ruin.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import equity_paths, optimal_block
from fx_pipeline.validation.excursions import Excursions
from fx_pipeline.validation.metrics import as_pnl
from fx_pipeline.validation.numbers import MAX_RATE

# What a European retail account may borrow on a major currency pair.
MAX_LEVERAGE = 30.0
# The largest fraction leaves this share of the capital after the worst trade: none left has no logarithm.
LEFT_AFTER_WORST = 1e-3
# Growth beyond this, of a steep edge kept up for years, has no float; as a figure it is no less absurd.
MAX_LOG_WEALTH = 700.0
# A compound return beyond this, 1,000 % a year, tells of a short record and of nothing else: it is shown as "above".
MAX_CAR = MAX_RATE

FloatArray = npt.NDArray[np.float64]
#: A fraction in; the largest drawdown (R,) as a fraction and the terminal wealth (R,) of each path out.
Outcome = Callable[[float], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class RiskLimits:
    """What is risked over which horizon.

    Attributes
    ----------
    trades : int
        Trades within the horizon, `M`.
    years : float
        Length of the horizon.
    tolerance : float
        The drawdown that shall not be exceeded, as a fraction of the peak.
    tail : float
        Probability with which it may be.
    max_fraction : float
        Largest fraction (leverage) that the broker allows.
    """

    trades: int
    years: float
    tolerance: float = 0.10
    tail: float = 0.05
    max_fraction: float = MAX_LEVERAGE

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing.

        Raises
        ------
        DataError
        """
        if self.trades < 1 or not self.years > 0 or not self.max_fraction > 0:
            raise DataError(f"the horizon and the largest fraction must be positive: {self}.")
        if not 0 < self.tolerance < 1 or not 0 < self.tail < 1:
            raise DataError(f"tolerance and tail are fractions between 0 and 1: {self}.")


@dataclass(frozen=True)
class SafeFraction:
    """The size of one set of paths.

    Attributes
    ----------
    fraction : float
        safe-f: position value over capital.
    tail_drawdown : float
        The drawdown at the tail's percentile, at that fraction.
    twr25, car25 : float
        25th percentile of terminal wealth over initial, and the same as compound return a year (0.05 is 5 %), which is
        `MAX_CAR` where it would be more.
    limited_by : str
        ``"drawdown"``, or ``"leverage"`` or ``"worst trade"`` where a cap came first.
    """

    fraction: float
    tail_drawdown: float
    twr25: float
    car25: float
    limited_by: str


@dataclass(frozen=True)
class SafeF:
    """safe-f and CAR25 over repeated sets of paths.

    Attributes
    ----------
    safe_f, car25 : float
        Means over the sets. A CAR25 below the risk-free rate says: do not trade.
    safe_f_sd, car25_sd : float
        Standard deviations over the sets (ddof 1): how far resampling alone moves them; 0 for one set.
    sets : tuple of SafeFraction
    block_length : float
        Mean block length; 1 is IID.
    runs : int
        Paths a set.
    """

    safe_f: float
    car25: float
    safe_f_sd: float
    car25_sd: float
    sets: tuple[SafeFraction, ...]
    block_length: float
    runs: int


def trade_returns(pnl_pips: npt.ArrayLike, entry_price: npt.ArrayLike, pip: float) -> FloatArray:
    """Return each trade's (N,) P&L as a fraction of the position's value at entry: ``pips * pip / entry price``."""
    prices = np.asarray(entry_price, dtype=np.float64)
    pnl = as_pnl(pnl_pips)
    if prices.shape != pnl.shape or not (prices > 0).all():
        raise DataError("every trade needs a positive entry price.")
    return pnl * pip / prices


def safe_f(
    returns: npt.ArrayLike,
    limits: RiskLimits,
    *,
    seed: int,
    runs: int = 2_000,
    sets: int = 10,
    block: float | None = None,
    moved: Excursions | None = None,
) -> SafeF:
    """Find safe-f and CAR25 of out-of-sample trades.

    Parameters
    ----------
    returns : (N,) array-like
        Return of each trade as a fraction of the position's value (0.01 is 1 %), in order.
    limits : RiskLimits
    seed : int
        Of the first set; the others follow from it.
    runs : int
        Paths a set.
    sets : int
        Independent sets of paths.
    block : float, optional
        Mean block length; by default the automatic one. 1 is Bandy's own, IID.
    moved : Excursions, optional
        How far each trade moved while it was open, as fractions of the position's value: the drawdown that is kept
        within the tolerance then is that of the account bar by bar. Absent, it is Bandy's own, of closed trades.

    Returns
    -------
    SafeF

    Raises
    ------
    DataError
        If there are no trades, a return is not finite, or one loses more than the whole position.
    """
    trades = as_pnl(returns)
    if not len(trades):
        raise DataError("there are no trades to size.")
    if runs < 1 or sets < 1:
        raise DataError(f"at least one path and one set are needed, not {runs} and {sets}.")
    length = optimal_block(trades) if block is None else float(block)
    worst = min(float(trades.min()), 0.0 if moved is None else moved.worst)
    found = []
    for set_seed in np.random.SeedSequence(seed).generate_state(sets):

        def outcome(fraction: float, path_seed: int = int(set_seed)) -> tuple[FloatArray, FloatArray]:
            # Wealth multiplies, so its logarithm adds: the kernel of the equity paths serves.
            within = None if moved is None else moved.logarithms(fraction)
            paths = equity_paths(
                np.log1p(fraction * trades), runs, length, path_seed, steps=limits.trades, moved=within
            )
            return -np.expm1(-paths.max_drawdown_pips), np.exp(np.minimum(paths.terminal_pips, MAX_LOG_WEALTH))

        found.append(_largest_fraction(outcome, worst, limits))
    fractions, yields = np.array([one.fraction for one in found]), np.array([one.car25 for one in found])
    return SafeF(
        safe_f=float(fractions.mean()),
        car25=float(yields.mean()),
        safe_f_sd=float(fractions.std(ddof=1)) if sets > 1 else 0.0,
        car25_sd=float(yields.std(ddof=1)) if sets > 1 else 0.0,
        sets=tuple(found),
        block_length=length,
        runs=runs,
    )


def safe_f_of_sequences(sequences: npt.ArrayLike, limits: RiskLimits) -> SafeFraction:
    """Find safe-f and CAR25 on given sequences of trades, without resampling.

    Parameters
    ----------
    sequences : (R, M) array-like
        Returns of `R` forecasts of `M` trades; ``limits.trades`` is not used.
    limits : RiskLimits

    Returns
    -------
    SafeFraction
    """
    matrix = np.asarray(sequences, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise DataError(f"sequences are a finite (R, M) table, this one has shape {matrix.shape}.")

    def outcome(fraction: float) -> tuple[FloatArray, FloatArray]:
        wealth = np.cumprod(1.0 + fraction * matrix, axis=1, dtype=np.float64)
        peak = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
        return (1.0 - wealth / peak).max(axis=1), wealth[:, -1]

    return _largest_fraction(outcome, float(matrix.min()), limits)


def _largest_fraction(outcome: Outcome, worst: float, limits: RiskLimits) -> SafeFraction:
    cap, limited_by = limits.max_fraction, "leverage"
    if worst < 0 and (1.0 - LEFT_AFTER_WORST) / -worst < cap:
        cap, limited_by = (1.0 - LEFT_AFTER_WORST) / -worst, "worst trade"

    def tail_drawdown(fraction: float) -> float:
        return float(np.percentile(outcome(fraction)[0], 100 * (1 - limits.tail)))

    fraction = cap
    if tail_drawdown(cap) > limits.tolerance:
        limited_by = "drawdown"
        fraction = float(brentq(lambda f: tail_drawdown(f) - limits.tolerance, 0.0, cap, xtol=1e-9, rtol=1e-6))
    drawdowns, wealth = outcome(fraction)
    twr25 = float(np.percentile(wealth, 25))
    return SafeFraction(
        fraction=fraction,
        tail_drawdown=float(np.percentile(drawdowns, 100 * (1 - limits.tail))),
        twr25=twr25,
        car25=min(twr25 ** (1 / limits.years) - 1, MAX_CAR),
        limited_by=limited_by,
    )

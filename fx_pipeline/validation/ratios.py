"""Ratios of a series of returns a period, and how much of the time and how often was traded.

Conventions are those of empyrical: returns are simple and compound, ratios are annualised, standard deviations have
ddof 1, the downside deviation counts all periods, the risk-free rate is 0. Drawdowns are positive fractions of the
running peak, the start included. What a degenerate series does not have is ``None``, never a number that could pass a
threshold.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.metrics import as_pnl, longest_run

#: Logarithm of the wealth that is left when all is lost, and the lowest return that leaves more.
LOG_OF_NOTHING, LEAST_RETURN = -700.0, -1.0 + 1e-15


@dataclass(frozen=True)
class ReturnRatios:
    """Figures of `T` returns.

    Attributes
    ----------
    periods : int
        `T`.
    cagr : float or None
        Compound return a year, a fraction; None where it is beyond any float.
    volatility : float or None
        Standard deviation a year, a fraction.
    sharpe : float or None
        Mean over standard deviation, times the root of the periods a year (Sharpe 1994).
    sortino : float or None
        Mean over the root mean square of the losses, annualised alike (Sortino and van der Meer 1991).
    max_drawdown : float
        Largest fall from the running peak, a fraction; 0 without returns.
    longest_drawdown_periods : int
        Most consecutive periods below the running peak.
    calmar : float or None
        `cagr` over `max_drawdown` (Young 1991).
    omega : float or None
        Sum of gains over sum of losses (Keating and Shadwick 2002).
    tail_ratio : float or None
        Size of the 95th percentile over that of the 5th.
    ulcer_index : float or None
        Root of the sum of squared drawdowns over ``T - 1`` (Martin 1987), a fraction.
    flags : tuple of str
        ``no_returns``, ``one_return``, ``ruined`` (a return lost everything), ``zero_variance``, ``no_losses``,
        ``no_drawdown``, where they apply.
    """

    periods: int
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    longest_drawdown_periods: int
    calmar: float | None
    omega: float | None
    tail_ratio: float | None
    ulcer_index: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Activity:
    """How much of the time and how often was traded.

    Attributes
    ----------
    exposure : float or None
        Share of the bars with a position open; None without bars.
    turnover : float or None
        Position values traded a year, both sides of each trade counted; None without bars.
    mean_bars_held : float or None
        None without trades.
    """

    exposure: float | None
    turnover: float | None
    mean_bars_held: float | None


def return_ratios(returns: npt.ArrayLike, periods_per_year: float) -> ReturnRatios:
    """Compute the ratios of a series.

    Parameters
    ----------
    returns : (T,) array-like
        Simple returns a period as fractions. One of -1 or less has lost everything: what is compound ends there.
    periods_per_year : float
        Sessions, days or bars of this series in a year.

    Returns
    -------
    ReturnRatios

    Raises
    ------
    DataError
        If a return is not finite, or `periods_per_year` is not positive.
    """
    series = as_pnl(returns)
    if not periods_per_year > 0:
        raise DataError(f"the periods of a year are a positive number, not {periods_per_year}.")
    count = len(series)
    ruined = bool((series <= -1).any())
    applying = (("no_returns", count == 0), ("one_return", count == 1), ("ruined", ruined))
    flags = [name for name, applies in applying if applies]
    # Wealth that is lost stays lost; what is left of it has a logarithm, and is no figure that anybody sees.
    log_wealth = np.cumsum(np.where(series <= -1, LOG_OF_NOTHING, np.log1p(np.maximum(series, LEAST_RETURN))))
    below = -np.expm1(log_wealth - np.maximum.accumulate(np.append(0.0, log_wealth))[1:])
    max_drawdown = float(below.max()) if count else 0.0
    gains, losses = float(series[series > 0].sum()), -float(series[series < 0].sum())
    root = math.sqrt(periods_per_year)
    varies = count > 1 and float(np.ptp(series)) > 0 and float(series.std()) > 0
    deviation = float(series.std(ddof=1)) if varies else None
    downside = math.sqrt(float((np.minimum(series, 0.0) ** 2).mean())) if count else 0.0
    cagr = _compound(float(log_wealth[-1]) * periods_per_year / count) if count else None
    low, high = np.abs(np.percentile(series, (5, 95))) if count else (0.0, 0.0)
    if count > 1 and not varies:
        flags.append("zero_variance")
    if count and not losses:
        flags.append("no_losses")
    if count and not max_drawdown:
        flags.append("no_drawdown")
    mean = float(series.mean()) if count else 0.0
    return ReturnRatios(
        periods=count,
        cagr=cagr,
        volatility=deviation * root if deviation is not None else None,
        sharpe=_over(mean * root, deviation),
        sortino=_over(mean * root, downside),
        max_drawdown=max_drawdown,
        longest_drawdown_periods=longest_run(below > 0),
        calmar=_over(cagr, max_drawdown),
        omega=_over(gains, losses),
        tail_ratio=_over(float(high), float(low)),
        ulcer_index=math.sqrt(float((below**2).sum()) / (count - 1)) if count > 1 else None,
        flags=tuple(flags),
    )


def activity(bars_held: npt.ArrayLike, bars: int, bars_per_year: float) -> Activity:
    """Measure exposure and turnover.

    Parameters
    ----------
    bars_held : (N,) array-like
        Bars for which each trade was open.
    bars : int
        Bars on which a position could have been open.
    bars_per_year : float
        Bars of a year of such trading.

    Returns
    -------
    Activity

    Raises
    ------
    DataError
        If a count is negative, or more bars were held than there were.
    """
    held = as_pnl(bars_held)
    if bars < 0 or (held < 0).any() or held.sum() > bars:
        raise DataError(f"{held.sum():.0f} bars were held of {bars}: one of the two is wrong.")
    return Activity(
        exposure=float(held.sum()) / bars if bars else None,
        turnover=2 * len(held) * bars_per_year / bars if bars else None,
        mean_bars_held=float(held.mean()) if len(held) else None,
    )


def _compound(log_growth: float) -> float | None:
    # A few large returns, compounded over many periods a year, grow beyond what a float holds.
    return math.expm1(log_growth) if log_growth < 700 else None


def _over(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or not denominator:
        return None
    ratio = numerator / denominator
    return ratio if math.isfinite(ratio) else None

"""What a rollout means as an account: returns of the sessions, time in the market, and how large one could trade.

Pips become fractions of the position's value at the price of the day, so the figures are those of an unlevered
position of one unit; safe-f says which multiple of it keeps a deep drawdown unlikely.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.years import calendar_of, covered_days
from fx_pipeline.validation.excursions import Excursions
from fx_pipeline.validation.metrics import drawdown, longest_run
from fx_pipeline.validation.ratios import Activity, ReturnRatios, activity, return_ratios
from fx_pipeline.validation.rollout import Rollout
from fx_pipeline.validation.safe_f import RiskLimits, SafeF, safe_f, trade_returns

#: Horizon of safe-f.
HORIZON_YEARS = 2.0
SETS = 10
MAX_PATHS = 1_000
# Elements of one set of paths: a rate of many trades a day, kept up for years, would take minutes to resample.
MAX_ELEMENTS = 10_000_000
MIN_PATHS = 200


@dataclass(frozen=True)
class SessionDrawdown:
    """The fall of the cumulative session results below their peak: depth in pips, length in sessions.

    ``bars_pips`` is the depth of the same account marked after costs at the close of each bar, which is never less:
    what a position lost and won back before it was closed is in no list of results.
    """

    depth_pips: float
    bars_pips: float
    longest_sessions: int
    sessions_below: int


@dataclass(frozen=True)
class Risk:
    """Figures of the account.

    Attributes
    ----------
    days : int
        Trading days of the instrument's calendar from the first session to the last one.
    days_a_year : float
        Of that calendar: 259.5 for currencies and metals, 365.25 for crypto.
    years : float
        `days` over `days_a_year`.
    ratios : ReturnRatios
        Of the sessions' returns, annualised by their number a year.
    activity : Activity
    drawdown : SessionDrawdown
    trades_per_year : float
    horizon_years : float
        Over which safe-f looks.
    horizon_trades : int
    tolerance : float
        Drawdown that shall not be exceeded, a fraction.
    safe_f : SafeF or None
        None without trades.
    """

    days: int
    days_a_year: float
    years: float
    ratios: ReturnRatios
    activity: Activity
    drawdown: SessionDrawdown
    trades_per_year: float
    horizon_years: float
    horizon_trades: int
    tolerance: float
    safe_f: SafeF | None


def account_risk(done: Rollout, market: MarketArrays, *, runs: int, seed: int) -> Risk:
    """Turn the pips of a rollout into figures of an account.

    Parameters
    ----------
    done : Rollout
    market : MarketArrays
    runs : int
        Paths a set of safe-f, at most; fewer where the horizon holds very many trades.
    seed : int

    Returns
    -------
    Risk
    """
    last = int(done.ends[-1])
    days = covered_days(market.instrument, [(int(market.time[done.starts[0]]), int(market.time[last]))])
    days_a_year = calendar_of(market.instrument).days_a_year
    years = days / days_a_year
    pnl = done.session_pnl_pips
    below = drawdown(pnl) > 0
    rate = len(done.trades) / years
    limits = _limits(len(done.trades), years)
    values = position_values(done, market)
    returns = trade_returns(done.pnl_pips, values, market.pip)
    return Risk(
        days=days,
        days_a_year=days_a_year,
        years=years,
        ratios=return_ratios(pnl * market.pip / market.close[done.starts], done.sessions / years),
        # Decisions rather than distinct bars: where sessions overlap, their trades do too.
        activity=activity(np.asarray(done.trades["bars_held"]), done.decisions, done.decisions / years),
        drawdown=SessionDrawdown(
            float(drawdown(pnl).max()), done.deepest_fall_pips, longest_run(below), int(below.sum())
        ),
        trades_per_year=rate,
        horizon_years=HORIZON_YEARS,
        horizon_trades=limits.trades,
        tolerance=limits.tolerance,
        safe_f=size_trades(returns, years, done.excursions.scaled(market.pip / values), runs=runs, seed=seed),
    )


def position_values(done: Rollout, market: MarketArrays) -> npt.NDArray[np.float64]:
    """Return what a unit of each trade (N,) is worth at its entry, in price units: what its pips become returns by.

    That is the price of its fill, and no less than half the middle of that bar: where a spread is as wide as the price
    itself, a sale fills at next to nothing, and its result would be divided by that.
    """
    middle = market.open[done.trades["entry_bar"]]
    return np.asarray(np.maximum(done.trades["entry_price"], middle / 2), dtype=np.float64)


def size_trades(
    returns: npt.NDArray[np.float64], years: float, moved: Excursions, *, runs: int, seed: int
) -> SafeF | None:
    """Find safe-f and CAR25 of the trades of some years, at their rate over the horizon; None without trades.

    Parameters
    ----------
    returns : (N,) float64
        Of each trade, as a fraction of the position's value.
    years : float
        In which they were made.
    moved : Excursions
        How far each moved while it was open, alike.
    runs : int
        Paths a set, at most.
    seed : int
    """
    if not len(returns):
        return None
    limits = _limits(len(returns), years)
    paths = max(min(runs, MAX_PATHS, MAX_ELEMENTS // limits.trades), min(runs, MIN_PATHS))
    return safe_f(returns, limits, seed=seed, runs=paths, sets=SETS, moved=moved)


def _limits(trades: int, years: float) -> RiskLimits:
    return RiskLimits(max(1, round(trades / years * HORIZON_YEARS)), HORIZON_YEARS)

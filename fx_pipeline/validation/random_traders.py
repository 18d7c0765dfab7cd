"""What random traders with the turnover of a policy make, exactly: no draws, so none to be lucky with.

A random trader enters a flat bar with one probability and leaves a held one with another (`baselines.RandomTrader`).
What it still makes in a session then depends on its bar and position alone, so the moments of its result follow
backwards from the session's last bar, a few operations a bar for all sessions at once. Sessions are independent: over
many of them the total is close to normal, and the third moment corrects for skew (Edgeworth, first term).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.validation.baselines import Turnover

FloatArray = npt.NDArray[np.float64]


class SessionMoments(NamedTuple):
    """Moments of what a random trader makes in each of `S` sessions.

    Attributes
    ----------
    pips : (S, 3) float64
        Mean, variance and third central moment of the result.
    trades : (S,) float64
        Expected number of trades.
    """

    pips: FloatArray
    trades: FloatArray


class _Raw(NamedTuple):
    """Raw moments (S,) of a result that is still to come."""

    first: FloatArray
    second: FloatArray
    third: FloatArray

    def after(self, gain: FloatArray) -> "_Raw":
        """Of the result when `gain` (S,) is added to it."""
        return _Raw(
            gain + self.first,
            gain**2 + 2 * gain * self.first + self.second,
            gain**3 + 3 * gain**2 * self.first + 3 * gain * self.second + self.third,
        )


def _mixed(*parts: tuple[float, _Raw]) -> _Raw:
    return _Raw(*(np.sum([share * raw[order] for share, raw in parts], axis=0) for order in range(3)))


def _chosen(first: npt.NDArray[np.bool_], one: _Raw, other: _Raw) -> _Raw:
    return _Raw(*(np.where(first, one[order], other[order]) for order in range(3)))


def random_moments(
    market: MarketArrays, fills: Fills, starts: npt.NDArray[np.int64], lengths: npt.ArrayLike, turnover: Turnover
) -> SessionMoments:
    """Compute the moments of a random trader's result, after all costs of the fills.

    Parameters
    ----------
    market : MarketArrays
    fills : Fills
        Of that market.
    starts : (S,) int64
        First bars of the sessions.
    lengths : int or (S,) array-like
        Bars of the sessions.
    turnover : Turnover
        Probabilities of the trader.

    Returns
    -------
    SessionMoments
    """
    enter, leave, longs = turnover.entry_probability, turnover.exit_probability, turnover.long_share
    # Prices from the session's first close: moments of whole prices would cancel.
    base, pip = market.close[starts], market.pip
    lengths = np.broadcast_to(np.asarray(lengths, dtype=np.int64), starts.shape)
    last = starts + lengths - 1
    nothing = np.zeros(len(starts))
    flat = _Raw(nothing, nothing, nothing)
    held_long = flat.after((fills.last_sell[last] - base) / pip)
    held_short = flat.after(-(fills.last_buy[last] - base) / pip)
    trades = nothing
    trades_long = trades_short = np.ones(len(starts))
    for step in range(int(lengths.max()) - 2, -1, -1):
        # Sessions that have ended by then know nothing to come yet; what is computed of them is not kept.
        bar, ended = np.minimum(starts + step, last), step > lengths - 2
        known = (flat, held_long, held_short, trades, trades_long, trades_short)
        buy, sell = (fills.buy[bar] - base) / pip, (fills.sell[bar] - base) / pip
        carry_long, carry_short = fills.carry_long_pips[bar], fills.carry_short_pips[bar]
        # An order that fills at the next open holds through the night before an exit, but not before an entry.
        opened, closed = (1.0, 0.0) if fills.at_close else (0.0, 1.0)
        cost = fills.entry_cost_pips[bar]
        into_long = held_long.after(-buy - cost - opened * carry_long)
        into_short = held_short.after(sell - cost - opened * carry_short)
        entered = _mixed((enter * longs, into_long), (enter * (1 - longs), into_short), (1 - enter, flat))
        left_long, left_short = flat.after(sell - closed * carry_long), flat.after(-buy - closed * carry_short)
        held_long = _mixed((leave, left_long), (1 - leave, held_long.after(-carry_long)))
        held_short = _mixed((leave, left_short), (1 - leave, held_short.after(-carry_short)))
        flat_trades = (1 - enter) * trades + enter * (longs * trades_long + (1 - longs) * trades_short)
        # A position that is held is a trade that will be closed, and then others may follow.
        trades_long = leave * (1.0 + trades) + (1 - leave) * trades_long
        trades_short = leave * (1.0 + trades) + (1 - leave) * trades_short
        flat, trades = entered, flat_trades
        if ended.any():
            raws = [_chosen(ended, *pair) for pair in zip(known[:3], (flat, held_long, held_short), strict=True)]
            flat, held_long, held_short = raws
            counts = zip(known[3:], (trades, trades_long, trades_short), strict=True)
            trades, trades_long, trades_short = (np.where(ended, *pair) for pair in counts)
    variance = np.maximum(flat.second - flat.first**2, 0.0)
    third = flat.third - 3 * flat.first * flat.second + 2 * flat.first**3
    return SessionMoments(np.stack((flat.first, variance, third), axis=1), trades)


def chance_of(total_pips: float, moments: npt.ArrayLike) -> float | None:
    """Probability that the total of random traders is at least as large.

    Parameters
    ----------
    total_pips : float
    moments : (3,) array-like
        Mean, variance and third central moment of their total.

    Returns
    -------
    float or None
        None where their total does not vary: there is nothing random to compare with.
    """
    mean, variance, third = np.asarray(moments, dtype=np.float64)
    if not variance > 0:
        return None
    z, skew = (total_pips - mean) / np.sqrt(variance), third / variance**1.5
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    # The correction may overshoot far out in a tail; it is never trusted to say less than the normal law halved.
    plain = float(ndtr(-z))
    return float(np.clip(plain + density * skew / 6 * (z**2 - 1), plain / 2, 1.0))


def total_quantile(share: float, moments: npt.ArrayLike) -> float:
    """Quantile of the total of random traders (Cornish and Fisher, first term); moments as of `chance_of`."""
    mean, variance, third = np.asarray(moments, dtype=np.float64)
    if not variance > 0:
        return float(mean)
    z, skew = float(ndtri(share)), third / variance**1.5
    return float(mean + np.sqrt(variance) * (z + skew / 6 * (z**2 - 1)))

"""What random traders with the turnover of a policy make, exactly: no draws, so none to be lucky with.

A random trader goes from one exposure to another with a probability that depends on the two alone
(`baselines.RandomTrader`). What it still makes in a session then depends on its bar and exposure alone, so the moments
of its result follow backwards from the session's last bar, a few operations a bar for all sessions at once. Sessions
are independent: over many of them the total is close to normal, and the third moment corrects for skew (Edgeworth,
first term).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.validation.baselines import Habit

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
    market: MarketArrays, fills: Fills, starts: npt.NDArray[np.int64], lengths: npt.ArrayLike, habit: Habit
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
    habit : Habit
        Probabilities of the trader.

    Returns
    -------
    SessionMoments
    """
    levels, moves, shares = habit.levels, habit.moves.tolist(), habit.shares.tolist()
    # Prices from the session's first close: moments of whole prices would cancel.
    base, pip = market.close[starts], market.pip
    lengths = np.broadcast_to(np.asarray(lengths, dtype=np.int64), starts.shape)
    last = starts + lengths - 1
    nothing = np.zeros(len(starts))
    none = _Raw(nothing, nothing, nothing)
    ends = {1: (fills.last_sell[last] - base) / pip, -1: (fills.last_buy[last] - base) / pip}
    to_come = [none.after(level * ends[_side(level)]) if level else none for level in levels]
    # A position that is held is a trade that will be closed, and then others may follow.
    trades = [np.ones(len(starts)) if level else nothing for level in levels]
    for step in range(int(lengths.max()) - 2, -1, -1):
        # Sessions that have ended by then know nothing to come yet; what is computed of them is not kept.
        bar, ended = np.minimum(starts + step, last), step > lengths - 2
        prices = {1: (fills.buy[bar] - base) / pip, -1: (fills.sell[bar] - base) / pip}
        carry = {1: fills.carry_long_pips[bar], -1: fills.carry_short_pips[bar]}
        cost = fills.entry_cost_pips[bar]
        results, counts = [], []
        for here, held in enumerate(levels):
            parts, closed = [], []
            for there, wanted in enumerate(levels):
                share = shares[here][there]
                if share:
                    turned = held * wanted <= 0.0
                    added = abs(wanted) if turned else max(abs(wanted) - abs(held), 0.0)
                    # An order that fills at the next open holds what was held through the night, one at the close not.
                    night = wanted if fills.at_close else held
                    bought = wanted - held
                    gain = -bought * prices[_side(bought)] - added * cost
                    if night:
                        gain = gain - abs(night) * carry[_side(night)]
                    parts.append((moves[here] * share, to_come[there].after(gain)))
                    closed.append(share * (trades[there] + 1.0 if held and turned else trades[there]))
            stay = to_come[here].after(-abs(held) * carry[_side(held)]) if held else to_come[here]
            results.append(_mixed(*parts, (1 - moves[here], stay)))
            count = (1 - moves[here]) * trades[here]
            counts.append(count + moves[here] * np.sum(closed, axis=0) if closed else count)
        if ended.any():
            results = [_chosen(ended, *pair) for pair in zip(to_come, results, strict=True)]
            counts = [np.where(ended, *pair) for pair in zip(trades, counts, strict=True)]
        to_come, trades = results, counts
    flat, flat_trades = to_come[levels.index(0.0)], trades[levels.index(0.0)]
    variance = np.maximum(flat.second - flat.first**2, 0.0)
    third = flat.third - 3 * flat.first * flat.second + 2 * flat.first**3
    return SessionMoments(np.stack((flat.first, variance, third), axis=1), flat_trades)


def _side(exposure: float) -> int:
    return 1 if exposure > 0.0 else -1


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

"""How far the equity moved while each trade was open: drawdowns bar by bar instead of from close to close.

While a trade is open the equity is what stood before it, E, and what the trade is worth. With P the peak before it,
u(t) the worth of the trade at the close of its bars after all costs so far, and h(t) its own high-water mark (0
included), the fall from the running peak at t is ``max(P, E + h(t)) - (E + u(t))``. The deepest of a trade is thus

    max(P - E - low, fall),   low = min u(t),   fall = max (h(t) - u(t)),

and the peak behind it ``max(P, E + high)``, high = max h(t). Three numbers a trade give the drawdown of any sequence of
them exactly, also of one that is resampled.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class Excursions(NamedTuple):
    """Of `N` trades, in pips, or as fractions of what the position is worth. All arrays are (N,) float64.

    Attributes
    ----------
    low : lowest worth at a mark, at most 0.
    high : highest worth, at least 0.
    fall : largest fall from its own high-water mark, at least 0.
    """

    low: FloatArray
    high: FloatArray
    fall: FloatArray

    @classmethod
    def of_trades(cls, trades: npt.NDArray[np.void]) -> "Excursions":
        """Take them from closed trades (`TRADE_DTYPE`), in pips."""
        return cls(*(np.ascontiguousarray(trades[name]) for name in ("low_pips", "peak_pips", "max_drawdown_pips")))

    @classmethod
    def of_results(cls, pnl: npt.ArrayLike) -> "Excursions":
        """Suppose that nothing happened within the trades: drawdowns then are those of the closed ones."""
        result = np.asarray(pnl, dtype=np.float64)
        return cls(np.minimum(result, 0.0), np.maximum(result, 0.0), np.maximum(-result, 0.0))

    def scaled(self, factor: npt.ArrayLike) -> "Excursions":
        """Return them times a positive factor, one for all or one a trade."""
        return Excursions(*(np.asarray(part * np.asarray(factor), dtype=np.float64) for part in self))

    def logarithms(self, fraction: float) -> "Excursions":
        """Return them as logarithms of wealth at a fraction of it, where they are fractions of the position.

        The fall within a trade is from its own mark, ``(1 + f u) / (1 + f h)``, and h at that moment is not kept: with
        h at 0 it is at least as deep as it was, by less than a factor of ``1 + f high``.
        """
        return Excursions(
            np.log1p(fraction * self.low), np.log1p(fraction * self.high), -np.log1p(-fraction * self.fall)
        )

    @property
    def worst(self) -> float:
        """The most that a trade was below its entry or its own mark, as a negative number; 0 without trades."""
        return min(float(self.low.min(initial=0.0)), -float(self.fall.max(initial=0.0)))


def deepest_fall(pnl: npt.ArrayLike, moved: Excursions) -> float:
    """Return the largest fall of the equity from its running peak, bar by bar, the start (0) being the first peak.

    Parameters
    ----------
    pnl : (N,) array-like
        Result of each trade, in order.
    moved : Excursions

    Returns
    -------
    float
        At least 0; that of the closed trades is never larger.
    """
    return float(_deepest(np.asarray(pnl, dtype=np.float64), *moved))


@numba.njit(cache=True, nogil=True)
def _deepest(pnl: FloatArray, low: FloatArray, high: FloatArray, fall: FloatArray) -> float:
    equity = peak = worst = 0.0
    for trade in range(len(pnl)):
        worst = max(worst, peak - equity - low[trade], fall[trade])
        peak = max(peak, equity + high[trade])
        equity += pnl[trade]
        worst = max(worst, peak - equity)
    return worst

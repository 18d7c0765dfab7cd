"""How much a market moves in a bar: what outcomes of the chance nodes are measured in. It is of no feature set."""

import math

import numba
import numpy as np
import numpy.typing as npt

SIGMA_BARS = 20


def outcome_sigma(close: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compute the population standard deviation of the last 20 one-bar changes of each bar, in price units.

    Parameters
    ----------
    close : (T,) float64
        Mid closes of consecutive bars.

    Returns
    -------
    (T,) float64
        NaN in the first 20 rows, and where one of the 21 closes is no price.
    """
    close = np.ascontiguousarray(close, dtype=np.float64)
    bad = ~((close > 0.0) & (close < np.inf))
    # NaN and infinity pass through the sum; zero and what is below do not show in it.
    return np.asarray(_sigma(np.where(bad, np.nan, close) if bad.any() else close))


@numba.njit(cache=True, nogil=True)
def _sigma(close):  # type: ignore[no-untyped-def]
    size = len(close)
    sigma = np.full(size, np.nan)
    for t in range(SIGMA_BARS, size):
        mean = 0.0
        for k in range(t - SIGMA_BARS + 1, t + 1):
            mean += close[k] - close[k - 1]
        mean /= SIGMA_BARS
        square = 0.0
        for k in range(t - SIGMA_BARS + 1, t + 1):
            deviation = close[k] - close[k - 1] - mean
            square += deviation * deviation
        sigma[t] = math.sqrt(square / SIGMA_BARS)
    return sigma

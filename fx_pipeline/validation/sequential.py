"""Looking at a growing record again and again without being fooled: the boundary that a promotion has to cross.

Sources: Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data" (1969) for the recursive
integration; Lan and DeMets, "Discrete sequential boundaries for clinical trials" (1983) for spending the error at looks
that nobody planned; Kim and DeMets (1987) for the power family; Jennison and Turnbull, "Group Sequential Methods"
(2000), chapters 7, 8 and 19, for all of them, and for confidence limits after stopping (stage-wise ordering: Tsiatis,
Rosner and Mehta 1984).

A record is seen as Brownian motion: at information fraction `t` its z is normal with mean ``drift * sqrt(t)`` and
variance 1, and what is added later is independent of what was seen. `drift` is therefore the expected z at fraction 1;
where that is a year of trading days, it is the annual t of the edge. The other end, when an edge is gone, is in
`validation.demotion`.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr

FloatArray = npt.NDArray[np.float64]

ALPHA = 0.05
#: Measured in docs/validation.md: the largest share of the error is kept for the full year, and a first window of
#: twenty days can still promote by a z of 3.5.
RHO = 2.0
# Paths that come from further below matter to no boundary: 8 standard deviations leave out 6e-16.
_REACH = 8.0
# Nodes a standard deviation of the smallest step, and their bounds.
_NODES, _FEWEST, _MOST = 3.0, 128, 1024


def spending_boundary(fractions: npt.ArrayLike, alpha: float = ALPHA, rho: float = RHO) -> FloatArray:
    """Return the z that a record has to reach at each look, so that chance reaches any of them with `alpha` at most.

    One-sided, without a futility bound: by fraction `t` an error of ``alpha * t**rho`` has been spent, whatever the
    looks before were.

    Parameters
    ----------
    fractions : (K,) array-like
        Information at the looks so far, increasing, in (0, 1]; the last may be below 1, and what follows it does not
        change what is returned for it.
    alpha : float
        Error over all looks up to fraction 1.
    rho : float
        Above 0. 1 spends evenly; about 3 is near O'Brien and Fleming.

    Returns
    -------
    (K,) float64

    Raises
    ------
    ValueError
        If the fractions do not increase within (0, 1], or alpha or rho means nothing.
    """
    times = _times(fractions)
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is a probability between 0 and 1, not {alpha}.")
    if not 0.0 < rho < math.inf:
        raise ValueError(f"rho is above 0, not {rho}.")
    spent = alpha * times**rho
    walk = _Walk(times, 0.0)
    bounds = np.empty(len(times))
    for look, error in enumerate(np.diff(spent, prepend=0.0)):
        # What rounding leaves of a step so small spends nothing.
        bounds[look] = walk.quantile(float(error))
        walk.stop_above(bounds[look])
    return bounds


def crossing_probabilities(fractions: npt.ArrayLike, bounds: npt.ArrayLike, drift: float = 0.0) -> FloatArray:
    """Return the (K,) probabilities that a record first reaches its boundary at each look.

    Parameters
    ----------
    fractions : (K,) array-like
        As in `spending_boundary`.
    bounds : (K,) array-like
        Z values.
    drift : float
        Expected z at fraction 1.
    """
    times = _times(fractions)
    heights = np.asarray(bounds, dtype=np.float64)
    if heights.shape != times.shape:
        raise ValueError(f"{len(times)} looks have as many bounds, not {heights.shape}.")
    walk = _Walk(times, drift)
    found = np.empty(len(times))
    for look, height in enumerate(heights):
        found[look] = walk.above(float(height))
        walk.stop_above(float(height))
    return found


def drift_limit(fractions: npt.ArrayLike, bounds: npt.ArrayLike, z: float, level: float) -> float:
    """Return the lower confidence limit of the drift of a record that stopped at its last look with this z.

    Results are ordered stage-wise: stopping earlier is more extreme than stopping later, and at one look a larger z is.
    The drift is sought under which something at least as extreme has the probability ``1 - level``; a `level` of 0.5
    is the median-unbiased estimate, which takes the winner's curse out of the plain one.

    Parameters
    ----------
    fractions, bounds : (K,) array-like
        Of all looks up to the one at which it stopped.
    z : float
        Of the record at the last look.
    level : float
        Between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a confidence level lies between 0 and 1, not {level}.")
    times = _times(fractions)
    heights = np.append(np.asarray(bounds, dtype=np.float64)[:-1], z)

    def more_extreme(drift: float) -> float:
        return float(crossing_probabilities(times, heights, drift).sum()) - (1.0 - level)

    # At the first look the limit is that of a plain test; stopping later only lowers it, by a bounded amount.
    centre = z / math.sqrt(times[-1])
    reach = 6.0 / math.sqrt(times[0])
    return float(brentq(more_extreme, centre - 2 * reach, centre + reach, xtol=1e-6))


def _times(fractions: npt.ArrayLike) -> FloatArray:
    times = np.atleast_1d(np.asarray(fractions, dtype=np.float64))
    if times.ndim != 1 or not len(times):
        raise ValueError("a boundary needs at least one look.")
    if not (times[0] > 0.0 and times[-1] <= 1.0 and (np.diff(times) > 0.0).all()):
        raise ValueError(f"information fractions increase within (0, 1], not {times.tolist()}.")
    return times


def _count(wanted: float) -> int:
    # Rounded up, so that the rules can be kept.
    return int(min(max(32 * math.ceil(wanted / 32), _FEWEST), _MOST))


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[FloatArray, FloatArray]:
    unit, weight = np.polynomial.legendre.leggauss(count)
    return unit, weight


class _Walk:
    """Brownian motion, observed at looks, that is stopped above a height at each.

    What has not been stopped is held as weights on Gauss-Legendre nodes of the motion (``z * sqrt(t)``): Gaussian
    steps are smooth, so the rule converges faster than any power of the spacing.
    """

    def __init__(self, times: FloatArray, drift: float) -> None:
        self._steps: Iterator[tuple[float, float]] = iter(zip(times, np.diff(times, prepend=0.0), strict=True))
        self._drift = drift
        self._nodes, self._weights = np.zeros(1), np.ones(1)
        self._smallest = float(np.sqrt(np.diff(times, prepend=0.0)).min())
        self._advance()

    def _advance(self) -> None:
        self._time, self._step = next(self._steps, (math.nan, math.nan))

    def above(self, height: float) -> float:
        """Probability of being above this z at the present look, and at none before."""
        distance = (self._nodes + self._drift * self._step - height * math.sqrt(self._time)) / math.sqrt(self._step)
        return float(self._weights @ ndtr(distance))

    def quantile(self, error: float) -> float:
        """The z above which the motion is with this probability at the present look, and at none before."""
        if error <= 0.0:
            return math.inf
        return float(brentq(lambda height: self.above(height) - error, -_REACH, 40.0, xtol=1e-12))

    def stop_above(self, height: float) -> None:
        """Stop what is above this z at the present look, and go on to the next."""
        root = math.sqrt(self._time)
        mean = self._drift * self._time
        top = min(height * root, mean + _REACH * root)
        low = min(mean, top) - _REACH * root
        unit, weight = _legendre(_count(_NODES * (top - low) / self._smallest))
        nodes = low + (unit + 1.0) * (top - low) / 2.0
        size = math.sqrt(self._step)
        steps = (nodes[:, None] - self._nodes - self._drift * self._step) / size
        density = np.exp(-0.5 * steps**2) @ self._weights / (size * math.sqrt(2.0 * math.pi))
        self._nodes, self._weights = nodes, density * weight * (top - low) / 2.0
        self._advance()

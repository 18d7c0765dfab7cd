"""How surely a Sharpe ratio is above a benchmark, and above the best of many lucky trials.

Sources: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) for PSR and MinTRL, "The Deflated
Sharpe Ratio" (2014) for DSR, and Bailey et al., "Pseudo-Mathematics and Financial Charlatanism" (2014) for MinBTL.
Sharpe ratios are per period (here: per trade), with ddof 1; skew and kurtosis are population moments, and kurtosis
is raw, 3 for a normal. These are the conventions of skfolio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True)
class SharpeMoments:
    """What PSR needs of a return series.

    Attributes
    ----------
    sharpe : float
        Mean over standard deviation (ddof 1), per period.
    periods : int
        Length of the series.
    skew, kurtosis : float
        Population moments; kurtosis is raw.
    """

    sharpe: float
    periods: int
    skew: float = 0.0
    kurtosis: float = 3.0

    @property
    def dispersion(self) -> float:
        """``1 - skew * SR + (kurtosis - 1) / 4 * SR^2``, the variance of ``sqrt(T - 1) * SR``."""
        return 1.0 - self.skew * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2

    @property
    def sampling_variance(self) -> float:
        """``1 / (T - 1)``, the variance of a worthless Sharpe ratio."""
        return 1.0 / max(self.periods - 1, 1)


def sharpe_moments(returns: npt.ArrayLike) -> SharpeMoments | None:
    """Measure a series.

    Parameters
    ----------
    returns : (N,) array-like
        Returns or P&L a period.

    Returns
    -------
    SharpeMoments or None
        None when there are fewer than 2 values or all are equal: there is no Sharpe ratio then.
    """
    values = np.asarray(returns, dtype=np.float64)
    # A constant series has a standard deviation of rounding noise: compare the values themselves.
    if len(values) < 2 or float(np.ptp(values)) == 0.0 or float(values.std()) == 0.0:
        return None
    standard = (values - values.mean()) / values.std()
    return SharpeMoments(
        sharpe=float(values.mean() / values.std(ddof=1)),
        periods=len(values),
        skew=float((standard**3).mean()),
        kurtosis=float((standard**4).mean()),
    )


def probabilistic_sharpe(moments: SharpeMoments, benchmark: float = 0.0) -> float | None:
    """Probability that the true Sharpe ratio is above `benchmark` (PSR).

    ``Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2))``.

    Returns
    -------
    float or None
        None when the variance under the root is not positive (a strongly skewed, tiny sample).
    """
    z = sharpe_z(moments, benchmark)
    return None if z is None else float(ndtr(z))


def sharpe_z(moments: SharpeMoments, benchmark: float = 0.0) -> float | None:
    """The z whose normal probability `probabilistic_sharpe` is; None where that is None."""
    if moments.periods < 2 or moments.dispersion <= 0:
        return None
    return (moments.sharpe - benchmark) * math.sqrt(moments.periods - 1) / math.sqrt(moments.dispersion)


def expected_max_z(trials: float) -> float:
    """Expected maximum of `trials` independent standard normals, by the approximation of the DSR paper; 0 for one.

    An effective number of trials need not be whole; what the approximation puts below 0 (under 1.3 trials) is 0.
    """
    if trials < 1:
        raise ValueError(f"the number of trials is at least 1, not {trials}.")
    if trials == 1:
        return 0.0
    z = (1 - EULER_GAMMA) * ndtri(1 - 1 / trials) + EULER_GAMMA * ndtri(1 - 1 / (trials * math.e))
    return max(float(z), 0.0)


def expected_max_sharpe(trials: float, variance: float) -> float:
    """Sharpe ratio that the best of `trials` worthless trials is expected to show (``SR0`` of the DSR paper).

    Parameters
    ----------
    trials : float
        Number of independent trials.
    variance : float
        Variance of the Sharpe ratios (per period) across trials.
    """
    if variance < 0:
        raise ValueError(f"a variance is not negative: {variance}.")
    return math.sqrt(variance) * expected_max_z(trials)


def effective_trials(scores: npt.ArrayLike) -> float:
    """Number of independent trials that these correlated ones amount to (appendix of the DSR paper).

    ``r + (1 - r) N``, `r` the mean correlation of two different trials: seeds and checkpoints of one configuration
    are hardly new trials. Between 1 and `N`; negative mean correlation counts as none.

    Parameters
    ----------
    scores : (T, N) array-like
        P&L or return a period of each trial on the same periods. Trials that never varied correlate with nothing.

    Returns
    -------
    float
    """
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(f"scores are (T, N) with at least one trial, not {matrix.shape}.")
    trials = matrix.shape[1]
    if trials == 1:
        return 1.0
    about = matrix - matrix.mean(axis=0)
    size = np.sqrt((about**2).sum(axis=0))
    moved = np.ptp(matrix, axis=0) > 0
    unit = np.where(moved, about / np.where(moved, size, 1.0), 0.0)
    # The sum over all pairs is the squared length of the sum, less the diagonal.
    mean = (float((unit.sum(axis=1) ** 2).sum()) - float(moved.sum())) / (trials * (trials - 1))
    correlation = min(max(mean, 0.0), 1.0)
    return correlation + (1.0 - correlation) * trials


@dataclass(frozen=True)
class DeflatedSharpe:
    """PSR against the best of many worthless trials.

    Attributes
    ----------
    probability : float or None
        The deflated Sharpe ratio, ``PSR(SR0)``.
    benchmark : float
        ``SR0``, per period.
    trials : float
        The number of trials that `benchmark` supposes.
    variance : float
        Variance of the trials' Sharpe ratios that was used.
    variance_source : str
        ``"trials"`` when measured across the trials; ``"sampling"`` when it is the sampling variance of a worthless
        Sharpe ratio, ``1 / (T - 1)``.
    """

    probability: float | None
    benchmark: float
    trials: float
    variance: float
    variance_source: str


def deflated_sharpe(moments: SharpeMoments, trials: float, trial_sharpes: Sequence[float] = ()) -> DeflatedSharpe:
    """Deflate a Sharpe ratio by the number of trials that were looked at.

    Parameters
    ----------
    moments : SharpeMoments
        The selected trial.
    trials : float
        Every configuration, seed and checkpoint whose score was ever computed, this one included; or the
        `effective_trials` among them.
    trial_sharpes : sequence of float
        Their Sharpe ratios per period, as far as they have one: the paper measures their variance. Without them the
        variance is that of worthless trials of this length, which differ by chance alone.

    Returns
    -------
    DeflatedSharpe
    """
    known = np.asarray(trial_sharpes, dtype=np.float64)
    variance, source = moments.sampling_variance, "sampling"
    if len(known) >= 2:
        variance, source = float(known.var(ddof=1)), "trials"
    benchmark = expected_max_sharpe(trials, variance)
    return DeflatedSharpe(probabilistic_sharpe(moments, benchmark), benchmark, trials, variance, source)


def min_track_record(moments: SharpeMoments, benchmark: float = 0.0, alpha: float = 0.05) -> float | None:
    """Periods needed to call this Sharpe ratio above `benchmark` with confidence ``1 - alpha`` (MinTRL).

    ``1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (Phi^-1(1 - alpha) / (SR - SR*))^2``.

    Returns
    -------
    float or None
        None when the Sharpe ratio is not above the benchmark: no length would do.
    """
    if not moments.sharpe > benchmark or moments.dispersion <= 0:
        return None
    return float(1 + moments.dispersion * (ndtri(1 - alpha) / (moments.sharpe - benchmark)) ** 2)

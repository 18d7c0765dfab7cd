"""Whether the best of many candidates beats a benchmark, given that it was the best of many.

Sources: White, "A Reality Check for Data Snooping" (2000); Hansen, "A Test for Superior Predictive Ability" (2005);
Romano and Wolf, "Stepwise Multiple Testing as Formalized Data Snooping" (2005). All resample the periods in
stationary blocks, jointly for all candidates, so that what they have in common is kept.

The variants differ much where some candidates are terrible: the Reality Check lets them drown a good one, the
studentised SPA does not. (SPA of the `arch` package ignores its `studentize` switch in the statistic, hence this one.)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import optimal_block, stationary_indices

# Resampled paths that are counted at a time: bounds the memory.
CHUNK = 256
# Below this `ln ln n`, the bound of the consistent p-value, is not positive.
MIN_PERIODS = 8

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SnoopingTests:
    """P-values of "no candidate is better than the benchmark"; `K` candidates, `T` periods.

    Attributes
    ----------
    reality_check_p : float
        White: the share of resamples whose best centred mean exceeds the best mean. 0 means below ``1 / runs``.
    statistic : float
        Hansen's ``max(max_k sqrt(T) mean_k / omega_k, 0)``; without ``omega_k`` when not studentised.
    spa_lower_p, spa_consistent_p, spa_upper_p : float
        Hansen's three p-values: candidates worse than the benchmark are left out of the maximum, are so when much
        worse (the one to use), are never so. As in `arch`, resamples are held against the largest standardised mean
        even where that is below 0: against a statistic of 0 none would be larger, and losers would look significant.
    superior : tuple of int
        Candidates that StepM calls better than the benchmark, with a family-wise error of at most `size`.
    best : int
        The candidate with the largest statistic.
    studentised : bool
    size : float
    runs : int
    block_length : float
    unmoved : tuple of int
        Candidates whose excess never varied: they have no standard error and take no part.
    """

    reality_check_p: float
    statistic: float
    spa_lower_p: float
    spa_consistent_p: float
    spa_upper_p: float
    superior: tuple[int, ...]
    best: int
    studentised: bool
    size: float
    runs: int
    block_length: float
    unmoved: tuple[int, ...]


def snooping_tests(
    excess: npt.ArrayLike,
    runs: int = 10_000,
    *,
    seed: int,
    block: float | None = None,
    studentise: bool = True,
    size: float = 0.05,
) -> SnoopingTests | None:
    """Run the Reality Check, SPA and StepM on one set of resamples.

    Parameters
    ----------
    excess : (T, K) array-like
        P&L or return a period of each candidate, less that of the benchmark. Against staying flat it is the P&L.
    runs : int
        Resamples. A p-value is known to ``sqrt(p (1 - p) / runs)``.
    seed : int
        At least 0.
    block : float, optional
        Mean block length; by default the largest of the candidates' automatic ones.
    studentise : bool
        Whether SPA and StepM divide by the long-run standard deviation. The Reality Check never does.
    size : float
        Family-wise error of StepM.

    Returns
    -------
    SnoopingTests or None
        None when no candidate's excess ever varies: there is nothing to test.

    Raises
    ------
    DataError
        If the shape is wrong, there are fewer than 8 periods, or a value is not finite.
    """
    matrix = np.asarray(excess, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < MIN_PERIODS or not matrix.shape[1]:
        raise DataError(f"the test needs (T, K) values of at least {MIN_PERIODS} periods; these are {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise DataError("an excess return is not finite: mend the rollout.")
    if runs < 1:
        raise DataError(f"at least one resample is needed, not {runs}.")
    varied = np.ptp(matrix, axis=0) > 0
    moved = np.flatnonzero(varied)
    if not len(moved):
        return None
    values = matrix[:, moved]
    length = max(optimal_block(column) for column in values.T) if block is None else float(block)
    periods, root = len(values), np.sqrt(len(values))
    mean, omega = values.mean(axis=0), long_run_deviation(values, length)
    draws = resampled_means(values, runs, length, seed)
    scale = root / omega if studentise else np.full(len(moved), root)
    observed = scale * mean
    largest = float(observed.max())
    bound = -omega / root * np.sqrt(2 * np.log(np.log(periods)))
    centres = {"lower": np.maximum(mean, 0.0), "consistent": np.where(mean >= bound, mean, 0.0), "upper": mean}
    p = {name: float(((scale * (draws - centre)).max(axis=1) > largest).mean()) for name, centre in centres.items()}
    superior = _step_down(observed, scale * (draws - centres["consistent"]), size)
    return SnoopingTests(
        reality_check_p=float(((draws - mean).max(axis=1) > mean.max()).mean()),
        statistic=max(largest, 0.0),
        spa_lower_p=p["lower"],
        spa_consistent_p=p["consistent"],
        spa_upper_p=p["upper"],
        superior=tuple(int(moved[k]) for k in superior),
        best=int(moved[observed.argmax()]),
        studentised=studentise,
        size=size,
        runs=runs,
        block_length=length,
        unmoved=tuple(int(k) for k in np.flatnonzero(~varied)),
    )


def long_run_deviation(values: npt.ArrayLike, block_length: float) -> FloatArray:
    """Standard deviation of ``sqrt(T)`` times the mean under the stationary bootstrap, exactly (Hansen's omega).

    Parameters
    ----------
    values : (T, K) array-like
    block_length : float
        Mean block length.

    Returns
    -------
    (K,) float64
    """
    series = np.asarray(values, dtype=np.float64)
    periods = len(series)
    about = series - series.mean(axis=0)
    # Autocovariances by the Fourier transform; twice the length keeps the ends from meeting.
    spectrum = np.abs(np.fft.rfft(about, 2 * periods, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:periods] / periods
    lag, keep = np.arange(1, periods), 1.0 - 1.0 / block_length
    weight = (periods - lag) / periods * keep**lag + lag / periods * keep ** (periods - lag)
    variance = covariance[0] + 2 * weight @ covariance[1:]
    # It is a variance, so what is below 0 is rounding.
    return np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))


def resampled_means(values: FloatArray, runs: int, length: float, seed: int) -> FloatArray:
    """Means (runs, K) of the columns of `values` (T, K) over stationary resamples of the rows, the same for all."""
    periods = len(values)
    means = np.empty((runs, values.shape[1]))
    for begin in range(0, runs, CHUNK):
        rows = min(CHUNK, runs - begin)
        indices = stationary_indices(periods, rows, length, seed, first_path=begin)
        indices += np.arange(rows)[:, None] * periods
        counts = np.bincount(indices.ravel(), minlength=rows * periods).reshape(rows, periods)
        means[begin : begin + rows] = counts.astype(np.float64) @ values / periods
    return means


def _step_down(observed: FloatArray, draws: FloatArray, size: float) -> list[int]:
    left = np.ones(len(observed), dtype=np.bool_)
    while left.any():
        # Every rejection removes a rival, and so lowers what the others must exceed.
        critical = np.quantile(draws[:, left].max(axis=1), 1 - size)
        rejected = left & (observed > critical)
        if not rejected.any():
            break
        left &= ~rejected
    return [int(k) for k in np.flatnonzero(~left)]

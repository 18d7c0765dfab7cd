"""What a model makes beyond what holding and a moving average would have made of the same sessions (Jensen 1968).

In a strong trend the total of buy and hold is out of reach of any model that is not in the market all day, though a
model may have an edge that has nothing to do with the trend. So totals are not compared: the model's session results
are regressed on those of the baselines, and what is left a session, the intercept, is its own. Its uncertainty is that
of resampled sessions, in stationary blocks, all series together, fitted anew each time. Sell and hold is the negative
of buy and hold less its costs, and staying flat is 0: neither adds anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import optimal_block
from fx_pipeline.validation.chance import upper_bound
from fx_pipeline.validation.reality_check import MIN_PERIODS, resampled_means

FloatArray = npt.NDArray[np.float64]

# Of the baselines' variance: two that are the same share their slope instead of having none.
_RIDGE = 1e-9
# An intercept below this share of a session's result is what rounding leaves of a copy.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Alpha:
    """The intercept of a model's session results on those of baselines.

    Attributes
    ----------
    pips : float
        A session, beyond the baselines.
    slopes : tuple of float
        On each baseline.
    error_pips : float
        Standard deviation of the resampled intercepts.
    p_value : float
        Share of resampled intercepts that reach the seen one when the true one is 0.
    p_upper : float
        Its upper confidence bound, which the gate judges.
    sessions, runs : int
    block_length : float
        Mean length of a block, in sessions.
    """

    pips: float
    slopes: tuple[float, ...]
    error_pips: float
    p_value: float
    p_upper: float
    sessions: int
    runs: int
    block_length: float


def jensens_alpha(
    session_pips: npt.ArrayLike, baselines: Sequence[npt.ArrayLike], *, runs: int, seed: int
) -> Alpha | None:
    """Estimate the intercept and test whether it is above 0.

    Parameters
    ----------
    session_pips : (T,) array-like
        What the model made in each session.
    baselines : sequence of (T,) array-like
        What each baseline made, one or two of them.
    runs : int
        Resamples.
    seed : int

    Returns
    -------
    Alpha or None
        None with fewer than 8 sessions: no test can tell anything then.

    Raises
    ------
    DataError
        If the series differ in length, there are no baselines or more than two, or a value is not finite.
    """
    own = np.asarray(session_pips, dtype=np.float64)
    if not 1 <= len(baselines) <= 2:
        raise DataError(f"the regression takes one or two baselines, not {len(baselines)}.")
    series = [own, *(np.asarray(values, dtype=np.float64) for values in baselines)]
    if own.ndim != 1 or any(values.shape != own.shape for values in series):
        raise DataError(f"the regression needs one value a session: these are {[one.shape for one in series]}.")
    table = np.column_stack(series)
    if not np.isfinite(table).all():
        raise DataError("a session's result is not finite: mend the rollout.")
    sessions = len(own)
    if sessions < MIN_PERIODS:
        return None
    if len(baselines) == 1:
        table = np.column_stack((table, np.zeros(sessions)))
    # About the means: squares of whole results would cancel.
    centre = table.mean(axis=0)
    about = table - centre
    products = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    columns = np.column_stack([about, *(about[:, one] * about[:, other] for one, other in products)])
    alpha, slopes = _intercept(columns.mean(axis=0)[None], centre)
    residual = own - table[:, 1:] @ slopes[0]
    block = optimal_block(residual)
    drawn, _ = _intercept(resampled_means(columns, runs, block, seed), centre)
    seen = float(alpha[0])
    rounding = _ROUNDING * float(np.abs(table).max())
    # Under the hypothesis the intercept is 0: resampled ones scatter about the seen one as that would about 0. A tie
    # counts against the model, and rounding is a tie.
    hits = runs if seen <= rounding else int(np.count_nonzero(drawn - seen >= seen - rounding))
    return Alpha(
        pips=seen,
        slopes=tuple(float(slope) for slope in slopes[0][: len(baselines)]),
        error_pips=float(drawn.std()),
        p_value=hits / runs,
        p_upper=upper_bound(hits, runs),
        sessions=sessions,
        runs=runs,
        block_length=block,
    )


def _intercept(means: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intercepts (R,) and slopes (R, 2) from means (R, 8) of three series about `centre` (3,) and their products."""
    y, x, z, yx, yz, xx, xz, zz = means.T
    yx, yz, xz = yx - y * x, yz - y * z, xz - x * z
    xx, zz = xx - x * x, zz - z * z
    ridge = _RIDGE * (xx + zz) + np.finfo(np.float64).tiny
    xx, zz = xx + ridge, zz + ridge
    determinant = xx * zz - xz * xz
    safe = np.where(determinant > 0, determinant, 1.0)
    slope_x = np.where(determinant > 0, (yx * zz - yz * xz) / safe, 0.0)
    slope_z = np.where(determinant > 0, (yz * xx - yx * xz) / safe, 0.0)
    intercept = (y + centre[0]) - slope_x * (x + centre[1]) - slope_z * (z + centre[2])
    return intercept, np.column_stack((slope_x, slope_z))

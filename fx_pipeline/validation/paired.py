"""Challenger beside champion: the same sessions, the same costs, and a test of what lies between them.

What the two made in each session is subtracted, so that what the market did to both cancels. The differences are
resampled in stationary blocks: sessions that follow each other are alike.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import equity_paths, optimal_block
from fx_pipeline.validation.reality_check import MIN_PERIODS

#: Of the interval of the mean difference.
LEVEL = 0.95


@dataclass(frozen=True)
class PairedTest:
    """What a challenger made more than the champion, session by session.

    Attributes
    ----------
    sessions : int
        `T`.
    challenger_pips, champion_pips : float
        Totals over the sessions.
    mean_difference_pips : float
        Challenger less champion, a session.
    interval_pips : tuple of float
        Basic bootstrap interval of the mean difference at `LEVEL`.
    p_value : float
        One-sided: how often a challenger that is no better would look this much better.
    better_sessions, worse_sessions : int
        Sessions in which the challenger made more, and less.
    block_length : float
        Mean length of a block, in sessions.
    runs : int
    """

    sessions: int
    challenger_pips: float
    champion_pips: float
    mean_difference_pips: float
    interval_pips: tuple[float, float]
    p_value: float
    better_sessions: int
    worse_sessions: int
    block_length: float
    runs: int


def paired_test(
    challenger_pips: npt.ArrayLike, champion_pips: npt.ArrayLike, *, runs: int, seed: int
) -> PairedTest | None:
    """Test whether the challenger makes more than the champion.

    The p-value is ``(1 + k) / (1 + runs)``, where `k` resampled means of the centred differences reach the mean that
    was seen: under the hypothesis that the mean difference is 0, it is uniform up to the error of the bootstrap.

    Parameters
    ----------
    challenger_pips, champion_pips : (T,) array-like
        What each made in each session, after costs, in the order of the sessions.
    runs : int
        Resamples, at least 1.
    seed : int
        At least 0.

    Returns
    -------
    PairedTest or None
        None when there are fewer than 8 sessions: no test can tell anything then. Two that made the same in every
        session get a p-value of 1.

    Raises
    ------
    DataError
        If the lists do not belong to the same sessions, or a value is not finite.
    """
    challenger, champion = (np.asarray(series, dtype=np.float64) for series in (challenger_pips, champion_pips))
    if challenger.ndim != 1 or challenger.shape != champion.shape:
        raise DataError(
            f"a paired test needs both on the same sessions: these are {challenger.shape} and {champion.shape}."
        )
    differences = challenger - champion
    if not np.isfinite(differences).all():
        raise DataError("a session's result is not finite: mend the rollout.")
    sessions = len(differences)
    if sessions < MIN_PERIODS:
        return None
    mean = float(differences.mean())
    block_length = optimal_block(differences)
    centred = equity_paths(differences - mean, runs, block_length, seed).terminal_pips / sessions
    # Sums in another order differ in their last digits, and a tie counts against the challenger.
    rounding = 1e-12 * float(np.abs(differences).max())
    reached = int(np.count_nonzero(centred >= mean - rounding))
    low, high = np.quantile(centred, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return PairedTest(
        sessions=sessions,
        challenger_pips=float(challenger.sum()),
        champion_pips=float(champion.sum()),
        mean_difference_pips=mean,
        interval_pips=(mean - float(high), mean - float(low)),
        p_value=(1 + reached) / (1 + runs),
        better_sessions=int(np.count_nonzero(differences > 0)),
        worse_sessions=int(np.count_nonzero(differences < 0)),
        block_length=block_length,
        runs=runs,
    )

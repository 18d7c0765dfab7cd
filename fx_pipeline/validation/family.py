"""What the other trials of the same sessions say of this one: was it chosen by luck?

The candidates of the overfitting test are the configurations, each the mean of its seeds and checkpoints, and staying
flat. Seeds of one configuration are no choice: among equally good ones the test would call any choice overfitted. Nor
are near-duplicates, or configurations that no one would choose: they would only rank below the chosen one, and make it
look well chosen. For the same reason a choice counts as overfitted, too, where it does no better than flat on the other
half. The tests of data snooping take every trial by itself, as every one of them was looked at.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.bootstrap import optimal_block
from fx_pipeline.validation.chance import cautious_size, upper_bound
from fx_pipeline.validation.context import TrialHistory
from fx_pipeline.validation.pbo import Overfitting, overfitting_probability
from fx_pipeline.validation.reality_check import MIN_PERIODS, SnoopingTests, long_run_deviation, snooping_tests
from fx_pipeline.validation.significance import (
    DeflatedSharpe,
    SharpeMoments,
    deflated_sharpe,
    effective_trials,
    min_track_record,
    probabilistic_sharpe,
    sharpe_moments,
)
from fx_pipeline.validation.track_record import WindowTrial

FloatArray = npt.NDArray[np.float64]

MIN_TRIALS = 2
#: Session series that are correlated more than this are one configuration, tried twice.
DUPLICATE_CORRELATION = 0.99
#: Family-wise error of StepM.
SNOOPING_SIZE = 0.05
MAX_BLOCKS = 16
MIN_BLOCK_SESSIONS = 2
INTERVAL_RESAMPLES = 100


@dataclass(frozen=True)
class Significance:
    """How surely the Sharpe ratio per trade is not luck.

    Attributes
    ----------
    psr : float or None
        Probability that the true Sharpe ratio is above 0.
    deflated : DeflatedSharpe or None
        Against the best of as many worthless ones as were chosen among, which differ by chance alone.
    deflated_measured : DeflatedSharpe or None
        The same with the variance that was measured across the trials, as in the paper. It is no condition: where
        trials differ in worth, it takes their worth for luck. A few that lose would refuse every good one, and near
        copies of a lucky one would let it through.
    deflated_effective : DeflatedSharpe or None
        Against the number of independent trials that those of this window amount to.
    min_track_record_trades : float or None
    trials_counted : bool
        Whether there was a ledger.
    """

    psr: float | None
    deflated: DeflatedSharpe | None
    deflated_measured: DeflatedSharpe | None
    deflated_effective: DeflatedSharpe | None
    min_track_record_trades: float | None
    trials_counted: bool


@dataclass(frozen=True)
class Family:
    """The trials of the window together.

    Attributes
    ----------
    trials, configurations : int
        Compared session by session.
    duplicates : int
        Configurations that do nearly as another one: they count as that one.
    hopeless : int
        Configurations that are below flat by more than chance: they do not vote on overfitting.
    left_out : int
        Trials that were not judged on all of these sessions.
    absent : str
        Why there is no test of the family; empty when there is one.
    overfitting : Overfitting or None
    snooping : SnoopingTests or None
        Against staying flat.
    spa_p_upper : float or None
        Upper confidence bound of the consistent SPA p-value, which the gate judges: the p-value is a draw.
    superior : bool or None
        Whether StepM calls this very trial better than flat.
    """

    trials: int
    configurations: int
    duplicates: int
    hopeless: int
    left_out: int
    absent: str
    overfitting: Overfitting | None
    snooping: SnoopingTests | None
    spa_p_upper: float | None
    superior: bool | None


def judge_significance(pnl_pips: npt.ArrayLike, history: TrialHistory | None) -> Significance:
    """Compute PSR, deflated Sharpe ratios and the minimum track record.

    Parameters
    ----------
    pnl_pips : (N,) array-like
        P&L of each trade.
    history : TrialHistory, optional
        Without one this trial is taken for the only one.

    Returns
    -------
    Significance
        All figures None when there are fewer than two different trades.
    """
    moments: SharpeMoments | None = sharpe_moments(pnl_pips)
    if moments is None:
        return Significance(None, None, None, None, None, history is not None)
    known = history or TrialHistory(1)
    matrix = _matrix(known.window)
    independent = effective_trials(matrix) if matrix.size else None
    return Significance(
        psr=probabilistic_sharpe(moments),
        deflated=deflated_sharpe(moments, known.chosen_among),
        deflated_measured=deflated_sharpe(moments, known.chosen_among, known.sharpes),
        deflated_effective=deflated_sharpe(moments, independent) if independent else None,
        min_track_record_trades=min_track_record(moments),
        trials_counted=history is not None,
    )


def judge_family(
    trials: Sequence[WindowTrial], runs: int, seed: int, *, left_out: int = 0, counted: bool = True
) -> Family:
    """Test trials of the same sessions for overfitting and data snooping.

    Parameters
    ----------
    trials : sequence of WindowTrial
        The judged one among them.
    runs : int
        Resamples of the snooping tests.
    seed : int
    left_out : int
        Trials that cannot be compared.
    counted : bool
        Whether there was a ledger.

    Returns
    -------
    Family
    """
    names = list(dict.fromkeys(trial.configuration for trial in trials))
    nothing = Family(len(trials), len(names), 0, 0, left_out, "", None, None, None, None)
    if not counted:
        return dataclasses.replace(nothing, absent="trials are not counted: there was no ledger.")
    if len(trials) < MIN_TRIALS:
        count = "one trial" if trials else "no trial"
        return dataclasses.replace(
            nothing,
            absent=f"the ledger has {count} on these sessions: a family has at least {MIN_TRIALS}.",
        )
    matrix = _matrix(trials)
    sessions = len(matrix)
    blocks = min(MAX_BLOCKS, sessions // MIN_BLOCK_SESSIONS // 2 * 2)
    if blocks < 2 or sessions < MIN_PERIODS:
        return dataclasses.replace(
            nothing, absent=f"{sessions} sessions are too few: the tests need {MIN_PERIODS} or more."
        )
    # Copies of a series move no maximum and no rank of another: one of each is enough.
    _, first, of = np.unique(matrix, axis=1, return_index=True, return_inverse=True)
    snooping = snooping_tests(matrix[:, first], runs, seed=seed, size=cautious_size(SNOOPING_SIZE, runs))
    if snooping is None:
        return dataclasses.replace(nothing, absent="no trial of these sessions made or lost anything.")
    own = next((column for column, trial in enumerate(trials) if trial.this), None)
    chosen = trials[own].configuration if own is not None else ""
    columns = {
        name: matrix[:, [trial.configuration == name for trial in trials]].mean(axis=1, dtype=np.float64)
        for name in names
    }
    voters, duplicates, hopeless = _voters(columns, chosen)
    table = np.column_stack([*voters, np.zeros(sessions)])
    return dataclasses.replace(
        nothing,
        duplicates=duplicates,
        hopeless=hopeless,
        overfitting=overfitting_probability(
            table, blocks=blocks, resamples=INTERVAL_RESAMPLES, seed=seed, benchmark=table.shape[1] - 1
        ),
        snooping=snooping,
        spa_p_upper=upper_bound(round(snooping.spa_consistent_p * runs), runs),
        superior=own is not None and int(np.ravel(of)[own]) in snooping.superior,
    )


def _voters(columns: dict[str, FloatArray], chosen: str) -> tuple[list[FloatArray], int, int]:
    """Series of the configurations that vote on overfitting; how many are duplicates; how many are hopeless."""
    # The judged one first: what nearly equals it is a duplicate of it, and not the other way round.
    order = sorted(columns, key=lambda name: name != chosen)
    voters: list[FloatArray] = []
    duplicates = hopeless = 0
    for name in order:
        series = columns[name]
        if name != chosen and _hopeless(series):
            hopeless += 1
        elif any(near_copies(series, other, DUPLICATE_CORRELATION) for other in voters):
            duplicates += 1
        else:
            voters.append(series)
    return voters, duplicates, hopeless


def _hopeless(series: FloatArray) -> bool:
    # Hansen's bound of the candidates that the consistent SPA leaves out.
    if not np.ptp(series) > 0:
        return bool(series[0] < 0)
    error = long_run_deviation(series[:, None], optimal_block(series))[0] / np.sqrt(len(series))
    return bool(series.mean() < -error * np.sqrt(2 * np.log(np.log(len(series)))))


def near_copies(left: FloatArray, right: FloatArray, correlation: float) -> bool:
    """Whether two series (T,) are the same but for details: equal, or correlated above `correlation`."""
    if np.array_equal(left, right):
        return True
    if not (np.ptp(left) > 0 and np.ptp(right) > 0):
        return False
    about = left - left.mean(), right - right.mean()
    size = float(np.sqrt((about[0] ** 2).sum() * (about[1] ** 2).sum()))
    return size > 0 and float((about[0] * about[1]).sum()) > correlation * size


def _matrix(trials: Sequence[WindowTrial]) -> npt.NDArray[np.float64]:
    if not trials:
        return np.zeros((0, 0))
    return np.column_stack([trial.session_pnl_pips for trial in trials])

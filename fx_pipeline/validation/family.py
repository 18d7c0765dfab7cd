"""What the other trials of a window say of this one: was it chosen by luck, and does another seed do as well?

The candidates of the overfitting test are the configurations, each the mean of its seeds and checkpoints, and staying
flat. Seeds of one configuration are no choice: among equally good ones the test would call any choice overfitted. The
tests of data snooping take every trial by itself, as every one of them was looked at.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.context import TrialHistory, WindowTrial
from fx_pipeline.validation.pbo import Overfitting, overfitting_probability
from fx_pipeline.validation.reality_check import MIN_PERIODS, SnoopingTests, snooping_tests
from fx_pipeline.validation.significance import (
    DeflatedSharpe,
    SharpeMoments,
    deflated_sharpe,
    effective_trials,
    min_track_record,
    probabilistic_sharpe,
    sharpe_moments,
)

MIN_TRIALS = 2
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
        Against the best of as many worthless trials as the ledger counts, which differ by chance alone.
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
    left_out : int
        Trials of the window on other sessions, costs or data, by other code, or without a series.
    absent : str
        Why there is no test of the family; empty when there is one.
    overfitting : Overfitting or None
    snooping : SnoopingTests or None
        Against staying flat.
    superior : bool or None
        Whether StepM calls this very trial better than flat.
    """

    trials: int
    configurations: int
    left_out: int
    absent: str
    overfitting: Overfitting | None
    snooping: SnoopingTests | None
    superior: bool | None


@dataclass(frozen=True)
class Seeds:
    """The seeds of this trial's configuration.

    Attributes
    ----------
    count : int
    total_pips : dict of int to float
        Seed -> total on the sessions; the worst where a seed has several checkpoints.
    worst_pips, mean_pips, spread_pips : float or None
        The worst total, their mean and standard deviation (ddof 1).
    left_out : tuple of int
        Seeds that were judged in this window at other costs, on other data or by other code only: what they would have
        made here is not known.
    """

    count: int
    total_pips: dict[int, float]
    worst_pips: float | None
    mean_pips: float | None
    spread_pips: float | None
    left_out: tuple[int, ...]


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
        deflated=deflated_sharpe(moments, known.count),
        deflated_measured=deflated_sharpe(moments, known.count, known.sharpes),
        deflated_effective=deflated_sharpe(moments, independent) if independent else None,
        min_track_record_trades=min_track_record(moments),
        trials_counted=history is not None,
    )


def judge_family(history: TrialHistory | None, runs: int, seed: int) -> Family:
    """Test the trials of the window for overfitting and data snooping.

    Parameters
    ----------
    history : TrialHistory, optional
    runs : int
        Resamples of the snooping tests.
    seed : int

    Returns
    -------
    Family
    """
    trials = history.window if history else ()
    left_out = history.left_out if history else 0
    names = list(dict.fromkeys(trial.configuration for trial in trials))
    nothing = Family(len(trials), len(names), left_out, "", None, None, None)
    if history is None:
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
    columns = [
        matrix[:, [trial.configuration == name for trial in trials]].mean(axis=1, dtype=np.float64) for name in names
    ]
    flat = np.zeros(sessions)
    overfitting = overfitting_probability(
        np.column_stack([*columns, flat]), blocks=blocks, resamples=INTERVAL_RESAMPLES, seed=seed
    )
    snooping = snooping_tests(matrix, runs, seed=seed)
    own = next((column for column, trial in enumerate(trials) if trial.this), None)
    return dataclasses.replace(
        nothing,
        absent="" if snooping else "no trial of the window made or lost anything.",
        overfitting=overfitting if snooping else None,
        snooping=snooping,
        superior=own in snooping.superior if snooping else None,
    )


def judge_seeds(history: TrialHistory | None) -> Seeds:
    """Gather the seeds of the configuration that is validated."""
    trials = history.window if history else ()
    own = next((trial.configuration for trial in trials if trial.this), None)
    totals: dict[int, float] = {}
    for trial in trials:
        if trial.configuration == own:
            total = float(trial.session_pnl_pips.sum())
            totals[trial.seed] = min(total, totals.get(trial.seed, total))
    values = np.array(list(totals.values()))
    return Seeds(
        count=len(totals),
        total_pips=dict(sorted(totals.items())),
        worst_pips=float(values.min()) if len(values) else None,
        mean_pips=float(values.mean()) if len(values) else None,
        spread_pips=float(values.std(ddof=1)) if len(values) > 1 else None,
        left_out=history.seeds_left_out if history else (),
    )


def _matrix(trials: tuple[WindowTrial, ...]) -> npt.NDArray[np.float64]:
    if not trials:
        return np.zeros((0, 0))
    return np.column_stack([trial.session_pnl_pips for trial in trials])

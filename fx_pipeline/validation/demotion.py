"""When a champion's edge is gone: a sequential test over the sessions that came after its record.

Two hypotheses are weighed, session by session: the champion earns what its record promises, or its decisions have
become those of a trader who knows nothing, who loses what the turnover costs. Their log-likelihood ratio is summed and
never falls below 0 (CUSUM: Page, "Continuous inspection schemes", 1954; optimal by Moustakides, 1986), so good times
are not credited against bad ones, and the champion goes when the sum reaches a threshold.

A record that made a champion flatters it. The promise is therefore not its mean but the lower confidence limit of the
mean after stopping at the boundary (`sequential.drift_limit`): four in five champions are better than promised. Two
bounds keep short records from promising nothing, or the sky: what the gate is made for, a t of 3 a year (or what the
record says, if that is less), and one of 5.
The threshold is set by resampling the record's own sessions in blocks about the promise, so that their dependence and
their tails count. Level, bounds and chance were chosen together, by the largest share of vanished edges that is found
within three windows while nine in ten good champions are left a year later (docs/validation.md has what is measured).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.bootstrap import equity_paths, optimal_block, stationary_indices
from fx_pipeline.validation.metrics import as_pnl
from fx_pipeline.validation.sequential import drift_limit, spending_boundary

FloatArray = npt.NDArray[np.float64]

#: Confidence that the champion is better than its promise.
LEVEL = 0.8
#: Annual t, between which the promise lies.
LEAST_T, MOST_T = 3.0, 5.0
#: Share of its windows in which a champion that keeps its promise is demoted by the sum, and by its drawdown: together
#: below the one in a hundred of docs/validation.md.
CHANCE, DRAWDOWN_PERCENTILE = 0.007, 99.9
#: Two years of windows; the sum starts at 0, and later windows are more dangerous than the first ones.
WINDOWS = 26
RUNS = 10_000
#: Resampled champions of the threshold; a share of 0.007 over 26 windows each is known to a twentieth of itself.
CHAMPIONS = 4_000


@dataclass(frozen=True)
class Promise:
    """What a champion's record promises a session.

    Attributes
    ----------
    good_pips : float
        Lower confidence limit of the mean: the promise less the error of the list that promises; within `LEAST_T` and
        `MOST_T`.
    middle_pips : float
        Median-unbiased estimate of the mean: the promise without the winner's curse.
    gone_pips : float
        Mean once the edge is gone: minus the cost of the turnover.
    sd_pips : float
        Standard deviation of a session; where sessions depend on each other, that of their sum over the root of their
        number.
    """

    good_pips: float
    middle_pips: float
    gone_pips: float
    sd_pips: float


def promise_of(
    session_pips: npt.ArrayLike,
    cost_pips: float,
    fractions: npt.ArrayLike,
    *,
    deflation: float = 0.0,
    level: float = LEVEL,
    seed: int,
) -> Promise:
    """Read the promise from the record that made a champion.

    Parameters
    ----------
    session_pips : (S,) array-like
        Net result of each session of the record, in order; sessions without a trade are 0.
    cost_pips : float
        Cost of the turnover, a session on average; at least 0.
    fractions : (K,) array-like
        Information fractions of the looks at the record, as the gate used them.
    deflation : float
        Z that was asked for on top of the boundary, for the number of trials.
    level : float
        Confidence of `good_pips`.
    seed : int

    Returns
    -------
    Promise

    Raises
    ------
    ValueError
        If the record has fewer than two sessions or none differs, a cost is negative, or nothing is promised: the
        limit is not above what a trader without an edge would make.
    """
    pips = as_pnl(session_pips)
    if len(pips) < 2 or float(np.ptp(pips)) == 0.0:
        raise ValueError(f"{len(pips)} sessions that do not differ promise nothing.")
    if not (math.isfinite(cost_pips) and cost_pips >= 0.0):
        raise ValueError(f"the cost of a session is at least 0 pips, not {cost_pips}.")
    sd = _long_run_sd(pips, seed)
    times = np.atleast_1d(np.asarray(fractions, dtype=np.float64))
    bounds = spending_boundary(times) + deflation
    root = math.sqrt(len(pips))
    seen = np.maximum((len(pips) * times / times[-1]).round().astype(np.int64), 1)
    on_the_way = pips.cumsum()[seen - 1] / (sd * np.sqrt(seen))
    z = float(on_the_way[-1])
    # A look at which it was above the boundary and was not promoted stopped nothing, for whatever reason.
    bounds[:-1][on_the_way[:-1] >= bounds[:-1]] = np.inf
    # Drift is the z at fraction 1; the record is `times[-1]` of that, in `len(pips)` sessions.
    unit = sd * math.sqrt(times[-1]) / root
    limit, middle = (drift_limit(times, bounds, z, confidence) for confidence in (level, 0.5))
    if not limit * unit > -cost_pips:
        raise ValueError(
            f"the record promises nothing: its limit is {limit * unit:.3f} pips a session, and {-cost_pips:.3f} is to "
            "be had without an edge."
        )
    # More than the record itself says is promised by nobody.
    good = max(limit, min(LEAST_T, middle))
    return Promise(min(good, MOST_T) * unit, middle * unit, -cost_pips, sd)


def _long_run_sd(pips: FloatArray, seed: int) -> float:
    # Sessions that repel each other do not make a champion's future surer than independent ones would.
    block = optimal_block(pips)
    alone = float(pips.std(ddof=1))
    if block == 1.0:
        return alone
    total = equity_paths(pips, RUNS, block, seed).terminal_pips
    return max(float(total.std()) / math.sqrt(len(pips)), alone)


def demotion_statistic(windows: Sequence[npt.ArrayLike], promise: Promise) -> FloatArray:
    """Return the (W,) sums of evidence that the edge is gone, after each window.

    Parameters
    ----------
    windows : sequence of (n,) array-like
        Net result of each session of each window after the record, oldest first; at the costs of the promise.
    promise : Promise
    """
    total, found = 0.0, []
    for window in windows:
        total = max(0.0, total + float(_evidence(as_pnl(window), promise).sum()))
        found.append(total)
    return np.asarray(found, dtype=np.float64)


def _evidence(pips: FloatArray, promise: Promise) -> FloatArray:
    """Log of the likelihood of each session when the edge is gone over that when the promise is kept."""
    distance = promise.good_pips - promise.gone_pips
    return distance / promise.sd_pips**2 * ((promise.good_pips + promise.gone_pips) / 2.0 - pips)


def demotion_threshold(
    promise: Promise,
    session_pips: npt.ArrayLike,
    sessions: int,
    *,
    seed: int,
    chance: float = CHANCE,
    windows: int = WINDOWS,
    champions: int = CHAMPIONS,
) -> float:
    """Return the sum at which a champion that keeps its promise is demoted in `chance` of the windows that it lives.

    Parameters
    ----------
    promise : Promise
    session_pips : (S,) array-like
        Of the record; resampled in blocks, about the promise.
    sessions : int
        In a window.
    seed : int
        At least 0.
    chance : float
        Demotions over windows lived.
    windows : int
        That a champion lives at most.
    champions : int
        Resampled ones.

    Returns
    -------
    float
        A champion is demoted where `demotion_statistic` is at or above it.
    """
    if sessions < 1 or not 0.0 < chance < 1.0:
        raise ValueError(f"a threshold needs sessions and a chance in (0, 1), not {sessions} and {chance}.")
    pips = as_pnl(session_pips)
    evidence = _evidence(pips - pips.mean() + promise.good_pips, promise)
    total, highest = np.zeros(champions), np.zeros((champions, windows))
    rows = stationary_indices(len(pips), champions, optimal_block(pips), seed, steps=sessions * windows)
    for window in range(windows):
        part = rows[:, window * sessions : (window + 1) * sessions]
        total = np.maximum(total + evidence[part].sum(axis=1), 0.0)
        highest[:, window] = np.maximum(total, highest[:, max(window - 1, 0)])
    return _crossing(highest, chance)


def _crossing(highest: FloatArray, chance: float) -> float:
    """The lowest of the (C, W) running maxima that is reached in at most a `chance` of the windows lived."""
    candidates = np.sort(highest[:, -1])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        crossed = highest >= candidates[middle]
        gone = crossed[:, -1]
        lived = np.where(gone, crossed.argmax(axis=1) + 1, highest.shape[1]).sum()
        if candidates[middle] > 0.0 and gone.sum() / lived <= chance:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


@dataclass(frozen=True)
class SessionShapes:
    """How the equity moved within each of S sessions, bar by bar, from 0 at its start.

    Attributes
    ----------
    total, lowest, highest, fall : (S,) float64
        Where it ended; its lowest and highest point, 0 included; the largest fall from a peak.
    """

    total: FloatArray
    lowest: FloatArray
    highest: FloatArray
    fall: FloatArray

    @classmethod
    def of_totals(cls, session_pips: npt.ArrayLike) -> "SessionShapes":
        """Sessions of which only the result is known: they go there in one step."""
        total = as_pnl(session_pips)
        lowest, highest = np.minimum(total, 0.0), np.maximum(total, 0.0)
        return cls(total, lowest, highest, -lowest)

    @classmethod
    def of_bars(cls, bar_pips: npt.ArrayLike) -> "SessionShapes":
        """From the (S, B) change of the equity, marked to market, on each bar."""
        path = np.asarray(bar_pips, dtype=np.float64).cumsum(axis=1)
        path = np.concatenate([np.zeros((len(path), 1)), path], axis=1)
        fall = (np.maximum.accumulate(path, axis=1) - path).max(axis=1)
        return cls(path[:, -1], path.min(axis=1), path.max(axis=1), fall)

    def deepest(self) -> float:
        """Largest fall over all sessions, one after the other; 0 without any."""
        order = np.arange(len(self.total))[None]
        return float(_falls(self, order, np.zeros(1))[0])


def drawdown_limit(
    shapes: SessionShapes,
    promise: Promise,
    sessions: int,
    *,
    seed: int,
    percentile: float = DRAWDOWN_PERCENTILE,
    runs: int = RUNS,
) -> float | None:
    """Return the percentile of the largest drawdown over histories of `sessions` sessions of a good champion.

    A double bootstrap: each history is resampled from the record about a mean of its own, which a resampled record
    gives, about the promise, so that a flattering record makes no drawdown too deep. Sessions
    are resampled in blocks and one by one, and the deeper figure is taken: losses that happened to be followed by gains
    make the drawdowns of blocks small.

    Parameters
    ----------
    shapes : SessionShapes
        Of the record, in order.
    promise : Promise
    sessions : int
        Length of a history: what the drawdown is compared with must not be longer.
    seed : int
    percentile : float
    runs : int

    Returns
    -------
    float or None
        Pips; None when either is empty.
    """
    known = len(shapes.total)
    if not known or sessions < 1:
        return None
    limits, centre = [], min(promise.good_pips, promise.middle_pips)
    for block in {optimal_block(shapes.total), 1.0}:
        records = stationary_indices(known, runs, block, seed)
        means = shapes.total[records].mean(axis=1) - shapes.total.mean() + centre
        order = stationary_indices(known, runs, block, seed, steps=sessions, first_path=runs)
        limits.append(float(np.percentile(_falls(shapes, order, means - shapes.total.mean()), percentile)))
    return max(limits)


def _falls(shapes: SessionShapes, order: npt.NDArray[np.int64], shift: FloatArray) -> FloatArray:
    """Largest fall of each of R histories of M sessions, whose results are shifted by `shift` (R,) at their ends."""
    equity, peak, worst = (np.zeros(len(order)) for _ in range(3))
    for rows in order.T:
        worst = np.maximum(worst, np.maximum(peak - equity - shapes.lowest[rows], shapes.fall[rows]))
        peak = np.maximum(peak, equity + shapes.highest[rows])
        equity = equity + shapes.total[rows] + shift
        worst, peak = np.maximum(worst, peak - equity), np.maximum(peak, equity)
    return worst

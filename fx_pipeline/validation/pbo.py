"""Probability of backtest overfitting by combinatorially symmetric cross-validation.

Source: Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest Overfitting" (2017). The history is cut
into `S` blocks; each half of them is once the part on which the best candidate is chosen, and the other half tells
how that choice ranks. Where choosing means anything, the chosen one ranks high on the other half too.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.validation.bootstrap import optimal_block, stationary_indices

# Splits that are scored at a time: bounds the memory.
CHUNK = 2_048
# A variance below this share of the mean square is rounding: the half did not move.
NO_VARIANCE = 1e-14

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Overfitting:
    """How often the best candidate of one half is in the lower half of the other.

    Attributes
    ----------
    probability : float
        PBO: the share of splits with a logit <= 0. 0.5 is what choosing among worthless candidates gives on average,
        though a single history can show anything from 0.3 to 0.7.
    mean_logit : float
        Mean of ``ln(w / (1 - w))``, `w` the relative rank of the chosen candidate on the other half.
    splits, blocks, candidates : int
        ``C(S, S / 2)``, `S` and `N`.
    interval : tuple of float or None
        95 % bootstrap interval of `probability`; None when it was not asked for.
    """

    probability: float
    mean_logit: float
    splits: int
    blocks: int
    candidates: int
    interval: tuple[float, float] | None


def overfitting_probability(
    scores: npt.ArrayLike,
    *,
    blocks: int = 16,
    resamples: int = 0,
    seed: int = 0,
    block_length: float | None = None,
    benchmark: int | None = None,
) -> Overfitting:
    """Estimate the probability of backtest overfitting of a family of candidates.

    Parameters
    ----------
    scores : (T, N) array-like
        P&L or return a period (session, day) of each candidate on the same periods. A remainder of ``T`` over
        `blocks` is left off the end.
    blocks : int
        `S`, even.
    resamples : int
        Bootstrap resamples for the interval; 0 for none. Periods are resampled within their block, so that no period
        comes to lie on both halves of a split, which would pass for skill.
    seed : int
        Of the resamples.
    block_length : float, optional
        Mean block of the resamples; by default the mean of the automatic lengths.
    benchmark : int, optional
        A candidate that the chosen one has to beat on the other half, too: a split in which it does not counts as
        overfitted however many losers rank below both. Without it the rank alone counts, as in the paper.

    Returns
    -------
    Overfitting

    Raises
    ------
    DataError
        If there are fewer than 2 candidates or fewer than 2 periods a block, `blocks` is odd, or a score is not finite.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise DataError(f"overfitting is a matter of at least 2 candidates, (T, N); these scores are {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise DataError("a score is not finite: mend the rollout.")
    if blocks < 2 or blocks % 2:
        raise DataError(f"the number of blocks is even and at least 2, not {blocks}.")
    height = len(matrix) // blocks
    if height < 2:
        raise DataError(f"{len(matrix)} periods are too few for {blocks} blocks of at least 2: use fewer blocks.")
    halves = np.array([np.isin(np.arange(blocks), half) for half in combinations(range(blocks), blocks // 2)], float)
    parts = matrix[: height * blocks].reshape(blocks, height, -1)
    logits = _logits(parts, halves, benchmark)
    interval = None
    if resamples:
        length = (
            float(np.mean([optimal_block(column) for column in matrix.T])) if block_length is None else block_length
        )
        rows = stationary_indices(height, resamples * blocks, min(length, height), seed).reshape(resamples, blocks, -1)
        draws = [(_logits(parts[np.arange(blocks)[:, None], draw], halves, benchmark) <= 0).mean() for draw in rows]
        low, high = np.percentile(draws, (2.5, 97.5))
        interval = (float(low), float(high))
    return Overfitting(
        probability=float((logits <= 0).mean()),
        mean_logit=float(logits.mean()),
        splits=len(halves),
        blocks=blocks,
        candidates=matrix.shape[1],
        interval=interval,
    )


def _logits(parts: FloatArray, halves: FloatArray, benchmark: int | None) -> FloatArray:
    # Sums about the overall mean: sums of squares about 0 would cancel.
    mean = parts.mean(axis=(0, 1))
    about = parts - mean
    sums, squares = about.sum(axis=1), (about**2).sum(axis=1)
    count = parts.shape[1] * parts.shape[0] // 2
    found = []
    for begin in range(0, len(halves), CHUNK):
        inside = halves[begin : begin + CHUNK]
        chosen = _sharpe(inside @ sums, inside @ squares, mean, count).argmax(axis=1)
        outside = _sharpe((1 - inside) @ sums, (1 - inside) @ squares, mean, count)
        own = np.take_along_axis(outside, chosen[:, None], axis=1)
        # Ties share their ranks.
        rank = (outside < own).sum(axis=1) + ((outside == own).sum(axis=1) + 1) / 2
        logit = np.log(rank / (outside.shape[1] + 1 - rank))
        if benchmark is not None:
            logit = np.where(own[:, 0] > outside[:, benchmark], logit, np.minimum(logit, 0.0))
        found.append(logit)
    return np.concatenate(found)


def _sharpe(sums: FloatArray, squares: FloatArray, mean: FloatArray, count: int) -> FloatArray:
    variance = (squares - sums**2 / count) / (count - 1)
    average = mean + sums / count
    moved = variance > NO_VARIANCE * (average**2 + squares / count)
    # A candidate that did not vary on a half, one that never traded say, is neither good nor bad there.
    return np.where(moved, average / np.sqrt(np.where(moved, variance, 1.0)), 0.0)

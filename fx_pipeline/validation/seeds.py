"""The seeds of a configuration: do other trainings, that differ in chance alone, do as well?

A seed is only a number. What counts is a training of its own: other weights, and other trades. Seeds that share
weights, or whose sessions are the same but for a few in as many trades, are one. The bound is above what trainings that
end near the same good rule show: rules on a market that returns to its mean whose thresholds differ by 2 % are
correlated up to 0.9994. Who changes weights until their trades differ has made a model of its own, which must not lose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fx_pipeline.validation.family import near_copies
from fx_pipeline.validation.track_record import SeedRecord

#: Of the session results of two seeds with the same number of trades: above it they are one model under two numbers.
COPY_CORRELATION = 0.9999


@dataclass(frozen=True)
class Seeds:
    """The seeds of the judged configuration, on the sessions of its record.

    Attributes
    ----------
    count : int
        Different ones that were scored on the newest window: copies count once.
    total_pips : dict of int to float
        Seed -> total on the sessions; the worst where a seed has several checkpoints.
    trades : dict of int to (int or None)
        Seed -> trades on the sessions; None where they are not known.
    copies : tuple of tuple of int
        Groups of seeds that are one and the same model.
    worst_pips, mean_pips, spread_pips : float or None
        The worst total, their mean and standard deviation (ddof 1).
    left_out : tuple of int
        Seeds that were judged in the newest window at other costs, on other data or by other code only: what they would
        have made here is not known.
    """

    count: int
    total_pips: dict[int, float]
    trades: dict[int, int | None]
    copies: tuple[tuple[int, ...], ...]
    worst_pips: float | None
    mean_pips: float | None
    spread_pips: float | None
    left_out: tuple[int, ...]


def judge_seeds(seeds: Sequence[SeedRecord], left_out: Sequence[int] = ()) -> Seeds:
    """Gather the seeds of a record, and tell which of them are the same.

    Parameters
    ----------
    seeds : sequence of SeedRecord
    left_out : sequence of int
        Seeds of which nothing comparable is known.
    """
    newest = [seed for seed in seeds if seed.newest]
    groups: list[list[SeedRecord]] = []
    for seed in newest:
        alike = [group for group in groups if any(_same(seed, other) for other in group)]
        merged = [seed, *(one for group in alike for one in group)]
        groups = [group for group in groups if group not in alike] + [merged]
    totals = {seed.seed: seed.total_pips for seed in seeds}
    values = np.array(list(totals.values()))
    return Seeds(
        count=len(groups),
        total_pips=dict(sorted(totals.items())),
        trades={seed.seed: seed.trades for seed in sorted(seeds, key=lambda one: one.seed)},
        copies=tuple(sorted(tuple(sorted(one.seed for one in group)) for group in groups if len(group) > 1)),
        worst_pips=float(values.min()) if len(values) else None,
        mean_pips=float(values.mean()) if len(values) else None,
        spread_pips=float(values.std(ddof=1)) if len(values) > 1 else None,
        left_out=tuple(left_out),
    )


def _same(left: SeedRecord, right: SeedRecord) -> bool:
    if set(left.checkpoints) & set(right.checkpoints):
        return True
    both = ~np.isnan(left.session_pnl_pips) & ~np.isnan(right.session_pnl_pips)
    if left.trades is None or left.trades != right.trades or not both.any():
        return False
    return near_copies(left.session_pnl_pips[both], right.session_pnl_pips[both], COPY_CORRELATION)

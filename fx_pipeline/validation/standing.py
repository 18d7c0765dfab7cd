"""How a champion stands on days that came after its promotion: a fresh score out of sample, on the present costs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.bootstrap import equity_paths, optimal_block
from fx_pipeline.validation.conditions import (
    accounting_agrees,
    better_than_baselines,
    better_than_flat,
    better_than_random,
    broker_agrees,
    disjoint_sessions,
    no_leak,
    positive_expectancy,
)
from fx_pipeline.validation.gate import GateConfig, Rule, judge

#: What a model is asked on days that it was not chosen by: nothing of its family, its seeds, or the length of a record.
STANDING_CONDITIONS: tuple[Rule, ...] = (
    positive_expectancy,
    better_than_flat,
    better_than_baselines,
    better_than_random,
)
#: Without these the replay itself is wrong, and says nothing of the model.
SOUND_CONDITIONS: tuple[Rule, ...] = (accounting_agrees, broker_agrees, no_leak, disjoint_sessions)


def judge_standing(
    report: Mapping[str, Any],
    window: str,
    promoted_on_pips: npt.ArrayLike,
    *,
    gate: GateConfig,
    percentile: float,
    runs: int,
    seed: int,
) -> dict[str, Any]:
    """Judge the replay of a champion on a newer window.

    Parameters
    ----------
    report : Mapping
        Validation report of the champion on the sessions of that window.
    window : str
    promoted_on_pips : (N,) array-like
        Results of the trades that it was promoted for, in order.
    gate : GateConfig
    percentile : float
        Of the drawdowns that as many of those trades allow: beyond it is more than bad luck.
    runs : int
        Resampled histories.
    seed : int

    Returns
    -------
    dict
        JSON-able: `window`, `sha256`, `costs`, `source` (of the candles), `sound` (whether the replay can be trusted),
        `passed`, `reasons`, `conditions`, `sessions`, `trades`, `expectancy_pips`, `total_pips`, `max_drawdown_pips`
        and `drawdown_limit_pips`, which is None where there are no trades to resample or to compare with.
    """
    figures = report["figures"]
    verdict = judge(figures, gate, STANDING_CONDITIONS)
    trades = int(figures["trades"])
    return {
        "window": window,
        "sha256": report["lineage"]["checkpoint_sha256"],
        "costs": dict(report["lineage"]["costs"]),
        "source": report["lineage"]["source"],
        "sound": judge(figures, gate, SOUND_CONDITIONS).promoted,
        "passed": verdict.promoted,
        "reasons": list(verdict.reasons),
        "conditions": [asdict(condition) for condition in verdict.conditions],
        "sessions": int(figures["sessions"]),
        "trades": trades,
        "expectancy_pips": figures["expectancy_pips"],
        "total_pips": float(figures["total_pips"]),
        "max_drawdown_pips": float(figures["metrics"]["max_drawdown_pips"] or 0.0),
        "drawdown_limit_pips": drawdown_limit(promoted_on_pips, trades, percentile, runs=runs, seed=seed),
    }


def drawdown_limit(
    promoted_on_pips: npt.ArrayLike, trades: int, percentile: float, *, runs: int, seed: int
) -> float | None:
    """Return the percentile of the largest drawdown over histories of `trades` trades.

    They are resampled in blocks and one by one, and the larger figure is taken: losses that happened to be followed by
    gains make the drawdowns of blocks small, and a model is not demoted for having been lucky in the order.

    Parameters
    ----------
    promoted_on_pips : (N,) array-like
    trades : int
        Length of a history.
    percentile : float
    runs, seed : int

    Returns
    -------
    float or None
        Pips; None when either list is empty.
    """
    known = np.asarray(promoted_on_pips, dtype=np.float64)
    if not len(known) or not trades:
        return None
    limits = [
        float(np.percentile(equity_paths(known, runs, block, seed, steps=trades).max_drawdown_pips, percentile))
        for block in (optimal_block(known), 1.0)
    ]
    return max(limits)

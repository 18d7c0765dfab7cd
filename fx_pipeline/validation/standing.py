"""How a champion stands on days that came after its promotion: its replay there, or why there is none."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.validation.champion import Champion, Standing
from fx_pipeline.validation.conditions import accounting_agrees, broker_agrees, disjoint_sessions, no_leak
from fx_pipeline.validation.gate import GateConfig, Rule, judge
from fx_pipeline.validation.tenure import shapes_of_trades

#: Without these the replay itself is wrong, and says nothing of the model.
SOUND_CONDITIONS: tuple[Rule, ...] = (accounting_agrees, broker_agrees, no_leak, disjoint_sessions)


def judge_standing(
    report: Mapping[str, Any],
    window: str,
    session_ns: npt.NDArray[np.int64],
    span: tuple[int, int],
    gate: GateConfig,
) -> Standing:
    """Reduce the replay of a champion on a newer window to what its tenure is judged by.

    Parameters
    ----------
    report : Mapping
        Validation report of the champion on the sessions of that window, at its own costs.
    window : str
    session_ns : (S,) int64
        First bar of each session.
    span : tuple of int
        Of the bars that were judged, UTC nanoseconds, end exclusive.
    gate : GateConfig

    Returns
    -------
    Standing
    """
    figures = report["figures"]
    verdict = judge(figures, gate, SOUND_CONDITIONS)
    trades = figures["trade_list"]
    shapes = shapes_of_trades(
        len(session_ns),
        trades["session"],
        trades["pnl_pips"],
        trades["max_drawdown_pips"],
        trades["peak_pips"],
        trades.get("low_pips"),
    )
    counts = np.bincount(np.asarray(trades["session"], dtype=np.int64), minlength=len(session_ns))
    return Standing(
        window=window,
        weights_sha256=report["lineage"]["checkpoint_sha256"],
        costs=dict(report["lineage"]["costs"]),
        source=report["lineage"]["source"],
        sound=verdict.promoted,
        reasons=[] if verdict.promoted else list(verdict.reasons),
        conditions=[asdict(condition) for condition in verdict.conditions],
        valid_start_ns=span[0],
        valid_end_ns=span[1],
        session_ns=np.asarray(session_ns, dtype=np.int64).tolist(),
        session_pnl_pips=shapes.total.tolist(),
        session_trades=counts.tolist(),
        session_lowest_pips=shapes.lowest.tolist(),
        session_highest_pips=shapes.highest.tolist(),
        session_fall_pips=shapes.fall.tolist(),
        sessions=len(session_ns),
        trades=len(trades["pnl_pips"]),
        expectancy_pips=figures["expectancy_pips"],
        total_pips=float(shapes.total.sum()),
        max_drawdown_pips=shapes.deepest(),
    )


def unjudged_standing(champion: Champion, window: str, source: str, span: tuple[int, int], reason: str) -> Standing:
    """Return the standing of a champion on a window on which others were validated, and it could not be.

    Parameters
    ----------
    champion : Champion
    window : str
    source : str
        Of the candles of the window.
    span : tuple of int
        As in `judge_standing`.
    reason : str
        A sentence.
    """
    return Standing(
        window=window,
        weights_sha256=champion.weights_sha256,
        costs=dict(champion.costs),
        source=source,
        sound=False,
        reasons=[reason],
        conditions=[],
        valid_start_ns=span[0],
        valid_end_ns=span[1],
        session_ns=[],
        session_pnl_pips=[],
        session_trades=[],
        sessions=0,
        trades=0,
        expectancy_pips=None,
        total_pips=0.0,
        max_drawdown_pips=0.0,
    )

"""From rows of the ledger to a verdict, by the product's own functions; only the rollout is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.gate_world import STEP_NS, STEPS, Attempt, Market, window_key
from fx_pipeline.lifecycle.track_records import walk_forward_record
from fx_pipeline.lifecycle.trials import trial_history
from fx_pipeline.market.years import covered_years
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.chance import MIN_RUNS, judge_seed
from fx_pipeline.validation.conditions import CONDITIONS
from fx_pipeline.validation.context import TrialHistory
from fx_pipeline.validation.gate import GateConfig, judge
from fx_pipeline.validation.record_figures import _sequential, judge_record, simulated
from fx_pipeline.validation.risk import Risk, size_trades
from fx_pipeline.validation.selection import deflated
from fx_pipeline.validation.track_record import Planned, TrackRecord


@dataclass(frozen=True)
class Judgement:
    """What the gate said of an attempt.

    Attributes
    ----------
    promoted : bool
    failed : tuple of str
        Conditions that did; nothing else is asked where the deflated Sharpe ratio alone refuses already.
    z, deflated_z : float
        Of the record.
    record : TrackRecord
    history : TrialHistory
    """

    promoted: bool
    failed: tuple[str, ...]
    z: float
    deflated_z: float
    record: TrackRecord
    history: TrialHistory


def planned(market: Market) -> list[Planned]:
    """The walk-forward plan."""
    last = STEPS * STEP_NS
    return [
        Planned(window_key(window), int(days[0]), int(days[-1]) + last) for window, days in enumerate(market.session_ns)
    ]


def hand_in(ledger: Ledger, market: Market, attempt: Attempt, faults: Sequence[str] = ()) -> Judgement:
    """Record an attempt as one that a report is made on, and judge it at the defaults."""
    trial = attempt.trial(market)
    ledger.record(trial, judged=True)
    history = trial_history(ledger, trial, faults)
    record = walk_forward_record(ledger, trial, planned(market))
    if record is None:
        raise ValueError("an attempt on a window has a record.")
    # One condition that fails rejects: what takes no resampling is asked first.
    first = {"days": record.days, "trials": history.chosen_among, **_sequential(record, history)}
    z, deflated_z = first["z"] or 0.0, first["deflated_z"] or 0.0
    if not deflated({"record": first}, GateConfig()).passed:
        return Judgement(False, ("deflated_sharpe",), z, deflated_z, record, history)
    verdict = judge(_facts(record, history, trial.instrument, trial.data_fingerprint), GateConfig(), CONDITIONS)
    failed = tuple(one.name for one in verdict.conditions if not one.passed)
    return Judgement(verdict.promoted, failed, z, deflated_z, record, history)


def _facts(record: TrackRecord, history: TrialHistory, instrument: str, fingerprint: str) -> dict[str, Any]:
    newest = record.windows[-1].evidence
    # Of a record of one window the sizing is that of its report.
    years = covered_years(instrument, record.spans)
    moved = record.excursions.scaled(record.trade_values)
    seed = judge_seed(fingerprint, "risk")
    alone = len(record.windows) == 1
    sized = size_trades(record.trade_returns, years, moved, runs=MIN_RUNS, seed=seed) if alone else None
    simulations = simulated(record.pnl_pips, record.session_pnl_pips, MIN_RUNS, fingerprint) if alone else None
    risk = cast("Risk", SimpleNamespace(years=years, safe_f=sized))
    judged = judge_record(
        record, history, risk, simulations, instrument=instrument, fingerprint=fingerprint, runs=MIN_RUNS
    )
    trades = len(newest.trade_pnl_pips)
    return {
        "record": judged.facts,
        # What a simulated rollout cannot have wrong.
        "parity_error_pips": 0.0,
        "parity": {"differing": 0, "replayed": trades, "trades": trades, "left_out": 0},
        "leaks_searched": ["benchmark"],
        "leaks_found": 0,
        "overlapping_sessions": 0,
        "holdout_openings": 0,
    }

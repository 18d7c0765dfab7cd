"""The figures of a walk-forward record: what the gate judges, in one JSON-able table."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fx_pipeline.market.years import covered_years
from fx_pipeline.validation.alpha import Alpha, jensens_alpha
from fx_pipeline.validation.chance import judge_seed, upper_bound
from fx_pipeline.validation.context import TrialHistory
from fx_pipeline.validation.excursions import deepest_fall
from fx_pipeline.validation.family import Family, Significance, judge_family, judge_significance
from fx_pipeline.validation.metrics import drawdown
from fx_pipeline.validation.montecarlo import MonteCarlo, simulate_equity
from fx_pipeline.validation.random_traders import chance_of
from fx_pipeline.validation.risk import Risk, size_trades
from fx_pipeline.validation.seeds import Seeds, judge_seeds
from fx_pipeline.validation.significance import expected_max_z, sharpe_moments, sharpe_z
from fx_pipeline.validation.track_record import TrackRecord

#: The baselines that a record is regressed on: what holding makes, and what following a trend does.
REGRESSED = ("buy and hold", "SMA cross")


@dataclass(frozen=True)
class JudgedRecord:
    """A record, judged.

    Attributes
    ----------
    facts : dict
        JSON-able: what the conditions of the gate read, and what the page shows of it.
    significance : Significance
        Of its trades.
    family : Family
    seeds : Seeds
    """

    facts: dict[str, Any]
    significance: Significance
    family: Family
    seeds: Seeds


def judge_record(
    record: TrackRecord,
    history: TrialHistory | None,
    risk: Risk,
    simulations: tuple[MonteCarlo, MonteCarlo] | None,
    *,
    instrument: str,
    fingerprint: str,
    runs: int,
) -> JudgedRecord:
    """Compute the figures of a record.

    Parameters
    ----------
    record : TrackRecord
    history : TrialHistory, optional
        Without one nothing is known of other trials.
    risk : Risk
        Of the newest window.
    simulations : tuple of MonteCarlo, optional
        Of the newest window's trades and sessions; None without trades.
    instrument : str
        Its calendar has the trading days of a year.
    fingerprint : str
        Of the newest window's data: it seeds what is resampled.
    runs : int
        Resamples.

    Returns
    -------
    JudgedRecord
    """
    pnl, sessions, alone = record.pnl_pips, record.session_pnl_pips, len(record.windows) == 1
    significance = judge_significance(pnl, history)
    family = judge_family(
        record.family,
        runs,
        judge_seed(fingerprint, "family"),
        left_out=record.left_out,
        counted=history is not None,
    )
    seeds = judge_seeds(record.seeds, history.seeds_left_out if history else ())
    if not alone or simulations is None:
        simulations = simulated(pnl, sessions, runs, fingerprint)
    alpha = _alpha(record, runs, fingerprint)
    total = float(pnl.sum())
    random_p = chance_of(total, record.random_moments) if len(pnl) else None
    sized = risk.safe_f
    if not alone:
        years, seed = covered_years(instrument, record.spans), judge_seed(fingerprint, "risk")
        moved = record.excursions.scaled(record.trade_values)
        sized = size_trades(record.trade_returns, years, moved, runs=runs, seed=seed)
    stressed = record.stressed_pips
    facts = {
        "windows": [_window(record, place) for place in range(len(record.windows))],
        "sessions": len(sessions),
        "days": record.days,
        "trades": len(pnl),
        "total_pips": total,
        "expectancy_pips": float(pnl.mean()) if len(pnl) else None,
        "stressed_expectancy_pips": float(stressed.mean()) if len(stressed) else None,
        "max_drawdown_pips": float(drawdown(pnl).max()) if len(pnl) else 0.0,
        "deepest_fall_pips": deepest_fall(pnl, record.excursions),
        "probability_not_positive": _not_positive(simulations),
        "alpha": alpha and dataclasses.asdict(alpha),
        "baseline_p": alpha and alpha.p_upper,
        "random_p": random_p,
        "min_track_record_trades": significance.min_track_record_trades,
        "trials": history and history.chosen_among,
        "chosen": dict(history.chosen) if history else {},
        **_sequential(record, history),
        "deflated_sharpe": significance.deflated.probability if history and significance.deflated else None,
        "overfitting_probability": family.overfitting and family.overfitting.probability,
        "spa_p": family.spa_p_upper,
        "reality_check_p": family.snooping and family.snooping.reality_check_p,
        "superior": family.superior,
        "family_absent": family.absent,
        "car25": sized and sized.car25,
        "seeds": seeds.count,
        "seed_trades": dict(seeds.trades),
        "seed_copies": [list(group) for group in seeds.copies],
        "worst_seed_pips": seeds.worst_pips,
        "seeds_left_out": len(seeds.left_out),
        "missing": list(record.missing),
        "overlapping_sessions": record.overlapping_sessions,
        "shared_sessions": record.shared_sessions,
        "ledger_faults": list(history.ledger_faults) if history else None,
        "mc_runs": runs,
    }
    return JudgedRecord(facts, significance, family, seeds)


def simulated(
    pnl_pips: Any, session_pnl_pips: Any, runs: int, fingerprint: str
) -> tuple[MonteCarlo, MonteCarlo] | None:
    """Resample trades and sessions; None without trades."""
    if not len(pnl_pips):
        return None
    seed = judge_seed(fingerprint, "equity")
    return simulate_equity(pnl_pips, runs, seed=seed), simulate_equity(session_pnl_pips, runs, seed=seed)


def _not_positive(simulations: tuple[MonteCarlo, MonteCarlo] | None) -> float | None:
    """Upper bound of the share of resampled histories that end at or below 0, by trades or sessions, the worse."""
    if simulations is None:
        return None
    return max(upper_bound(round(one.probability_not_positive * one.runs), one.runs) for one in simulations)


def _alpha(record: TrackRecord, runs: int, fingerprint: str) -> Alpha | None:
    known = record.baselines
    chosen = [series for name, series in known.items() if name.startswith(REGRESSED)]
    if len(chosen) != len(REGRESSED) or not len(record.pnl_pips):
        return None
    return jensens_alpha(record.session_pnl_pips, chosen, runs=runs, seed=judge_seed(fingerprint, "alpha"))


def _sequential(record: TrackRecord, history: TrialHistory | None) -> dict[str, Any]:
    """How far the record is above chance, what being chosen takes off, and what this look demands."""
    by_trade, by_session = (
        None if moments is None else sharpe_z(moments)
        for moments in (sharpe_moments(record.pnl_pips), sharpe_moments(record.session_pnl_pips))
    )
    z = None if by_trade is None or by_session is None else min(by_trade, by_session)
    looks = record.looks
    lucky = expected_max_z(history.chosen_among) if history else None
    return {
        "z_by_trade": by_trade,
        "z_by_session": by_session,
        "z": z,
        "lucky_z": lucky,
        "deflated_z": None if z is None or lucky is None else z - lucky,
        "looks": list(looks),
    }


def _window(record: TrackRecord, place: int) -> Mapping[str, Any]:
    one = record.windows[place]
    pips = one.evidence.trade_pnl_pips[one.trades]
    return {
        "window": one.window,
        "seed": one.seed,
        "checkpoint": one.checkpoint,
        "candidates": one.candidates,
        "sessions": int(one.kept.sum()),
        "trades": len(pips),
        "total_pips": float(pips.sum()),
    }

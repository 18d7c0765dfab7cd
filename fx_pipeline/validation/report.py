"""The validation report: everything a sceptic would ask, as JSON and as a page.

A report is a JSON-able dict of three blocks. `figures` depends on the data, the checkpoint, the settings and the
seed only: two validations with one seed have identical figures. `lineage` says what was judged. `run` holds times,
paths and links, which differ from run to run.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.records import read_record
from fx_pipeline.validation.breakdown import break_down
from fx_pipeline.validation.chance import judge_seed
from fx_pipeline.validation.comparison import Comparison, left_out
from fx_pipeline.validation.conditions import CONDITIONS, HOLDOUT_CONDITIONS
from fx_pipeline.validation.context import SYNTHETIC, ReportContext, TrialHistory
from fx_pipeline.validation.cost_basis import CostBasis
from fx_pipeline.validation.costs import CostSweep
from fx_pipeline.validation.gate import GateConfig, judge, laxer
from fx_pipeline.validation.metrics import FEW_TRADES, TradeMetrics
from fx_pipeline.validation.montecarlo import MonteCarlo, compare_with_iid
from fx_pipeline.validation.paired import paired_test
from fx_pipeline.validation.parity import replay_at_broker
from fx_pipeline.validation.record_figures import judge_record, simulated
from fx_pipeline.validation.records import POINTER_SCHEMA, REPORT, read_pointer_record
from fx_pipeline.validation.risk import account_risk
from fx_pipeline.validation.rollout import Rollout
from fx_pipeline.validation.track_record import record_of_window

if TYPE_CHECKING:
    from fx_pipeline.validation.score import Score

SCHEMA = "fx_pipeline.validation_report/5"
#: Reports from before records still tell what they judged; they pass no gate of now.
OLDEST = 4
REPORT_JSON = "report.json"
REPORT_PAGE = "report.html"
# Points of the price line on the page: more than its pixels would show nothing more.
PRICE_POINTS = 1_600
# A step between two bars beyond this breaks the line instead of bridging it.
LINE_BREAK_NS = 4 * 3_600 * 1_000_000_000
# Figures of the record that stand beside those of the window, too.
OF_RECORD = (
    *("trials", "deflated_sharpe", "overfitting_probability", "spa_p", "reality_check_p", "superior", "car25"),
    *("seeds", "worst_seed_pips", "probability_not_positive", "random_p", "min_track_record_trades"),
)
# Trade, session and reward columns that the report lists; times become ISO strings.
TRADE_COLUMNS = (
    "session",
    "side",
    "entry_time",
    "exit_time",
    "entry_price",
    "exit_price",
    "bars_held",
    "cost_pips",
    "pnl_pips",
    "max_drawdown_pips",
    "peak_pips",
    "low_pips",
    "amddp1",
)
#: Listed besides where positions have several sizes: without them both are 1.
SIZE_COLUMNS = ("exposure", "opened")


def build_report(
    market: MarketArrays,
    score: "Score",
    comparison: Comparison,
    sweep: CostSweep,
    basis: CostBasis,
    *,
    costs: CostConfig,
    reward: RewardConfig,
    seed: int,
    context: ReportContext,
    mc_runs: int,
    gate: GateConfig,
) -> dict[str, Any]:
    """Simulate, judge and put everything into one JSON-able dict.

    Parameters
    ----------
    market : MarketArrays
    score : Score
        What the policy made of the window.
    comparison : Comparison
    sweep : CostSweep
    basis : CostBasis
        What the costs rest on.
    costs, reward, seed, context, mc_runs, gate
        As in `validate_policy`.

    Returns
    -------
    dict
        `schema`, `figures`, `figures_sha256`, `lineage` and `run`.
    """
    done, metrics, history = score.done, score.metrics, score.history
    fingerprint = context.data_fingerprint or market.fingerprint
    record = history.record if history is not None and history.record is not None and not context.sealed else None
    if record is None:
        trials, left_out = ((), 0) if history is None else (history.window, history.left_out)
        checkpoint = context.checkpoint_sha256
        record = record_of_window(score.evidence, context.window, seed, checkpoint, trials, left_out)
    simulations = simulated(done.pnl_pips, done.session_pnl_pips, mc_runs, fingerprint)
    risk = account_risk(done, market, runs=mc_runs, seed=judge_seed(fingerprint, "risk"))
    judged = judge_record(
        record,
        history,
        risk,
        simulations,
        instrument=market.instrument,
        fingerprint=fingerprint,
        runs=mc_runs,
    )
    parity = replay_at_broker(done, market, costs)
    # What the gate reads: a report can be judged again from its figures alone.
    facts = {
        "record": judged.facts,
        "parity_error_pips": sweep.parity_error_pips,
        "parity": dataclasses.asdict(parity),
        "leaks_searched": sorted(context.leaks),
        "leaks_found": sum(context.leaks.values()),
        "overlapping_sessions": done.overlapping_sessions,
        "holdout_openings": context.holdout_openings,
    }
    verdict = judge(facts, gate, HOLDOUT_CONDITIONS if context.sealed else CONDITIONS)
    figures = {
        "instrument": context.instrument,
        "window": context.window,
        "agent": context.agent,
        "bars": done.bars,
        "session_bars": done.session_bars,
        "decisions": done.decisions,
        "episodes": context.episodes,
        "seed": seed,
        "sessions": done.sessions,
        "trades": metrics.trades,
        "expectancy_pips": metrics.expectancy_pips,
        "total_pips": metrics.total_pips,
        "stressed_expectancy_pips": sweep.stressed_expectancy_pips,
        "break_even_spread_pips": sweep.break_even_pips,
        "margin_over_baselines_pips": comparison.margin_pips,
        # Of the record: what pages and plots over the windows show.
        **{name: judged.facts[name] for name in OF_RECORD},
        **facts,
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "conditions": [dataclasses.asdict(condition) for condition in verdict.conditions],
        "metrics": dataclasses.asdict(metrics),
        "reward_pips": done.reward_pips,
        "exposure": done.exposure,
        "sessions_traded": len(np.unique(done.trades["session"])),
        "action_counts": dict(zip(done.action_set.names, done.action_counts.tolist(), strict=True)),
        "significance": dataclasses.asdict(judged.significance),
        "family": dataclasses.asdict(judged.family),
        "paired": _beside_champion(done, history, mc_runs, judge_seed(fingerprint, "paired")),
        "seed_totals": dataclasses.asdict(judged.seeds),
        "risk": dataclasses.asdict(risk),
        "breakdown": dataclasses.asdict(break_down(done.trades["entry_time"], done.pnl_pips)),
        "monte_carlo": _simulation(done, simulations),
        "baselines": dataclasses.asdict(comparison),
        "cost_basis": dataclasses.asdict(basis),
        "cost_sweep": dataclasses.asdict(sweep),
        "trade_list": _trade_list(done),
        "price": _price_line(market, done),
        "gate": dataclasses.asdict(gate),
        "sealed": context.sealed,
        "warnings": [*_warnings(done, metrics, context, history, gate), *basis.warnings],
    }
    figures = _plain(figures)
    return {
        "schema": SCHEMA,
        "figures": figures,
        "figures_sha256": hashlib.sha256(json.dumps(figures, sort_keys=True, allow_nan=False).encode()).hexdigest(),
        "lineage": _plain(_lineage(market, context, costs, reward, seed)),
        "run": _plain({"wall_s": None, "report": None, **context.run}),
    }


def write_report(report: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write `report.html` and `report.json` into `folder`, each atomically; the JSON comes last and completes them.

    Parameters
    ----------
    report : Mapping
        From `validate_policy`.
    folder : Path
        Made if it does not exist.

    Returns
    -------
    dict
        The report with `run.report`, the path of the page.
    """
    from fx_pipeline.validation.report_page import render_page

    page = folder / REPORT_PAGE
    atomic_write_bytes(page, render_page(report).encode())
    # Its place is told when it is read: written down, a copy of the folder would name the original's page.
    atomic_write_json(folder / REPORT_JSON, {**report, "run": {**report["run"], "report": REPORT_PAGE}})
    return {**report, "run": {**report["run"], "report": str(page)}}


def read_report(folder: Path, kind: TypeAdapter[Any] = REPORT) -> dict[str, Any]:
    """Read the report of a folder; `run.report` is the page where it lies now.

    Parameters
    ----------
    folder : Path
    kind : TypeAdapter
        What of it has to be there: all that decisions and Dagster show, or less.

    Raises
    ------
    DataError
        If there is no report, or it is not one.
    """
    try:
        report = read_record(folder / REPORT_JSON, kind, "delete it and validate again.", SCHEMA, oldest=OLDEST)
    except FileNotFoundError as error:
        raise DataError(f"there is no validation report in {folder}: validate the window first.") from error
    report["run"]["report"] = str(folder / REPORT_PAGE)
    return report


def point_at(pointer: Path, folder: Path) -> None:
    """Write down which report was made last. The path is relative: a data folder may be moved or copied."""
    relative = folder.resolve().relative_to(pointer.parent.resolve()).as_posix()
    atomic_write_json(pointer, {"schema": POINTER_SCHEMA, "folder": relative})


def pointed_at(pointer: Path) -> Path | None:
    """Return the folder of the report that was made last; None before there is one.

    Raises
    ------
    DataError
        If the record of it cannot be read.
    """
    try:
        recorded = Path(read_pointer_record(pointer)["folder"])
    except FileNotFoundError:
        return None
    # Earlier versions wrote whole paths, which of a copy lead to the original's reports.
    parts = recorded.parts[recorded.parts.index("reports") :] if "reports" in recorded.parts else recorded.parts
    return pointer.parent.joinpath(*parts) if recorded.is_absolute() else pointer.parent / recorded


def report_summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat summary of a report: what `fx-pipeline summary --json` prints."""
    figures, run = report["figures"], report["run"]
    keys = ("instrument", "window", "bars", "sessions", "episodes", "trades", "expectancy_pips", "verdict", "reasons")
    return {
        **{key: figures[key] for key in keys},
        "report": run["report"],
        "seed": figures["seed"],
        "wall_s": run["wall_s"],
    }


def _simulation(done: Rollout, simulations: tuple[MonteCarlo, MonteCarlo] | None) -> dict[str, Any] | None:
    if simulations is None:
        return None
    trades, sessions = simulations
    by_session = {
        key: value for key, value in dataclasses.asdict(sessions).items() if not key.startswith(("fan_", "drawdown_"))
    }
    return {
        **dataclasses.asdict(trades),
        "iid": dataclasses.asdict(compare_with_iid(done.pnl_pips, trades)),
        "by_session": {**by_session, "iid": dataclasses.asdict(compare_with_iid(done.session_pnl_pips, sessions))},
        # Sessions keep what happened within a day together, trades what happened in a row: the worse one counts.
        "probability_not_positive": max(trades.probability_not_positive, sessions.probability_not_positive),
        "probability_not_positive_by_trade": trades.probability_not_positive,
    }


def _beside_champion(done: Rollout, history: TrialHistory | None, runs: int, seed: int) -> dict[str, Any] | None:
    if history is None or history.champion is None:
        return None
    champion = history.champion
    test = paired_test(done.session_pnl_pips, champion.session_pnl_pips, runs=runs, seed=seed)
    if test is None:
        return None
    return {"champion_sha256": champion.sha256, "champion_window": champion.window, **dataclasses.asdict(test)}


def _warnings(
    done: Rollout, metrics: TradeMetrics, context: ReportContext, history: TrialHistory | None, gate: GateConfig
) -> list[str]:
    found = []
    if less := laxer(gate):
        found.append(f"FX_GATE asks for less than the gate does by default: {', '.join(less)}.")
    if context.source == SYNTHETIC:
        found.append(
            "The market is SYNTHETIC: these candles were generated, and no result on them is evidence of an edge."
        )
    if context.quotes_modelled > 0:
        found.append(
            f"Bid and ask of {context.quotes_modelled:.0%} of the bars are modelled: only their mid prices are real."
        )
    if done.overlapping_sessions:
        found.append(
            f"{done.overlapping_sessions} sessions overlap the one before: their trades are counted more than once."
        )
    found += left_out(done.action_set)
    if metrics.trades == 0:
        found.append("The model did not trade at all.")
    elif metrics.trades < FEW_TRADES:
        found.append(f"{metrics.trades} trades are too few for any figure below to be stable.")
    if history is None:
        found.append("Trials are not counted: the deflated Sharpe ratio supposes that this is the only one.")
    elif history.left_out:
        found.append(
            f"{history.left_out} earlier trials of this window were judged on other sessions, data or costs, or by "
            "other code: they are counted, but cannot be compared session by session."
        )
    return found


def _trade_list(done: Rollout) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in (*TRADE_COLUMNS, *(SIZE_COLUMNS if done.action_set.sized else ())):
        values = done.trades[name]
        columns[name] = _iso(values) if name.endswith("_time") else values.tolist()
    return columns


def _price_line(market: MarketArrays, done: Rollout) -> dict[str, list[Any]]:
    """Thin the closes of the judged span; `breaks` are the stretches without a market, from bar to bar."""
    first, last = int(done.starts[0]), int(done.ends[-1]) + 1
    before = first + np.flatnonzero(np.diff(market.time[first:last]) > LINE_BREAK_NS)
    points = np.linspace(first, last - 1, min(PRICE_POINTS, last - first)).round().astype(np.int64)
    bars = np.unique(np.concatenate((points, before, before + 1)))
    # A missing value after the last bar before a break keeps the line from bridging it.
    ends = np.searchsorted(bars, before, side="right")
    times = np.insert(market.time[bars], ends, market.time[before])
    return {
        "time": _iso(times),
        "close": np.insert(market.close[bars], ends, np.nan).tolist(),
        "breaks": [list(pair) for pair in zip(_iso(market.time[before]), _iso(market.time[before + 1]), strict=True)],
    }


def _lineage(
    market: MarketArrays, context: ReportContext, costs: CostConfig, reward: RewardConfig, seed: int
) -> dict[str, Any]:
    facts = {
        item.name: getattr(context, item.name)
        for item in dataclasses.fields(ReportContext)
        if item.name not in ("run", "gaps")
    }
    return {
        **facts,
        "data_fingerprint": context.data_fingerprint or market.fingerprint,
        "synthetic": context.source == SYNTHETIC,
        "gaps": [dict(gap) for gap in context.gaps],
        "costs": dataclasses.asdict(costs),
        "reward": dataclasses.asdict(reward),
        "seed": seed,
    }


def _iso(time_ns: npt.NDArray[np.int64]) -> list[str]:
    stamps = np.asarray(time_ns).astype("datetime64[ns]").astype("datetime64[m]")
    return [f"{stamp}Z" for stamp in np.datetime_as_string(stamps)]


def _plain(value: Any) -> Any:
    """Reduce to what JSON holds: arrays to lists, keys to strings, numbers that are not finite to null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

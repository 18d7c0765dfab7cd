"""Validate a policy: roll it out, compare it, simulate, judge, and return the report."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from fx_pipeline.agents.base import Policy, Progress
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.comparison import compare_with_baselines, run_ablation
from fx_pipeline.validation.context import RecordTrial, ReportContext
from fx_pipeline.validation.cost_basis import cost_basis
from fx_pipeline.validation.costs import sweep_costs
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.report import build_report
from fx_pipeline.validation.score import score_policy


def validate_policy(
    market: MarketArrays,
    starts: npt.ArrayLike,
    policy: Policy,
    *,
    costs: CostConfig,
    reward: RewardConfig,
    seed: int,
    context: ReportContext,
    mc_runs: int = 10_000,
    gate: GateConfig | None = None,
    batch: int = 256,
    rules: SessionRules = SessionRules(),
    actions: ActionSet = UNIT4,
    record_trial: RecordTrial | None = None,
    ablation: Policy | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Roll a policy out, compare, simulate, judge, and return the report.

    Parameters
    ----------
    market : MarketArrays
    starts : (S,) array-like
        First bars of the out-of-sample sessions, increasing; disjoint, or the gate refuses.
    policy : Policy
        Greedy.
    costs : CostConfig
    reward : RewardConfig
    seed : int
        Of the training, by the record of the checkpoint. What the judge resamples is seeded by the data.
    context : ReportContext
    mc_runs : int
        Bootstrap paths; fewer than 10,000 judge nothing.
    gate : GateConfig, optional
    batch : int
        Sessions in lock-step.
    rules : SessionRules
    actions : ActionSet
    record_trial : callable, optional
        Writes the score into the trial ledger. It is called before anything is judged, so that no score goes
        uncounted; without it the report says that trials are not counted.
    ablation : Policy, optional
        The agent without its search, for the table of baselines.
    progress : callable, optional
    clock : callable
        Seconds, for `run.wall_s` only.

    Returns
    -------
    dict
        The report; `write_report` writes it.

    Raises
    ------
    ConfigurationError
        If the costs rest on the spread of an instrument of which none is known.
    """
    began = clock()
    basis = cost_basis(
        market, costs, context.quotes_modelled, configured=context.configured_costs, trained=context.trained_costs
    )
    fills = build_fills(market, costs)
    score = score_policy(
        market,
        fills,
        starts,
        policy,
        costs=costs,
        reward=reward,
        seed=seed,
        context=context,
        batch=batch,
        rules=rules,
        actions=actions,
        record_trial=record_trial,
        progress=_part(progress, 0.0, 0.8),
    )
    done, metrics = score.done, score.metrics
    reduced = None if ablation is None else run_ablation(done, market, fills, reward, ablation)
    comparison = compare_with_baselines(done, score.baselines, score.moments, reduced)
    if progress is not None:
        progress(0.9, {"trades": float(metrics.trades)})
    sweep = sweep_costs(done, market, costs, quoted=context.quotes_modelled < 1.0)
    report = build_report(
        market,
        score,
        comparison,
        sweep,
        basis,
        costs=costs,
        reward=reward,
        seed=seed,
        context=context,
        mc_runs=mc_runs,
        gate=gate or GateConfig(),
    )
    report["run"]["wall_s"] = round(clock() - began, 3)
    if progress is not None:
        progress(1.0, {"trades": float(metrics.trades)})
    return report


def _part(progress: Progress | None, first: float, last: float) -> Progress | None:
    if progress is None:
        return None

    def scaled(fraction: float, figures: Mapping[str, float]) -> None:
        progress(first + (last - first) * fraction, figures)

    return scaled

"""Validate a policy: roll it out, compare it, simulate, judge, and return the report."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Policy, Progress
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, Fills, build_fills
from fx_pipeline.market.prints import Days, day_prints
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.comparison import compare_with_baselines, run_ablation, run_baselines
from fx_pipeline.validation.context import RecordTrial, ReportContext, TrialHistory, TrialScore
from fx_pipeline.validation.cost_basis import cost_basis
from fx_pipeline.validation.costs import stressed_pips, sweep_costs
from fx_pipeline.validation.evidence import Evidence, evidence_of
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.metrics import TradeMetrics, trade_metrics
from fx_pipeline.validation.random_traders import SessionMoments
from fx_pipeline.validation.report import build_report
from fx_pipeline.validation.rollout import Rollout, rollout


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


class Score(NamedTuple):
    """What a policy made of a window, before anything is judged.

    Attributes
    ----------
    done : Rollout
    metrics : TradeMetrics
        Of it.
    baselines : dict of str to Rollout
        On the same sessions, by name.
    moments : SessionMoments
        Of random traders with its turnover.
    evidence : Evidence
        All of this that a track record needs.
    history : TrialHistory or None
        What `record_trial` returned.
    """

    done: Rollout
    metrics: TradeMetrics
    baselines: dict[str, Rollout]
    moments: SessionMoments
    evidence: Evidence
    history: TrialHistory | None


def score_policy(
    market: MarketArrays,
    fills: Fills,
    starts: npt.ArrayLike,
    policy: Policy,
    *,
    costs: CostConfig,
    reward: RewardConfig,
    seed: int,
    context: ReportContext,
    batch: int = 256,
    rules: SessionRules = SessionRules(),
    actions: ActionSet = UNIT4,
    record_trial: RecordTrial | None = None,
    progress: Progress | None = None,
) -> Score:
    """Roll a policy out beside its baselines and record its score in the trial ledger; nothing is judged.

    Parameters
    ----------
    market, starts, policy, costs, reward, seed, context, batch, rules, actions, record_trial, progress
        As in `validate_policy`.
    fills : Fills
        Of the market at these costs.

    Returns
    -------
    Score
    """
    done = rollout(
        market,
        fills,
        starts,
        policy,
        reward,
        batch=batch,
        rules=rules,
        actions=actions,
        progress=progress,
    )
    metrics = trade_metrics(done.pnl_pips)
    baselines, moments = run_baselines(done, market, fills, reward)
    evidence = evidence_of(
        done,
        market,
        stressed_pips(done, market, costs),
        {name: one.session_pnl_pips for name, one in baselines.items()},
        moments.pips,
    )
    score = Score(done, metrics, baselines, moments, evidence, None)
    if record_trial is None:
        return score
    start_ns, end_ns, days, bars = judged_bars(market, done.starts, rules)
    history = record_trial(
        TrialScore(
            context=context,
            data_fingerprint=context.data_fingerprint or market.fingerprint,
            costs=dataclasses.asdict(costs),
            reward=dataclasses.asdict(reward),
            seed=seed,
            trades=metrics.trades,
            expectancy_pips=metrics.expectancy_pips,
            sharpe_per_trade=metrics.sharpe_per_trade,
            session_ns=market.time[done.starts],
            session_pnl_pips=done.session_pnl_pips,
            valid_start_ns=start_ns,
            valid_end_ns=end_ns,
            days=days,
            bars=bars,
            evidence=evidence.to_bytes(),
        )
    )
    return score._replace(history=history)


def judged_bars(
    market: MarketArrays, starts: npt.ArrayLike, rules: SessionRules = SessionRules()
) -> tuple[int, int, Days, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Return the span of the bars of some sessions (UTC nanoseconds), what their days are recognised by, and times and
    closes of these bars."""
    rows = np.asarray(starts, dtype=np.int64)
    inside = slice(int(rows[0]), int(rows[-1]) + rules.bars)
    time_ns, close = market.time[inside], market.close[inside]
    return int(time_ns[0]), int(time_ns[-1]) + market.timeframe.bar_ns, day_prints(time_ns, close), (time_ns, close)


def _part(progress: Progress | None, first: float, last: float) -> Progress | None:
    if progress is None:
        return None

    def scaled(fraction: float, figures: Mapping[str, float]) -> None:
        progress(first + (last - first) * fraction, figures)

    return scaled

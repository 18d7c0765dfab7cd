"""Validate a policy: roll it out, compare it, simulate, judge, and return the report."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from fx_pipeline.agents.base import Policy, Progress
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import SESSION_BARS, WINDOW_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.costs import CostConfig, Fills, build_fills
from fx_pipeline.market.prints import day_prints
from fx_pipeline.validation.comparison import RANDOM_DRAWS, compare_with_baselines
from fx_pipeline.validation.context import RecordTrial, ReportContext, TrialHistory, TrialScore
from fx_pipeline.validation.cost_basis import cost_basis
from fx_pipeline.validation.costs import sweep_costs
from fx_pipeline.validation.gate import GateConfig
from fx_pipeline.validation.metrics import TradeMetrics, trade_metrics
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
    random_draws: int = RANDOM_DRAWS,
    batch: int = 256,
    session_bars: int = SESSION_BARS,
    window_bars: int = WINDOW_BARS,
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
        Of the Monte Carlo and of the random baseline.
    context : ReportContext
    mc_runs : int
        Bootstrap paths.
    gate : GateConfig, optional
    random_draws : int
        Random traders to compare with.
    batch : int
        Sessions in lock-step.
    session_bars, window_bars : int
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
    done, metrics, history = score_policy(
        market,
        fills,
        starts,
        policy,
        costs=costs,
        reward=reward,
        seed=seed,
        context=context,
        batch=batch,
        session_bars=session_bars,
        window_bars=window_bars,
        record_trial=record_trial,
        progress=_part(progress, 0.0, 0.8),
    )
    comparison = compare_with_baselines(
        done, market, fills, reward, seed, random_draws, ablation=ablation, window_bars=window_bars
    )
    if progress is not None:
        progress(0.9, {"trades": float(metrics.trades)})
    sweep = sweep_costs(done, market, costs, quoted=context.quotes_modelled < 1.0)
    report = build_report(
        market,
        done,
        metrics,
        comparison,
        sweep,
        basis,
        costs=costs,
        reward=reward,
        seed=seed,
        context=context,
        mc_runs=mc_runs,
        gate=gate or GateConfig(),
        history=history,
    )
    report["run"]["wall_s"] = round(clock() - began, 3)
    if progress is not None:
        progress(1.0, {"trades": float(metrics.trades)})
    return report


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
    session_bars: int = SESSION_BARS,
    window_bars: int = WINDOW_BARS,
    record_trial: RecordTrial | None = None,
    progress: Progress | None = None,
) -> tuple[Rollout, TradeMetrics, TrialHistory | None]:
    """Roll a policy out and record its score in the trial ledger; nothing is judged.

    Parameters
    ----------
    market, starts, policy, costs, reward, seed, context, batch, session_bars, window_bars, record_trial, progress
        As in `validate_policy`.
    fills : Fills
        Of the market at these costs.

    Returns
    -------
    Rollout, TradeMetrics, TrialHistory or None
        The history is what `record_trial` returns.
    """
    done = rollout(
        market,
        fills,
        starts,
        policy,
        reward,
        batch=batch,
        session_bars=session_bars,
        window_bars=window_bars,
        progress=progress,
    )
    metrics = trade_metrics(done.pnl_pips)
    if record_trial is None:
        return done, metrics, None
    first, last = int(done.starts[0]), int(done.starts[-1]) + session_bars
    judged_ns, judged_close = market.time[first:last], market.close[first:last]
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
            valid_start_ns=int(judged_ns[0]),
            valid_end_ns=int(judged_ns[-1]) + MINUTE_NS,
            days=day_prints(judged_ns, judged_close),
        )
    )
    return done, metrics, history


def _part(progress: Progress | None, first: float, last: float) -> Progress | None:
    if progress is None:
        return None

    def scaled(fraction: float, figures: Mapping[str, float]) -> None:
        progress(first + (last - first) * fraction, figures)

    return scaled

"""The model beside the baselines: same sessions, same costs, same rollout."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fx_pipeline.agents.base import Policy
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import WINDOW_BARS, MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.validation.baselines import Flat, RandomTrader, SmaCross, buy_and_hold, sell_and_hold, turnover
from fx_pipeline.validation.metrics import trade_metrics
from fx_pipeline.validation.rollout import Rollout, rollout

RANDOM_DRAWS = 50
BASELINE_BATCH = 1_024


@dataclass(frozen=True)
class BaselineResult:
    """What a policy made on the sessions.

    Attributes
    ----------
    name : str
    trades : float
        Closed trades; a mean over draws for the random baseline.
    total_pips, max_drawdown_pips : float
    expectancy_pips, win_rate : float or None
    """

    name: str
    trades: float
    total_pips: float
    expectancy_pips: float | None
    win_rate: float | None
    max_drawdown_pips: float


@dataclass(frozen=True)
class RandomComparison:
    """The model against random traders with its turnover.

    Attributes
    ----------
    draws : int
    mean : BaselineResult
        Means over the draws.
    p5_total_pips, p95_total_pips : float
        Range of the random totals.
    p_value : float
        ``(1 + draws at least as good) / (1 + draws)``: how likely chance alone does as well.
    """

    draws: int
    mean: BaselineResult
    p5_total_pips: float
    p95_total_pips: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """The model and every baseline.

    Attributes
    ----------
    model : BaselineResult
    baselines : tuple of BaselineResult
        Flat, buy and hold, sell and hold, SMA cross.
    ablation : BaselineResult or None
        The agent without its search.
    random : RandomComparison or None
        None when the model did not trade: there is no turnover to match.
    """

    model: BaselineResult
    baselines: tuple[BaselineResult, ...]
    ablation: BaselineResult | None
    random: RandomComparison | None

    @property
    def margin_pips(self) -> float:
        """Total of the model less that of the best baseline without randomness; the ablation is none."""
        return self.model.total_pips - max(baseline.total_pips for baseline in self.baselines)


def compare_with_baselines(
    done: Rollout,
    market: MarketArrays,
    fills: Fills,
    reward: RewardConfig | None,
    seed: int,
    draws: int = RANDOM_DRAWS,
    ablation: Policy | None = None,
    window_bars: int = WINDOW_BARS,
) -> Comparison:
    """Run every baseline on the sessions of a rollout.

    Parameters
    ----------
    done : Rollout
        The model's.
    market : MarketArrays
    fills : Fills
        The same as the model's.
    reward : RewardConfig, optional
    seed : int
        Of the random baseline.
    draws : int
        Random traders to run.
    ablation : Policy, optional
        The agent without its search.
    window_bars : int
        Bars of an observation of the ablation.

    Returns
    -------
    Comparison
    """

    # None of the baselines looks back: one bar of features is what an observation needs to have.
    def run(policy: Policy, look_back: int = 1) -> Rollout:
        return rollout(
            market,
            fills,
            done.starts,
            policy,
            reward,
            batch=BASELINE_BATCH,
            session_bars=done.session_bars,
            window_bars=look_back,
        )

    fixed = (Flat(), buy_and_hold(), sell_and_hold(), SmaCross(market))
    baselines = tuple(summarise(policy.name, run(policy)) for policy in fixed)
    reduced = None if ablation is None else summarise("this model without its search", run(ablation, window_bars))
    return Comparison(summarise("this model", done), baselines, reduced, _random(done, run, seed, draws))


def summarise(name: str, done: Rollout) -> BaselineResult:
    """Reduce a rollout to a line of the table."""
    figures = trade_metrics(done.pnl_pips)
    return BaselineResult(
        name,
        figures.trades,
        figures.total_pips,
        figures.expectancy_pips,
        figures.win_rate,
        figures.max_drawdown_pips,
    )


def _random(done: Rollout, run: Callable[[Policy], Rollout], seed: int, draws: int) -> RandomComparison | None:
    if not len(done.trades) or draws < 1:
        return None
    rates = turnover(done)
    seeds = np.random.SeedSequence(seed).generate_state(draws, np.uint64)
    results = [summarise("random", run(RandomTrader(rates, int(value)))) for value in seeds]
    totals = np.array([result.total_pips for result in results])
    trades = np.array([result.trades for result in results])
    wins = sum((result.win_rate or 0.0) * result.trades for result in results)
    mean = BaselineResult(
        name=f"random, same turnover (mean of {draws})",
        trades=float(trades.mean()),
        total_pips=float(totals.mean()),
        expectancy_pips=float(totals.sum() / trades.sum()) if trades.sum() else None,
        win_rate=float(wins / trades.sum()) if trades.sum() else None,
        max_drawdown_pips=float(np.mean([result.max_drawdown_pips for result in results])),
    )
    return RandomComparison(
        draws=draws,
        mean=mean,
        p5_total_pips=float(np.percentile(totals, 5)),
        p95_total_pips=float(np.percentile(totals, 95)),
        p_value=float((1 + (totals >= done.pnl_pips.sum()).sum()) / (1 + draws)),
    )

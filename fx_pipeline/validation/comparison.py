"""The model beside the baselines: same sessions, same costs, same rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fx_pipeline.agents.base import Policy
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.validation.baselines import Flat, SmaCross, buy_and_hold, sell_and_hold, turnover
from fx_pipeline.validation.metrics import trade_metrics
from fx_pipeline.validation.random_traders import SessionMoments, chance_of, random_moments, total_quantile
from fx_pipeline.validation.rollout import Rollout, rollout

BASELINE_BATCH = 1_024


@dataclass(frozen=True)
class BaselineResult:
    """What a policy made on the sessions.

    Attributes
    ----------
    name : str
    trades : float
        Closed trades; what is expected of random traders.
    total_pips : float
    expectancy_pips, win_rate, max_drawdown_pips : float or None
        None without trades, and where random traders are known by their moments only.
    """

    name: str
    trades: float
    total_pips: float
    expectancy_pips: float | None
    win_rate: float | None
    max_drawdown_pips: float | None


@dataclass(frozen=True)
class RandomComparison:
    """The model against random traders with its turnover, whose moments are known exactly.

    Attributes
    ----------
    mean : BaselineResult
        What is expected of them.
    deviation_pips : float
        Standard deviation of their totals.
    p5_total_pips, p95_total_pips : float
        Range of their totals.
    p_value : float
        How likely chance alone does at least as well.
    """

    mean: BaselineResult
    deviation_pips: float
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


def run_baselines(
    done: Rollout, market: MarketArrays, fills: Fills, reward: RewardConfig | None
) -> tuple[dict[str, Rollout], SessionMoments]:
    """Run every baseline on the sessions of a rollout, at its fills.

    Parameters
    ----------
    done : Rollout
        The model's.
    market : MarketArrays
    fills : Fills
        The same as the model's.
    reward : RewardConfig, optional

    Returns
    -------
    dict of str to Rollout
        Of those without randomness: flat, buy and hold, sell and hold, SMA cross.
    SessionMoments
        Of random traders with the model's turnover.
    """
    # None of the baselines looks back: one bar of features is what an observation needs to have.
    fixed = {
        policy.name: rollout(
            market,
            fills,
            done.starts,
            policy,
            reward,
            batch=BASELINE_BATCH,
            rules=replace(done.rules, window_bars=1),
            actions=done.action_set,
        )
        for policy in (Flat(), buy_and_hold(), sell_and_hold(), SmaCross(market))
    }
    return fixed, random_moments(market, fills, done.starts, done.lengths, turnover(done))


def compare_with_baselines(
    done: Rollout,
    baselines: Mapping[str, Rollout],
    moments: SessionMoments,
    ablation: Rollout | None = None,
) -> Comparison:
    """Put a rollout beside its baselines.

    Parameters
    ----------
    done : Rollout
        The model's.
    baselines : Mapping of str to Rollout
    moments : SessionMoments
        Of the random traders; both from `run_baselines`.
    ablation : Rollout, optional
        Of the agent without its search.

    Returns
    -------
    Comparison
    """
    return Comparison(
        summarise("this model", done),
        tuple(summarise(name, one) for name, one in baselines.items()),
        None if ablation is None else summarise("this model without its search", ablation),
        _random(done, moments),
    )


def run_ablation(
    done: Rollout, market: MarketArrays, fills: Fills, reward: RewardConfig | None, policy: Policy
) -> Rollout:
    """Run the agent without its search on the sessions of a rollout."""
    return rollout(
        market,
        fills,
        done.starts,
        policy,
        reward,
        batch=BASELINE_BATCH,
        rules=done.rules,
        actions=done.action_set,
    )


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


def _random(done: Rollout, moments: SessionMoments) -> RandomComparison | None:
    if not len(done.trades):
        return None
    total, trades = moments.pips.sum(axis=0), float(moments.trades.sum())
    p_value = chance_of(float(done.pnl_pips.sum()), total)
    if p_value is None:
        return None
    mean = BaselineResult(
        name="random, same turnover (expected)",
        trades=trades,
        total_pips=float(total[0]),
        expectancy_pips=float(total[0] / trades) if trades else None,
        win_rate=None,
        max_drawdown_pips=None,
    )
    return RandomComparison(
        mean=mean,
        deviation_pips=float(total[1] ** 0.5),
        p5_total_pips=total_quantile(0.05, total),
        p95_total_pips=total_quantile(0.95, total),
        p_value=p_value,
    )

from dataclasses import replace

import numpy as np
import pytest

from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import (
    Flat,
    RandomTrader,
    SmaCross,
    Turnover,
    buy_and_hold,
    sell_and_hold,
    turnover,
)
from fx_pipeline.validation.comparison import compare_with_baselines, run_ablation, run_baselines
from fx_pipeline.validation.costs import reprice, sweep_costs
from fx_pipeline.validation.rollout import rollout

SESSION = 60
STARTS = np.arange(20) * 70 + 200
COSTS = [
    CostConfig(),
    CostConfig(kind="quoted", slippage_pips=0.3),
    CostConfig(kind="profile", fill="close", financing_long_pips=0.7, financing_short_pips=-0.2),
    CostConfig(kind="fixed", fixed_pips=1.0, financing_long_pips=0.4, financing_short_pips=0.1),
]


@pytest.fixture(scope="module")
def market(market_of):
    return market_of(2_000)


def run(market, policy, costs=None, **options):
    fills = build_fills(market, costs or CostConfig())
    return rollout(market, fills, STARTS, policy, rules=SessionRules(bars=SESSION), **options)


def busy(seed=1):
    return RandomTrader(Turnover(0.15, 0.2, 0.5), seed)


@pytest.mark.parametrize("batch", [1, 7, 20, 512])
def test_the_result_does_not_depend_on_the_batch(market, batch):
    one, other = run(market, busy()), run(market, busy(), batch=batch)
    assert np.array_equal(one.trades, other.trades)
    assert np.array_equal(one.actions, other.actions)
    assert one.reward_pips == other.reward_pips


def test_trades_follow_the_actions(market):
    done = run(market, busy())
    assert len(done.trades) == (done.actions == CLOSE).sum() > 50
    row, step = np.nonzero((done.actions == BUY) | (done.actions == SELL))
    assert np.array_equal(done.trades["session"], row)
    assert np.array_equal(done.trades["entry_bar"], STARTS[row] + step + 1)
    assert done.action_counts.sum() == done.decisions == 20 * SESSION
    assert done.session_pnl_pips.sum() == pytest.approx(done.pnl_pips.sum())
    # A position opened at step t and closed at step u is held at the decisions t + 1 to u.
    leave = np.nonzero(done.actions == CLOSE)[1]
    assert done.in_position.sum() == (leave - step).sum()
    assert done.exposure == done.in_position.mean()


def test_progress_ends_at_one_and_never_falls(market):
    seen = []
    run(market, Flat(), batch=7, progress=lambda fraction, figures: seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_starts_must_increase_and_exist(market):
    fills = build_fills(market, CostConfig())
    for starts in ([], [300, 200], [200, 200]):
        with pytest.raises(DataError):
            rollout(market, fills, starts, Flat(), rules=SessionRules(bars=SESSION))


def test_overlapping_sessions_are_counted(market):
    fills = build_fills(market, CostConfig())
    starts = np.array([200, 230, 260, 400])
    done = rollout(market, fills, starts, Flat(), rules=SessionRules(bars=SESSION))
    assert (done.overlapping_sessions, done.bars) == (2, 180)
    apart = np.array([200, 260, 400])
    assert rollout(market, fills, apart, Flat(), rules=SessionRules(bars=SESSION)).overlapping_sessions == 0


def test_flat_does_nothing(market):
    done = run(market, Flat())
    assert len(done.trades) == 0 and done.action_counts.tolist() == [done.decisions, 0, 0, 0]


def test_holders_trade_once_a_session_and_mirror_each_other(market):
    long, short = run(market, buy_and_hold()), run(market, sell_and_hold())
    assert len(long.trades) == len(short.trades) == len(STARTS)
    # Without the fixed 4 pips each is the other's negative.
    assert np.allclose(long.pnl_pips + 4, -(short.pnl_pips + 4))
    first, last = market.open[STARTS + 1], market.close[STARTS + SESSION - 1]
    assert np.allclose(long.pnl_pips, (last - first) / market.pip - 4)


def test_sma_cross_agrees_with_plain_averages_and_reads_nothing_ahead(market):
    policy = SmaCross(market, 5, 20)
    done = run(market, policy)
    side = 0
    for row, start in enumerate(STARTS):
        for step in range(SESSION):
            bar = start + step
            fast, slow = market.close[bar - 4 : bar + 1].mean(), market.close[bar - 19 : bar + 1].mean()
            wanted = 1 if fast > slow else -1
            action = done.actions[row, step]
            if step == SESSION - 1:
                assert action == (CLOSE if side else HOLD)
                side = 0
            elif side == 0:
                assert action == (BUY if wanted > 0 else SELL)
                side = wanted
            elif side == wanted:
                assert action == HOLD
            else:
                assert action == CLOSE
                side = 0
    cut = SmaCross(market.slice(0, 900), 5, 20)
    assert np.array_equal(cut._side, policy._side[:900])
    assert not SmaCross(market.slice(0, 10))._side.any()


def test_random_traders_match_the_turnover(market):
    model = run(market, busy())
    rates = turnover(model)
    draws = [run(market, RandomTrader(rates, seed)) for seed in range(30)]
    assert np.mean([len(draw.trades) for draw in draws]) == pytest.approx(len(model.trades), rel=0.05)
    assert np.mean([draw.exposure for draw in draws]) == pytest.approx(model.exposure, rel=0.05)
    assert np.mean([(draw.trades["side"] > 0).mean() for draw in draws]) == pytest.approx(rates.long_share, abs=0.05)
    assert len({draw.trades.tobytes() for draw in draws}) == 30


def test_comparison_has_every_baseline_and_no_random_one_without_trades(market):
    fills = build_fills(market, CostConfig())
    done = run(market, busy())
    table = compare_with_baselines(done, *run_baselines(done, market, fills, None))
    assert [line.name for line in table.baselines][:3] == ["flat", "buy and hold", "sell and hold"]
    assert table.baselines[0].total_pips == 0.0
    assert 0 < table.random.p_value <= 1
    assert table.random.p5_total_pips < table.random.mean.total_pips < table.random.p95_total_pips
    idle = run(market, Flat())
    assert compare_with_baselines(idle, *run_baselines(idle, market, fills, None)).random is None


@pytest.mark.parametrize("costs", COSTS)
def test_repricing_at_the_same_costs_gives_the_same_results(market, costs):
    done = run(market, busy(), costs)
    assert np.allclose(reprice(done, market, build_fills(market, costs)), done.pnl_pips, atol=1e-10)


@pytest.mark.parametrize("costs", COSTS)
def test_repricing_equals_running_the_same_decisions_at_the_other_costs(market, costs):
    # The random trader does not see its result, so that its decisions are the same at any cost.
    other = replace(costs, kind="fixed", fixed_pips=2.0)
    repriced = reprice(run(market, busy(), costs), market, build_fills(market, other))
    assert np.allclose(repriced, run(market, busy(), other).pnl_pips, atol=1e-10)


def test_cost_sweep_and_break_even(market):
    done = run(market, busy())
    sweep = sweep_costs(done, market, CostConfig())
    fixed = [line for line in sweep.lines if line.group == "spread" and line.fixed_pips is not None]
    assert [line.fixed_pips for line in fixed] == [0, 1, 2, 4]
    assert [line.as_validated for line in fixed] == [False, False, False, True]
    assert fixed[0].expectancy_pips == pytest.approx(sweep.break_even_pips)
    assert fixed[3].total_pips == pytest.approx(done.pnl_pips.sum())
    assert "quoted bid and ask" not in {
        line.name for line in sweep_costs(done, market, CostConfig(), quoted=False).lines
    }
    for judged, name in (
        (CostConfig(fixed_pips=0.6), "0.6 pips fixed"),
        (CostConfig(fixed_pips=3.0, slippage_pips=0.2), "3 pips fixed"),
        (CostConfig(kind="quoted"), "quoted bid and ask"),
    ):
        spreads = [line for line in sweep_costs(done, market, judged, quoted=False).lines if line.group == "spread"]
        assert [line.name for line in spreads if line.as_validated] == [name]
        known = [line.fixed_pips for line in spreads if line.fixed_pips is not None]
        assert known == sorted(known)
    assert sweep_costs(run(market, Flat()), market, CostConfig()).break_even_pips is None


def test_the_sweep_varies_one_cost_at_a_time_and_prices_as_the_environment_does(market):
    costs = CostConfig(kind="quoted", slippage_pips=0.3, financing_long_pips=0.2)
    done = run(market, busy(), costs)
    sweep = sweep_costs(done, market, costs)
    assert sweep.parity_error_pips < 1e-9
    assert {line.group for line in sweep.lines} == {"spread", "slippage", "latency", "financing"}
    slipped = {line.name: line.expectancy_pips for line in sweep.lines if line.group == "slippage"}
    mean = done.pnl_pips.mean()
    # Two fills a trade.
    assert slipped["0.5 pips of slippage a fill"] == pytest.approx(mean - 2 * (0.5 - 0.3))
    assert slipped["1 pip of slippage a fill"] == pytest.approx(mean - 2 * (1.0 - 0.3))
    # Slippage above a tick is stress enough.
    assert sweep.stressed_expectancy_pips == pytest.approx(mean)
    free = run(market, busy())
    assert sweep_costs(free, market, CostConfig()).stressed_expectancy_pips == pytest.approx(free.pnl_pips.mean() - 0.2)


def test_a_defect_in_the_accounting_shows(market):
    done = run(market, busy())
    done.trades["pnl_pips"][3] += 0.5
    assert sweep_costs(done, market, CostConfig()).parity_error_pips == pytest.approx(0.5)


@pytest.mark.parametrize("late", [0, 1, 5, 500])
def test_late_orders_fill_that_many_bars_later_and_never_after_the_session(market, late):
    done = run(market, busy())
    fills = build_fills(market, CostConfig(fixed_pips=0.0))
    pnl = reprice(done, market, fills, late)
    row, step = np.nonzero((done.actions == BUY) | (done.actions == SELL))
    leave = np.nonzero(done.actions == CLOSE)[1]
    for k in range(len(pnl)):
        enter = STARTS[row[k]] + min(step[k] + late, SESSION - 2)
        last = STARTS[row[k]] + min(leave[k] + late, SESSION - 1)
        at_end = last == STARTS[row[k]] + SESSION - 1
        out = market.close[last] if at_end else market.open[last + 1]
        side = 1 if done.actions[row[k], step[k]] == BUY else -1
        assert pnl[k] == pytest.approx(side * (out - market.open[enter + 1]) / market.pip, abs=1e-9)


def test_the_ablation_is_a_line_of_its_own(market):
    fills = build_fills(market, CostConfig())
    done = run(market, busy())
    reduced = run_ablation(done, market, fills, None, busy(2))
    table = compare_with_baselines(done, *run_baselines(done, market, fills, None), reduced)
    assert table.ablation.total_pips == pytest.approx(run(market, busy(2)).pnl_pips.sum())
    best = max(line.total_pips for line in table.baselines)
    assert table.margin_pips == pytest.approx(done.pnl_pips.sum() - best)

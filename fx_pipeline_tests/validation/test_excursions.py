"""Drawdowns bar by bar, against a plain walk over every bar."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fx_pipeline.market.costs import CostConfig, build_fills, judged_costs
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import RandomTrader, Turnover
from fx_pipeline.validation.bootstrap import equity_paths, stationary_indices
from fx_pipeline.validation.excursions import Excursions, deepest_fall
from fx_pipeline.validation.metrics import drawdown
from fx_pipeline.validation.rollout import rollout
from fx_pipeline.validation.safe_f import RiskLimits, safe_f

SESSION = 60
STARTS = np.arange(20) * 70 + 200
PATHS = st.lists(
    hnp.arrays(np.float64, st.integers(1, 6), elements=st.integers(-30, 30).map(float)), min_size=1, max_size=12
)


def moved_of(paths):
    """Results and excursions of trades that are given as their worth after each bar, the last one at the close."""
    highs = [np.maximum.accumulate(np.append(0.0, path))[1:] for path in paths]
    moved = Excursions(
        np.array([min(0.0, path.min()) for path in paths]),
        np.array([high[-1] for high in highs]),
        np.array([(high - path).max() for high, path in zip(highs, paths, strict=True)]),
    )
    return np.array([path[-1] for path in paths]), moved


def walked(paths):
    """Deepest fall of the equity at every bar of every trade."""
    equity, bars = 0.0, [0.0]
    for path in paths:
        bars += (equity + path).tolist()
        equity += path[-1]
    series = np.array(bars)
    return (np.maximum.accumulate(series) - series).max()


def test_a_worked_example():
    # 10 pips are won; the next trade is 30 down, 25 up, closed at 5 up; the last one is 12 up, closed at 4 down.
    paths = [np.array([10.0]), np.array([-30.0, 25.0, 5.0]), np.array([12.0, -4.0])]
    pnl, moved = moved_of(paths)
    assert drawdown(pnl).max() == 4.0
    # From 10 to -20. Not from 35, the highest point, which came behind that.
    assert deepest_fall(pnl, moved) == walked(paths) == 30.0
    # A tenth of a per cent a pip: 1.01 falls to 0.97 times it, and the worst trade leaves that much.
    fractions = [part * 0.001 for part in moved]
    fall = 1 - np.exp(-deepest_fall(np.log1p(pnl * 0.001), Excursions(*fractions).logarithms(1.0)))
    assert fall == pytest.approx(0.03)


@given(PATHS)
def test_three_numbers_a_trade_give_the_drawdown_of_all_bars(paths):
    pnl, moved = moved_of(paths)
    assert deepest_fall(pnl, moved) == walked(paths) >= drawdown(pnl).max()
    assert deepest_fall(pnl, Excursions.of_results(pnl)) == drawdown(pnl).max()


@given(paths=PATHS, block=st.sampled_from([1.0, 2.0, 3.0, 8.0]), seed=st.integers(0, 99))
def test_resampled_paths_are_those_of_closed_trades_and_as_deep_as_their_bars(paths, block, seed):
    pnl, moved = moved_of(paths)
    steps = 2 * len(paths)
    found = equity_paths(pnl, 5, block, seed, (0, 1, steps), steps=steps, moved=moved)
    closed = equity_paths(pnl, 5, block, seed, (0, 1, steps), steps=steps)
    np.testing.assert_array_equal(found.terminal_pips, closed.terminal_pips)
    np.testing.assert_array_equal(found.equity_pips, closed.equity_pips)
    drawn = stationary_indices(len(paths), 5, block, seed, steps=steps)
    assert found.max_drawdown_pips.tolist() == [walked([paths[trade] for trade in row]) for row in drawn]


@pytest.fixture(scope="module")
def market(market_of):
    return market_of(2_000)


@pytest.mark.parametrize("costs", [CostConfig(), CostConfig(kind="quoted"), judged_costs(CostConfig(), "GBP_JPY")])
def test_the_kernel_keeps_what_the_bars_say(market, costs):
    fills = build_fills(market, costs)
    done = rollout(market, fills, STARTS, RandomTrader(Turnover(0.05, 0.05, 0.5), 3), rules=SessionRules(bars=SESSION))
    assert len(done.trades) > 30
    paths = []
    for trade in done.trades:
        side, entry = int(trade["side"]), trade["entry_price"]
        marks = fills.long_mark if side > 0 else fills.short_mark
        carry = fills.carry_long_pips if side > 0 else fills.carry_short_pips
        paid = fills.entry_cost_pips[trade["entry_bar"] - 1]
        # The bars at whose end it was open: from that of the entry on, and none after that of the exit.
        bars = trade["entry_bar"] + np.arange(trade["bars_held"])
        held = paid + np.array([carry[trade["entry_bar"] : bar].sum() for bar in bars])
        path = side * (marks[bars] - entry) / market.pip - held
        at_end = trade["exit_bar"] == STARTS[trade["session"]] + SESSION - 1
        if at_end and side * (trade["exit_price"] - marks[trade["exit_bar"]]) == pytest.approx(
            -costs.slippage_pips * market.pip
        ):
            # Closed by the session's end: that bar's mark is the fill.
            path = path[:-1]
        paths.append(np.append(path, trade["pnl_pips"]))
    assert done.deepest_fall_pips == pytest.approx(walked(paths))
    assert done.deepest_fall_pips > drawdown(done.pnl_pips).max()
    # One exposure: decisions taken with a position open are the bars that trades were held for.
    assert done.trades["bars_held"].sum() == done.in_position.sum()


def test_safe_f_takes_the_depth_of_the_bars():
    rng = np.random.default_rng(1)
    # Each trade is 1 % down before it wins 0.3 % on average: closed trades do not show that.
    returns = 0.003 + 0.004 * rng.standard_normal(200)
    moved = Excursions.of_results(returns)
    low = np.minimum(moved.low, -0.01)
    deep = moved._replace(low=low, fall=np.maximum(moved.fall, -low))
    limits = RiskLimits(200, 2.0)
    blind = safe_f(returns, limits, seed=1, runs=200, sets=2, block=1.0)
    same = safe_f(returns, limits, seed=1, runs=200, sets=2, block=1.0, moved=moved)
    seen = safe_f(returns, limits, seed=1, runs=200, sets=2, block=1.0, moved=deep)
    assert same.safe_f == pytest.approx(blind.safe_f) and same.car25 == pytest.approx(blind.car25)
    assert seen.safe_f < blind.safe_f and seen.safe_f < 0.10 / 0.01 + 1e-9
    assert all(one.tail_drawdown <= 0.10 + 1e-6 for one in seen.sets)


def test_a_trade_that_was_ruin_on_its_way_limits_the_size():
    returns, low = np.array([0.01, 0.02, 0.01]), np.array([0.0, -0.5, 0.0])
    moved = Excursions(low, returns, -low)
    found = safe_f(returns, RiskLimits(3, 2.0, tolerance=0.9), seed=1, runs=50, sets=1, moved=moved)
    assert found.safe_f <= 2.0


def test_a_scaled_excursion_is_a_fraction_of_its_own_position():
    moved = Excursions(np.array([-2.0, 0.0]), np.array([1.0, 3.0]), np.array([2.0, 1.0]))
    assert moved.worst == -2.0 and moved.scaled([0.5, 2.0]).high.tolist() == [0.5, 6.0]

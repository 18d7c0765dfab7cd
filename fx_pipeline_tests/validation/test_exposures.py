"""Everything that validation asks of trades, for every action set: the sums stay exact."""

from dataclasses import replace

import numpy as np
import pytest

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.action_sets import ACTION_SETS, LEVERAGE7, LONG_FLAT, UNIT4
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.position import PIPS
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.costs import CostConfig, build_fills, judged_costs
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.baselines import Held, RandomTrader, Transitions, Turnover, turnover
from fx_pipeline.validation.comparison import left_out, run_baselines
from fx_pipeline.validation.context import ReportContext
from fx_pipeline.validation.costs import reprice, sweep_costs
from fx_pipeline.validation.excursions import deepest_fall
from fx_pipeline.validation.legs import legs_of
from fx_pipeline.validation.parity import UNITS, replay_at_broker, units_of
from fx_pipeline.validation.random_traders import random_moments
from fx_pipeline.validation.report_page import render_page
from fx_pipeline.validation.rollout import rollout
from fx_pipeline.validation.validate import validate_policy

SESSION = 30
RULES = SessionRules(bars=SESSION, window_bars=1)
# The last one lies about 17:00 New York, which is bar 1,260.
STARTS = np.append(np.arange(20) * 45 + 200, 1_240)
SETS = pytest.mark.parametrize("actions", ACTION_SETS.values(), ids=ACTION_SETS)
COSTS = {
    "fixed": CostConfig(financing_long_pips=3.0, financing_short_pips=-2.0, slippage_pips=0.2),
    "quoted at the close": CostConfig(kind="quoted", fill="close", financing_long_pips=3.0),
    "profile": CostConfig(kind="profile", financing_short_pips=1.0),
    "judged": judged_costs(CostConfig(), "GBP_JPY"),
}


class AnyExposure(Stateless):
    """Asks for any exposure by a hash of the bar, and keeps it for about three bars; it does not see its result."""

    def __init__(self, actions, seed=1):
        self.actions, self.seed = actions, seed

    def choose(self, observation):
        """Return the (B,) actions."""
        word = (observation.bar + 1_000_003 * self.seed) * 2_654_435_761 % 2**32
        held = observation.static[:, 0]
        wanted = np.where(word % 3 == 0, np.array(self.actions.levels)[word // 7 % len(self.actions.levels)], held)
        return self.actions.toward(wanted, held, observation.legal)


@pytest.fixture(scope="module")
def market(market_of):
    return market_of(1_300)


def run(market, actions, costs=CostConfig(), policy=None, starts=STARTS):  # noqa: B008
    player = policy or AnyExposure(actions)
    return rollout(market, build_fills(market, costs), starts, player, rules=RULES, actions=actions)


@SETS
def test_what_was_held_is_what_the_trades_say(market, actions):
    done = run(market, actions)
    assert len(done.trades) > 30
    assert done.action_counts.shape == (len(actions),) and done.action_counts.sum() == done.decisions
    assert not done.held[:, 0].any() and not done.wanted[:, -1].any()
    added, gone = legs_of(done)
    count = len(done.trades)
    for legs in (added, gone):
        np.testing.assert_allclose(np.bincount(legs.trade, legs.size, count), done.trades["opened"], rtol=1e-12)
        assert (done.trades["session"][legs.trade] == legs.session).all()
    first = np.full(count, SESSION)
    np.minimum.at(first, added.trade, added.step)
    assert (done.trades["entry_bar"] == STARTS[done.trades["session"]] + first + 1).all()
    greatest = np.zeros(count)
    np.maximum.at(greatest, added.trade, np.abs(done.wanted[added.session, added.step]))
    np.testing.assert_allclose(greatest, done.trades["exposure"])


@SETS
@pytest.mark.parametrize("costs", COSTS)
def test_repricing_equals_running_the_same_decisions(market, actions, costs):
    done = run(market, actions, COSTS[costs])
    assert np.allclose(reprice(done, market, build_fills(market, COSTS[costs])), done.pnl_pips, rtol=0, atol=1e-9)
    other = replace(CostConfig(fill=COSTS[costs].fill), fixed_pips=2.0, financing_long_pips=1.0)
    again = run(market, actions, other)
    assert (again.actions == done.actions).all()
    assert np.allclose(reprice(done, market, build_fills(market, other)), again.pnl_pips, rtol=0, atol=1e-9)


@SETS
@pytest.mark.parametrize("late", [1, 500])
def test_late_orders_open_and_close_as_much(market, actions, late):
    """On a market that only rises, a pip a bar, what is late by a bar earns the same but at a session's end."""
    done = run(market, actions)
    rising = replace(market, **{name: 150 + 0.01 * (np.arange(1_300) - (name == "open")) for name in ("open", "close")})
    fills = build_fills(rising, CostConfig(fixed_pips=0.0))
    pnl = reprice(done, rising, fills, late)
    assert pnl.shape == (len(done.trades),) and np.isfinite(pnl).all()
    last = np.zeros(len(pnl), dtype=np.int64)
    np.maximum.at(last, legs_of(done)[1].trade, legs_of(done)[1].step)
    inside = last + late < SESSION - 1
    np.testing.assert_allclose(pnl[inside], reprice(done, rising, fills)[inside], rtol=0, atol=1e-8)
    if late == 500:
        # All that is opened is opened at the last bar's open, and closed at its close: a pip.
        np.testing.assert_allclose(pnl, done.trades["side"] * done.trades["opened"], rtol=0, atol=1e-8)


@SETS
def test_break_even_is_paid_on_what_was_opened(market, actions):
    done = run(market, actions)
    sweep = sweep_costs(done, market, CostConfig())
    assert sweep.parity_error_pips < 1e-9
    again = reprice(done, market, build_fills(market, CostConfig(fixed_pips=max(sweep.break_even_pips, 0.0))))
    expected = 0.0 if sweep.break_even_pips > 0 else done.trades["opened"].sum() * sweep.break_even_pips
    assert again.sum() == pytest.approx(expected, abs=1e-7)


@SETS
def test_the_drawdown_bar_by_bar_is_that_of_the_equity(market, actions):
    """Trades one after the other: every close of a bar and every closing fill is a point of the equity."""
    costs = COSTS["quoted at the close"]
    fills = build_fills(market, costs)
    for start in STARTS[:8].tolist():
        done = run(market, actions, costs, starts=[start])
        environment = LockstepEnvironment(market, fills, RewardConfig(), RULES, actions)
        environment.reset(np.array([start]))
        equity, closed = [0.0], 0
        for action in done.actions[0]:
            environment.step(np.array([int(action)]))
            pnl = environment.trades()["pnl_pips"]
            equity += [pnl[: number + 1].sum() for number in range(closed, len(pnl))]
            closed = len(pnl)
            equity.append(pnl.sum() + environment.positions[0, PIPS])
        fall = (np.maximum.accumulate(equity) - equity).max()
        assert deepest_fall(done.pnl_pips, done.excursions) == pytest.approx(fall)
        assert equity[-1] == pytest.approx(done.pnl_pips.sum())


@SETS
@pytest.mark.parametrize("costs", COSTS)
def test_the_broker_makes_the_same_trades_bar_for_bar(market, actions, costs):
    rounded = {
        name: np.round(getattr(market, name), 3)
        for name in ("open", "high", "low", "close", "bid_open", "ask_open", "bid_close", "ask_close")
    }
    shown = replace(market, **rounded)
    for policy in (AnyExposure(actions), Held(max(actions.levels), "held", actions)):
        done = run(shown, actions, COSTS[costs], policy)
        found = replay_at_broker(done, shown, COSTS[costs])
        assert (found.replayed, found.trades, found.differing) == (len(done.trades), len(done.trades), 0)
        assert found.largest_difference_pips < 1e-6
    assert units_of(actions) == (3 * UNITS if actions is LEVERAGE7 else UNITS)


@pytest.mark.parametrize("field", ["pnl_pips", "exposure", "exit_bar", "side"])
def test_a_trade_of_another_size_or_result_differs(market, field):
    done = run(market, LEVERAGE7)
    told = done.trades.copy()
    told[field][5] = {
        "pnl_pips": told[field][5] + 0.1,
        "exposure": 1 - told[field][5] / 2,
        "side": -told[field][5],
    }.get(field, told[field][5] + 1)
    assert replay_at_broker(replace(done, trades=told), market, CostConfig()).differing == 1


@SETS
def test_baselines_play_the_actions_that_there_are(market, actions):
    done = run(market, actions)
    baselines, moments = run_baselines(done, market, build_fills(market, CostConfig()), None)
    short = min(actions.levels) < 0
    assert list(baselines) == [
        "flat", "buy and hold", *(["sell and hold"] if short else []),
        "SMA cross 30/120" if short else "SMA cross 30/120, long only",
    ]  # fmt: skip
    assert left_out(actions) == (
        [] if short else [
            "Actions of long_flat have no short side: sell and hold is left out, the SMA cross is long."
        ]
    )  # fmt: skip
    assert not len(baselines["flat"].trades)
    assert (baselines["buy and hold"].held[:, 1:] == 1.0).all()
    unit = run_baselines(run(market, UNIT4), market, build_fills(market, CostConfig()), None)[0]
    for name, one in baselines.items():
        if name in unit and "SMA" not in name:
            assert one.session_pnl_pips.tobytes() == unit[name].session_pnl_pips.tobytes()
    assert moments.trades.shape == (len(STARTS),) and np.isfinite(moments.pips).all()


@pytest.mark.parametrize("actions", [LONG_FLAT, LEVERAGE7], ids=lambda actions: actions.name)
def test_random_traders_have_the_moments_and_the_turnover_of_their_habit(market, actions):
    habit = turnover(run(market, actions))
    assert isinstance(habit, Transitions) and habit.levels == actions.levels
    np.testing.assert_allclose(habit.shares.sum(axis=1), 1.0)
    costs = CostConfig(financing_long_pips=30.0, financing_short_pips=-20.0, slippage_pips=0.2)
    moments = random_moments(market, build_fills(market, costs), STARTS, SESSION, habit)
    runs = [run(market, actions, costs, RandomTrader(habit, int(seed), actions)) for seed in range(150)]
    pnl = np.array([one.session_pnl_pips for one in runs])
    error = pnl.std(axis=0) / np.sqrt(len(runs))
    assert (np.abs(pnl.mean(axis=0) - moments.pips[:, 0]) < 4.5 * error).all()
    assert pnl.var(axis=0).mean() == pytest.approx(moments.pips[:, 1].mean(), rel=0.1)
    assert np.mean([len(one.trades) for one in runs]) == pytest.approx(moments.trades.sum(), rel=0.05)
    measured = np.mean([turnover(one).moves for one in runs], axis=0)
    np.testing.assert_allclose(measured, habit.moves, atol=0.05)


def test_the_two_ways_to_say_a_habit_agree(market):
    """Where a long is left as easily as a short, one unit's turnover is a table of transitions."""
    fills = build_fills(market, COSTS["judged"])
    unit = Turnover(0.2, 0.1, 0.7)
    table = Transitions(unit.levels, unit.moves, unit.shares)
    one, other = (random_moments(market, fills, STARTS, SESSION, habit) for habit in (unit, table))
    assert one.pips.tobytes() == other.pips.tobytes() and one.trades.tobytes() == other.trades.tobytes()
    with pytest.raises(ValueError, match="cannot be had with leverage7"):
        RandomTrader(unit, 1, LEVERAGE7)


@pytest.mark.parametrize("actions", [LONG_FLAT, LEVERAGE7], ids=lambda actions: actions.name)
def test_a_report_of_other_actions_names_them_and_adds_up(market, actions):
    context = ReportContext("GBP_JPY", "2016-05", episodes=300)
    report = validate_policy(
        market, STARTS, AnyExposure(actions), costs=CostConfig(), reward=RewardConfig(), seed=1, context=context,
        mc_runs=50, rules=RULES, actions=actions,
    )  # fmt: skip
    figures = report["figures"]
    assert tuple(figures["action_counts"]) == actions.names
    assert figures["parity"]["differing"] == 0 and figures["parity_error_pips"] < 1e-9
    assert sum(figures["trade_list"]["pnl_pips"]) == pytest.approx(figures["total_pips"])
    assert ("exposure" in figures["trade_list"]) == actions.sized
    assert any("sell and hold is left out" in said for said in figures["warnings"]) == (actions is LONG_FLAT)
    page = render_page(report)
    assert actions.names[1] in page

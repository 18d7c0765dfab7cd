"""What holds of every action set: legality, what a change costs, that nothing is lost, and a market upside down."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.environment import position as pk
from fx_pipeline.environment.action_sets import ACTION_SETS, LEVERAGE7, LONG_FLAT, UNIT4, ActionSet
from fx_pipeline.environment.lockstep import IllegalActionError, LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline_tests.environment.test_against_reference import COSTS

MakeMarket = Callable[..., MarketArrays]
RandomMarket = Callable[[int, int], MarketArrays]
RULES = SessionRules(bars=40, window_bars=4)
#: Every change of the position's worth is rewarded, and nothing else.
MARKED = RewardConfig(kind="dense", drawdown_weight=0.0, idle_reward=0.0)
SETS = pytest.mark.parametrize("actions", ACTION_SETS.values(), ids=ACTION_SETS)


def environment_of(market: MarketArrays, costs: CostConfig, actions: ActionSet, **rest: Any) -> LockstepEnvironment:
    return LockstepEnvironment(market, build_fills(market, costs), rest.get("reward", MARKED), RULES, actions)


def at_random(legal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)


def trade_by(market: MarketArrays, targets: list[float], actions: ActionSet, **costs: Any) -> tuple[Any, list[float]]:
    """Hold one exposure after another, a bar each, from bar 10 on; return the trades and the dense rewards."""
    environment = LockstepEnvironment(
        market, build_fills(market, CostConfig(**costs)), MARKED, replace(RULES, bars=len(targets)), actions
    )
    environment.reset(np.array([10]))
    rewards = [environment.step(np.array([actions.targets.index(target)])).rewards[0] for target in targets]
    return environment.trades(), rewards


@SETS
def test_legal_are_every_target_before_the_last_bar_and_flat_alone_at_it(
    random_market: RandomMarket, actions: ActionSet
) -> None:
    environment, rng = environment_of(random_market(1, 200), CostConfig(), actions), np.random.default_rng(1)
    observation = environment.reset(rng.integers(5, 150, 32))
    for step in range(RULES.bars):
        for row, held in zip(observation.legal, observation.static[:, 0], strict=True):
            allowed = [actions.targets[action] for action in np.flatnonzero(row)]
            if step == RULES.bars - 1:
                assert allowed == ([None] if actions.through_flat and held == 0 else [0.0])
            elif not actions.through_flat:
                assert allowed == list(actions.targets)
            else:
                assert allowed == ([None, 0.0] if held else [None, 1.0, -1.0])
        observation = environment.step(at_random(observation.legal, rng)).observation
    assert not environment.positions.any(), "nothing is carried out of a session"


@SETS
def test_the_compiled_table_says_what_the_set_says(actions: ActionSet) -> None:
    assert actions.legal_table.shape == (2, 2, len(actions))
    assert [level == 0.0 for level in actions.levels].count(True) == 1
    assert sorted(actions.levels, reverse=True) == list(actions.levels)
    for last in (0, 1):
        for held in (0, 1):
            legal = actions.legal_table[last, held][None]
            for action in range(len(actions)):
                played = actions.playable([action], legal)[0]
                assert legal[0, played] and (played == action) == legal[0, action]


def test_an_illegal_exposure_is_refused(random_market: RandomMarket) -> None:
    environment = environment_of(random_market(1, 100), CostConfig(), LEVERAGE7)
    environment.reset(np.array([10]))
    for _ in range(RULES.bars - 1):
        environment.step(np.array([LEVERAGE7.targets.index(1.0)]))
    with pytest.raises(IllegalActionError, match=r"session 0: action 6 is illegal, legal are \[3\]"):
        environment.step(np.array([6]))
    with pytest.raises(IllegalActionError, match="action 7"):
        environment.step(np.array([7]))


@SETS
def test_going_toward_an_exposure_is_legal_and_gets_there(random_market: RandomMarket, actions: ActionSet) -> None:
    environment, rng = environment_of(random_market(2, 200), CostConfig(), actions), np.random.default_rng(2)
    observation = environment.reset(rng.integers(5, 150, 16))
    for step in range(RULES.bars):
        held, wanted = observation.static[:, 0], rng.choice(actions.levels, 16)
        turns = actions.through_flat & (held != 0) & (wanted != np.round(held))
        observation = environment.step(actions.toward(wanted, held, observation.legal)).observation
        expected = 0.0 if step == RULES.bars - 1 else np.where(turns, 0.0, wanted)
        np.testing.assert_allclose(observation.static[:, 0], np.broadcast_to(expected, 16), atol=1e-7)


@pytest.mark.parametrize("actions", [UNIT4, LONG_FLAT, LEVERAGE7], ids=lambda actions: actions.name)
def test_an_environment_says_what_its_observations_look_like(random_market: RandomMarket, actions: ActionSet) -> None:
    environment = environment_of(random_market(1, 100), CostConfig(), actions)
    observation = environment.reset(np.array([10, 20]))
    environment.spec.check(observation)
    assert environment.spec == ObservationSpec(
        window_bars=4, features=9, static=pk.NUM_STATIC, actions=len(actions), action_set=actions.name
    )


# Closes of 187.00 and then 3 pips a bar; each bar opens at the close before it.
def rising(make_market: MakeMarket) -> MarketArrays:
    return make_market(187.0 + 0.03 * np.arange(60))


def test_the_worked_example_of_a_partial_change(make_market: MakeMarket) -> None:
    """As docs/trading.md tells it: a third is added to by two thirds, then two thirds are let go."""
    trades, rewards = trade_by(rising(make_market), [1 / 3, 1.0, 1 / 3, 0.0, 0.0], LEVERAGE7, fixed_pips=4.0)
    (trade,) = trades
    assert (trade["side"], trade["exposure"], trade["opened"]) == (1, 1.0, 1.0)
    # A third at 0 pips and two thirds at 3: the average entry is 2. Two thirds leave at 6, a third at 9.
    assert trade["entry_price"] == pytest.approx(187.3 + 0.02) and trade["exit_price"] == pytest.approx(187.3 + 0.07)
    assert trade["cost_pips"] == pytest.approx(4.0) and trade["pnl_pips"] == pytest.approx(5.0 - 4.0)
    assert rewards == pytest.approx([1 - 4 / 3, 3 - 8 / 3, 1.0, 0.0, 0.0])
    assert (trade["entry_bar"], trade["exit_bar"], trade["bars_held"]) == (11, 14, 3)


def test_what_grows_again_pays_again(make_market: MakeMarket) -> None:
    trades, _ = trade_by(rising(make_market), [1.0, 1 / 3, 2 / 3, 0.0, 0.0], LEVERAGE7, fixed_pips=3.0)
    (trade,) = trades
    assert trade["exposure"] == 1.0 and trade["opened"] == pytest.approx(4 / 3)
    assert trade["cost_pips"] == pytest.approx(4.0)
    assert trade["pnl_pips"] == pytest.approx(2 / 3 * 3 + 1 / 3 * 9 + 1 / 3 * 3 - 4.0)


def test_the_worked_example_of_a_reversal(make_market: MakeMarket) -> None:
    """As docs/trading.md tells it: one order at one price closes a trade and opens the other side."""
    trades, rewards = trade_by(rising(make_market), [1.0, 1.0, -2 / 3, 0.0, 0.0], LEVERAGE7, fixed_pips=3.0)
    first, second = trades
    assert (first["side"], first["exposure"], second["side"]) == (1, 1.0, -1)
    assert second["exposure"] == pytest.approx(2 / 3)
    assert first["exit_price"] == second["entry_price"] and first["exit_bar"] == second["entry_bar"] == 13
    assert first["pnl_pips"] == pytest.approx(6.0 - 3.0) and first["cost_pips"] == 3.0
    assert second["pnl_pips"] == pytest.approx(-2 / 3 * 3 - 2.0) and second["cost_pips"] == pytest.approx(2.0)
    assert rewards == pytest.approx([0.0, 3.0, -4.0, 0.0, 0.0])


def test_half_of_a_spread_and_of_a_slip_is_paid_on_half_of_a_position(make_market: MakeMarket) -> None:
    """On a market that stands still a trade costs its exposure times the whole spread, whatever its kind."""
    still = make_market(np.full(60, 187.0))
    for costs in ({"fixed_pips": 2.0}, {"kind": "quoted"}, {"fixed_pips": 0.0, "slippage_pips": 1.0}):
        whole, third = (
            trade_by(still, [size, size, 0.0, 0.0], LEVERAGE7, **costs)[0]["pnl_pips"][0] for size in (1.0, 1 / 3)
        )
        assert whole == pytest.approx(-2.0) and third == pytest.approx(-2.0 / 3)


@SETS
@settings(max_examples=40, deadline=None)
@given(costs=COSTS, seed=st.integers(0, 2**32 - 1))
def test_trades_add_up_to_the_equity_and_to_a_purse(
    random_market: RandomMarket, actions: ActionSet, costs: CostConfig, seed: int
) -> None:
    """Sum of the trades = sum of the changes of equity = what a purse holds that pays and gets for each change."""
    market, rng = random_market(seed, 120), np.random.default_rng(seed)
    fills = build_fills(market, costs)
    environment = environment_of(market, costs, actions)
    starts = rng.integers(3, 80, 6)
    observation = environment.reset(starts)
    equity, purse, held = np.zeros(6), np.zeros(6), np.zeros(6)
    for step in range(RULES.bars):
        chosen = at_random(observation.legal, rng)
        last = step == RULES.bars - 1
        for row, action in enumerate(chosen.tolist()):
            bar, asked = int(starts[row]) + step, actions.targets[action]
            target = held[row] if asked is None else asked
            change = target - held[row]
            buy, sell = (fills.last_buy, fills.last_sell) if last else (fills.buy, fills.sell)
            # From the level of the first bar, so that a purse of whole prices does not round.
            price = (buy if change > 0 else sell)[bar] - market.close[starts[row]]
            added = max(target, 0.0) - max(held[row], 0.0), max(-target, 0.0) - max(-held[row], 0.0)
            purse[row] -= change * price / market.pip
            purse[row] -= sum(max(one, 0.0) for one in added) * fills.entry_cost_pips[bar]
            night = 0.0 if last else target if fills.at_close else held[row]
            carry = fills.carry_long_pips if night > 0 else fills.carry_short_pips
            purse[row] -= abs(night) * carry[bar]
            held[row] = target
        step_ = environment.step(chosen)
        equity += step_.rewards
        observation = step_.observation
    trades = environment.trades()
    np.testing.assert_allclose(np.bincount(trades["session"], trades["pnl_pips"], 6), purse, rtol=0, atol=1e-8)
    np.testing.assert_allclose(equity, purse, rtol=0, atol=1e-8)
    gained = trades["side"] * trades["opened"] * (trades["exit_price"] - trades["entry_price"]) / market.pip
    np.testing.assert_allclose(gained - trades["cost_pips"], trades["pnl_pips"], rtol=0, atol=1e-8)
    assert (trades["exposure"] > 0).all() and (trades["opened"] >= trades["exposure"] - 1e-12).all()


def upside_down(market: MarketArrays) -> MarketArrays:
    """The market whose prices fall where they rose."""
    turned = {name: 2 * 187.0 - getattr(market, name) for name in ("open", "close")}
    turned |= {"high": 2 * 187.0 - market.low, "low": 2 * 187.0 - market.high}
    for field in ("open", "close"):
        turned[f"bid_{field}"] = 2 * 187.0 - getattr(market, f"ask_{field}")
        turned[f"ask_{field}"] = 2 * 187.0 - getattr(market, f"bid_{field}")
    return replace(market, **turned)


@pytest.mark.parametrize(
    "actions", [one for one in ACTION_SETS.values() if one.mirror], ids=lambda actions: actions.name
)
@settings(max_examples=40, deadline=None)
@given(costs=COSTS.filter(lambda costs: costs.kind != "profile"), seed=st.integers(0, 2**32 - 1))
def test_mirrored_actions_earn_the_same_in_the_market_upside_down(
    random_market: RandomMarket, actions: ActionSet, costs: CostConfig, seed: int
) -> None:
    market, rng = random_market(seed, 120), np.random.default_rng(seed)
    other_costs = replace(
        costs, financing_long_pips=costs.financing_short_pips, financing_short_pips=costs.financing_long_pips
    )
    reward = RewardConfig()
    one = environment_of(market, costs, actions, reward=reward)
    other = environment_of(upside_down(market), other_costs, actions, reward=reward)
    mirror = np.array(actions.mirror)
    starts = rng.integers(3, 80, 6)
    seen, mirrored = one.reset(starts), other.reset(starts)
    for _ in range(RULES.bars):
        assert (mirrored.legal[:, mirror] == seen.legal).all()
        np.testing.assert_allclose(mirrored.static[:, 0], -seen.static[:, 0])
        np.testing.assert_allclose(mirrored.static[:, 1:], seen.static[:, 1:], rtol=0, atol=1e-6)
        chosen = at_random(seen.legal, rng)
        step, turned = one.step(chosen), other.step(mirror[chosen])
        np.testing.assert_allclose(turned.rewards, step.rewards, rtol=0, atol=1e-8)
        seen, mirrored = step.observation, turned.observation
    trades, turned_trades = one.trades(), other.trades()
    assert (trades["side"] == -turned_trades["side"]).all()
    for name in ("pnl_pips", "cost_pips", "exposure", "opened", "drawdown_pips", "amddp1"):
        np.testing.assert_allclose(trades[name], turned_trades[name], rtol=0, atol=1e-8)


@SETS
def test_the_length_and_the_window_of_a_session_are_those_of_the_rules(
    random_market: RandomMarket, actions: ActionSet
) -> None:
    market = random_market(4, 120)
    for bars, window in ((2, 1), (7, 3), (31, 8)):
        environment = LockstepEnvironment(
            market,
            build_fills(market, CostConfig()),
            rules=SessionRules(bars=bars, window_bars=window),
            actions=actions,
        )
        observation, steps, done = environment.reset(np.array([window - 1, 60])), 0, False
        while not done:
            assert observation.temporal.shape == (2, window, 9)
            step = environment.step(at_random(observation.legal, np.random.default_rng(steps)))
            observation, done, steps = step.observation, step.done, steps + 1
        assert steps == bars

"""AMDDP1 and its variants on paths whose rewards are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.environment import position as pk
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules

#: Unrealised pips after costs at each bar's close; the trade is closed at the last of them (SPEC section 8).
PATH = [-4.0, -6.0, -3.0, 2.0, 8.0, 5.0, 9.0, 6.0]
MakeMarket = Callable[..., MarketArrays]


def run_path(make_market: MakeMarket, path: list[float], side: int, fill: Any, reward: RewardConfig) -> Any:
    """Trade a market that takes an entry through `path`; return the trade and the rewards of each step."""
    lead = 3
    pips = np.concatenate([np.zeros(lead + 1), np.array(path) + 4.0, [path[-1] + 4.0] * 2])
    close = 187.0 + side * 0.01 * pips
    market = make_market(close)
    bars = len(path) + 2
    environment = LockstepEnvironment(
        market, build_fills(market, CostConfig(fill=fill)), reward, SessionRules(bars=bars, window_bars=4)
    )
    environment.reset(np.array([lead]))
    rewards = [environment.step(np.array([BUY if side > 0 else SELL])).rewards[0]]
    rewards += [environment.step(np.array([HOLD])).rewards[0] for _ in range(len(path) - 1)]
    rewards.append(environment.step(np.array([CLOSE])).rewards[0])
    return environment.trades()[0], rewards


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize(
    ("drawdown", "total", "expected"), [("increases", 12.0, 5.88), ("maximum", 6.0, 5.94), ("area", 19.0, 5.81)]
)
def test_the_golden_path(
    make_market: MakeMarket, side: int, fill: str, drawdown: Any, total: float, expected: float
) -> None:
    trade, rewards = run_path(make_market, PATH, side, fill, RewardConfig(drawdown=drawdown))
    assert trade["pnl_pips"] == pytest.approx(6.0, abs=1e-9)
    assert trade["drawdown_pips"] == pytest.approx(total, abs=1e-9)
    assert trade["amddp1"] == pytest.approx(expected, abs=1e-9)
    assert rewards == [0.0] * len(PATH) + [pytest.approx(expected, abs=1e-9)]


@pytest.mark.parametrize("drawdown", ["increases", "maximum", "area"])
def test_dense_rewards_of_the_golden_path_sum_to_its_amddp1(make_market: MakeMarket, drawdown: Any) -> None:
    trade, rewards = run_path(make_market, PATH, 1, "next_open", RewardConfig(kind="dense", drawdown=drawdown))
    assert sum(rewards) == pytest.approx(trade["amddp1"], abs=1e-9)
    assert rewards[0] == pytest.approx(-4.0 - 0.01 * 4.0, abs=1e-9)


@pytest.mark.parametrize(("pnl", "expected"), [(0.05, 0.01), (0.0, -0.12), (-2.5, -2.62), (6.0, 5.88)])
def test_the_profit_floor(pnl: float, expected: float) -> None:
    assert pk.amddp1(pnl, 12.0, 0.01, 0.01) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    path=st.lists(st.floats(-50, 50, allow_nan=False), min_size=1, max_size=25),
    side=st.sampled_from([1, -1]),
    fill=st.sampled_from(["next_open", "close"]),
    drawdown=st.sampled_from(["increases", "maximum", "area"]),
)
def test_dense_rewards_sum_to_pnl_less_the_weighted_drawdown(
    make_market: MakeMarket, path: list[float], side: int, fill: str, drawdown: Any
) -> None:
    trade, rewards = run_path(make_market, path, side, fill, RewardConfig(kind="dense", drawdown=drawdown))
    assert sum(rewards) == pytest.approx(trade["pnl_pips"] - 0.01 * trade["drawdown_pips"], abs=1e-8)


@given(path=st.lists(st.floats(-50, 50, allow_nan=False), min_size=1, max_size=40))
def test_position_features_and_drawdowns_keep_their_bounds(path: list[float]) -> None:
    position = np.zeros(pk.POSITION_SIZE)
    pk.open_position(position, 1, 187.0, 4.0)
    for pips in path:
        before = position.copy()
        pk.mark(position, 187.0 + 0.01 * pips, 0.01)
        assert position[pk.PEAK] >= max(0.0, before[pk.PEAK], position[pk.PIPS])
        assert position[pk.ACCUMULATED] >= position[pk.MAX_DRAWDOWN] >= position[pk.DRAWDOWN] >= 0.0
        assert position[pk.ACCUMULATED] >= before[pk.ACCUMULATED]
    static = np.zeros(pk.NUM_STATIC, dtype=np.float32)
    pk.write_static(position, static, 1.0)
    assert static[0] == 1.0 and (np.abs(static) <= 1.0).all() and static[3] <= 0.0
    position[:] = 0.0
    pk.write_static(position, static, 1.0)
    assert not static.any()


@pytest.mark.parametrize("settings_", [{"kind": "sharpe"}, {"drawdown": "mean"}])
def test_unknown_rewards_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="unknown"):
        RewardConfig(**settings_)

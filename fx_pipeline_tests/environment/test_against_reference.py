"""A second account of SPEC sections 4, 7 and 8: one session, plain Python, written without a look at the kernel."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.environment.trades import TRADE_DTYPE
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.spreads import DEFAULT_LONDON_SPREAD_PIPS, SPREAD_SHAPE

HOLD, BUY, SELL, CLOSE = range(4)
MINUTE_NS = 60 * 10**9
NEW_YORK = ZoneInfo("America/New_York")


class ReferenceSession:
    """Trades one unit, net, for `bars` decisions from bar `start` on."""

    def __init__(
        self, market: MarketArrays, costs: CostConfig, reward: RewardConfig, start: int, bars: int, row: int
    ) -> None:
        self.market, self.costs, self.reward, self.row = market, costs, reward, row
        self.t, self.end = start, start + bars - 1
        self.side = 0
        self.trades: list[dict[str, float]] = []

    def legal(self) -> list[bool]:
        last = self.t == self.end
        if self.side:
            return [not last, False, False, True]
        return [True, not last, not last, False]

    def static(self) -> list[float]:
        if not self.side:
            return [0.0] * 6
        features = (self.pips, self.held, self.pips - self.high_water, self.worst, self.increases)
        return [float(self.side), *(math.tanh(value / 100) for value in features)]

    def step(self, action: int) -> float:
        """Act at the close of bar t and move to bar t + 1; return the reward."""
        assert self.legal()[action], (action, self.legal())
        reward = 0.0
        if not self.side and action == HOLD:
            self.t += 1
            return self.reward.idle_reward
        before = self.value() if self.side else 0.0
        if action in (BUY, SELL):
            self.enter(1 if action == BUY else -1)
            reward += self.reward.entry_reward
        if action == CLOSE:
            price, bar, instant = self.fill(-self.side)
            self.mark(price, instant)
            after, pnl, total = self.value(), self.pips, self.drawdown()
            amddp1 = pnl - self.reward.drawdown_weight * total
            if pnl > 0:
                amddp1 = max(amddp1, self.reward.profit_floor)
            self.trades.append(
                {
                    "session": self.row,
                    "side": self.side,
                    "entry_bar": self.entry_bar,
                    "exit_bar": bar,
                    "entry_time": int(self.market.time[self.entry_bar]),
                    "exit_time": int(self.market.time[bar]),
                    "entry_price": self.entry,
                    "exit_price": price,
                    "cost_pips": self.cost + self.financing(instant),
                    "pnl_pips": pnl,
                    "drawdown_pips": total,
                    "max_drawdown_pips": self.worst,
                    "peak_pips": self.high_water,
                    "low_pips": self.low_water,
                    "bars_held": self.held,
                    "amddp1": amddp1,
                    "exposure": 1.0,
                    "opened": 1.0,
                }
            )
            self.side = 0
            reward += amddp1 if self.reward.kind == "amddp1" else after - before
        else:
            following = self.t + 1
            close = self.liquidation(following)
            # One instant before the minute is over: the night that begins with the next bar is not yet charged.
            self.mark(close, int(self.market.time[following]) + MINUTE_NS - 1)
            self.held += 1
            self.area += self.high_water - self.pips
            reward += self.value() - before if self.reward.kind == "dense" else 0.0
        self.t += 1
        return reward

    def quote(self, sign: int, bar: int, field: str) -> float:
        """What a buyer (1) pays or a seller (-1) gets at the open or the close of a bar."""
        if self.costs.kind != "quoted":
            return float(getattr(self.market, field)[bar])
        return float(getattr(self.market, f"{'ask' if sign > 0 else 'bid'}_{field}")[bar])

    def fill(self, sign: int) -> tuple[float, int, int]:
        """Price, bar and instant at which an order decided at bar t fills."""
        slippage = sign * self.costs.slippage_pips * self.market.pip
        if self.costs.fill == "close" or self.t == self.end:
            return self.quote(sign, self.t, "close") + slippage, self.t, int(self.market.time[self.t]) + MINUTE_NS - 1
        following = self.t + 1
        return self.quote(sign, following, "open") + slippage, following, int(self.market.time[following])

    def liquidation(self, bar: int) -> float:
        return self.quote(-self.side, bar, "close")

    def enter(self, side: int) -> None:
        self.side = side
        self.entry, self.entry_bar, self.entry_instant = self.fill(side)
        self.cost = 0.0
        if self.costs.kind == "fixed":
            self.cost = self.costs.fixed_pips
        if self.costs.kind == "profile":
            wall = datetime.fromtimestamp(int(self.market.time[self.entry_bar]) // 10**9, UTC).astimezone(NEW_YORK)
            self.cost = float(SPREAD_SHAPE[(wall.hour - 17) % 24]) * DEFAULT_LONDON_SPREAD_PIPS
        self.pips = self.high_water = self.low_water = self.increases = self.worst = self.area = self.below = 0.0
        self.held = 0

    def financing(self, instant: int) -> float:
        """Charged for each 17:00 New York after the entry and up to `instant`, threefold on Wednesday."""
        a_day = self.costs.financing_long_pips if self.side > 0 else self.costs.financing_short_pips
        days = 0
        minute = self.entry_instant // MINUTE_NS * MINUTE_NS
        while minute <= instant:
            wall = datetime.fromtimestamp(minute // 10**9, UTC).astimezone(NEW_YORK)
            if minute > self.entry_instant and (wall.hour, wall.minute) == (17, 0):
                days += {0: 1, 1: 1, 2: 3, 3: 1, 4: 1}.get(wall.weekday(), 0)
            minute += MINUTE_NS
        return days * a_day

    def mark(self, price: float, instant: int) -> None:
        costs = self.cost + self.financing(instant)
        self.pips = self.side * (price - self.entry) / self.market.pip - costs
        self.high_water = max(self.high_water, self.pips)
        self.low_water = min(self.low_water, self.pips)
        below = self.high_water - self.pips
        self.increases += max(0.0, below - self.below)
        self.worst = max(self.worst, below)
        self.below = below

    def drawdown(self) -> float:
        return {"increases": self.increases, "maximum": self.worst, "area": self.area}[self.reward.drawdown]

    def value(self) -> float:
        return self.pips - self.reward.drawdown_weight * self.drawdown()


def policy(legal: np.ndarray, rng: np.random.Generator, hold: float) -> np.ndarray:
    """A random legal action a row; holds with probability `hold` where it may."""
    actions = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
    stay = (rng.random(len(legal)) < hold) & legal[:, HOLD]
    return np.where(stay, HOLD, actions)


COSTS = st.builds(
    CostConfig,
    kind=st.sampled_from(["fixed", "quoted", "profile"]),
    fixed_pips=st.sampled_from([0.0, 4.0]),
    slippage_pips=st.sampled_from([0.0, 0.3]),
    financing_long_pips=st.sampled_from([0.0, 0.7]),
    financing_short_pips=st.sampled_from([0.0, -0.4]),
    fill=st.sampled_from(["next_open", "close"]),
)
REWARDS = st.builds(
    RewardConfig,
    kind=st.sampled_from(["amddp1", "dense"]),
    drawdown=st.sampled_from(["increases", "maximum", "area"]),
    drawdown_weight=st.sampled_from([0.01, 0.05]),
    entry_reward=st.sampled_from([0.0, 0.5]),
)


@settings(max_examples=120, deadline=None)
@given(costs=COSTS, reward=REWARDS, seed=st.integers(0, 2**32 - 1), hold=st.sampled_from([0.0, 0.6, 0.9]))
def test_the_environment_equals_a_second_account_of_the_specification(
    random_market: Callable[[int, int], MarketArrays],
    costs: CostConfig,
    reward: RewardConfig,
    seed: int,
    hold: float,
) -> None:
    bars, window = 40, 4
    market = random_market(seed, 90)
    rng = np.random.default_rng(seed)
    starts = rng.integers(window - 1, len(market) - bars + 1, 4)
    environment = LockstepEnvironment(
        market, build_fills(market, costs), reward, SessionRules(bars=bars, window_bars=window)
    )
    sessions = [ReferenceSession(market, costs, reward, int(s), bars, row) for row, s in enumerate(starts)]
    observation = environment.reset(starts)
    for number in range(bars):
        assert observation.legal.tolist() == [session.legal() for session in sessions]
        assert observation.bar.tolist() == [session.t for session in sessions]
        np.testing.assert_allclose(observation.static, [s.static() for s in sessions], rtol=0, atol=1e-7)
        for row, session in enumerate(sessions):
            expected = market.features[session.t - window + 1 : session.t + 1]
            np.testing.assert_array_equal(observation.temporal[row], expected)
        actions = policy(observation.legal, rng, hold)
        step = environment.step(actions)
        rewards = [session.step(int(action)) for session, action in zip(sessions, actions, strict=True)]
        np.testing.assert_allclose(step.rewards, rewards, rtol=0, atol=1e-9)
        assert step.done == (number == bars - 1)
        observation = step.observation
    assert not environment.positions.any() and not observation.static.any()
    found = environment.trades()
    expected_trades = [trade for session in sessions for trade in session.trades]
    assert len(found) == len(expected_trades)
    for name in TRADE_DTYPE.names or ():
        values = [trade[name] for trade in expected_trades]
        if found[name].dtype.kind == "i":
            assert found[name].tolist() == values, name
        else:
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-9, err_msg=name)


def test_financing_is_part_of_some_of_these_trades(random_market: Callable[[int, int], MarketArrays]) -> None:
    """Guards the comparison above: its markets do cross a Wednesday night with a position open."""
    market = random_market(1, 90)
    costs = CostConfig(fixed_pips=4.0, financing_long_pips=0.7)
    environment = LockstepEnvironment(market, build_fills(market, costs), rules=SessionRules(bars=80, window_bars=4))
    environment.reset(np.array([5]))
    for number in range(80):
        environment.step(np.array([BUY if number == 0 else CLOSE if number == 79 else HOLD]))
    assert environment.trades()["cost_pips"].tolist() == [pytest.approx(4.0 + 3 * 0.7)]

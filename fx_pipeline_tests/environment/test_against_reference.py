"""A second account of SPEC sections 4, 7 and 8: one session, plain Python, from its fills alone."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.environment.action_sets import ACTION_SETS, UNIT4, ActionSet
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.environment.trades import TRADE_DTYPE
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.spreads import DEFAULT_LONDON_SPREAD_PIPS, SPREAD_SHAPE

MINUTE_NS = 60 * 10**9
NEW_YORK = ZoneInfo("America/New_York")


class ReferenceSession:
    """Trades an exposure, net, for `bars` decisions from bar `start` on; all that it knows of a trade are its fills."""

    def __init__(
        self,
        market: MarketArrays,
        costs: CostConfig,
        reward: RewardConfig,
        start: int,
        bars: int,
        row: int,
        actions: ActionSet = UNIT4,
    ) -> None:
        self.market, self.costs, self.reward, self.row, self.actions = market, costs, reward, row, actions
        self.t, self.end = start, start + bars - 1
        #: Signed sizes of the fills of the open trade, with price, bar, instant, and what they pay.
        self.fills: list[tuple[float, float, int, int, float]] = []
        self.exposure = 0.0
        self.trades: list[dict[str, float]] = []

    def legal(self) -> list[bool]:
        last, held = self.t == self.end, self.exposure != 0
        allowed = []
        for target in self.actions.targets:
            if target == 0:
                allowed.append(held or not self.actions.through_flat)
            elif target is None:
                allowed.append(not last or not held)
            else:
                allowed.append(not last and not (held and self.actions.through_flat))
        return allowed

    def static(self) -> list[float]:
        if not self.exposure:
            return [0.0] * 6
        features = (self.pips, self.held, self.pips - self.high_water, self.worst, self.increases)
        return [self.exposure, *(math.tanh(value / 100) for value in features)]

    def step(self, action: int) -> float:
        """Act at the close of bar t and move to bar t + 1; return the reward."""
        assert self.legal()[action], (action, self.legal())
        asked = self.actions.targets[action]
        target = self.exposure if asked is None else asked
        reward = 0.0
        if not self.exposure and not target:
            self.t += 1
            return self.reward.idle_reward
        if self.exposure and (not target or (target > 0) != (self.exposure > 0)):
            reward += self.finish()
        if target:
            before = self.value() if self.exposure else 0.0
            if not self.exposure:
                self.begin()
                reward += self.reward.entry_reward
            if target != self.exposure:
                self.order(target)
            following = self.t + 1
            close = self.quote(-1 if target > 0 else 1, following, "close")
            # One instant before the minute is over: the night that begins with the next bar is not yet charged.
            self.mark(close, int(self.market.time[following]) + MINUTE_NS - 1)
            self.held += 1
            self.area += self.high_water - self.pips
            reward += self.value() - before if self.reward.kind == "dense" else 0.0
        self.t += 1
        return reward

    def begin(self) -> None:
        self.fills = []
        self.pips = self.high_water = self.low_water = self.increases = self.worst = self.area = self.below = 0.0
        self.held = 0

    def finish(self) -> float:
        before, side = self.value(), 1 if self.exposure > 0 else -1
        self.order(0.0)
        _, price, bar, instant, _ = self.fills[-1]
        self.mark(price, instant)
        pnl, total = self.pips, self.drawdown()
        amddp1 = pnl - self.reward.drawdown_weight * total
        if pnl > 0:
            amddp1 = max(amddp1, self.reward.profit_floor)
        added = [fill for fill in self.fills if fill[0] * side > 0]
        gone = [fill for fill in self.fills if fill[0] * side < 0]
        opened = sum(abs(fill[0]) for fill in added)
        self.trades.append(
            {
                "session": self.row,
                "side": side,
                "entry_bar": self.fills[0][2],
                "exit_bar": bar,
                "entry_time": int(self.market.time[self.fills[0][2]]),
                "exit_time": int(self.market.time[bar]),
                "entry_price": sum(abs(fill[0]) * fill[1] for fill in added) / opened,
                "exit_price": sum(abs(fill[0]) * fill[1] for fill in gone) / opened,
                "cost_pips": self.cost(instant),
                "pnl_pips": pnl,
                "drawdown_pips": total,
                "max_drawdown_pips": self.worst,
                "peak_pips": self.high_water,
                "low_pips": self.low_water,
                "bars_held": self.held,
                "amddp1": amddp1,
                "exposure": max(abs(sum(fill[0] for fill in self.fills[: n + 1])) for n in range(len(self.fills))),
                "opened": opened,
            }
        )
        return amddp1 if self.reward.kind == "amddp1" else self.value() - before

    def order(self, target: float) -> None:
        """Fill what changes."""
        change = target - self.exposure
        price, bar, instant = self.fill(1 if change > 0 else -1)
        # Only what comes on top pays the cost of entering.
        paid = max(abs(target) - abs(self.exposure), 0.0) * self.entry_cost(bar)
        self.fills.append((change, price, bar, instant, paid))
        self.exposure = target

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

    def entry_cost(self, bar: int) -> float:
        if self.costs.kind == "fixed":
            return self.costs.fixed_pips
        if self.costs.kind == "profile":
            wall = datetime.fromtimestamp(int(self.market.time[bar]) // 10**9, UTC).astimezone(NEW_YORK)
            return float(SPREAD_SHAPE[(wall.hour - 17) % 24]) * DEFAULT_LONDON_SPREAD_PIPS
        return 0.0

    def cost(self, instant: int) -> float:
        """What the fills paid, and for each 17:00 New York up to `instant` the exposure that came into it; threefold
        on Wednesday."""
        charged = sum(fill[4] for fill in self.fills)
        first = self.fills[0][3]
        minute = first // MINUTE_NS * MINUTE_NS
        while minute <= instant:
            wall = datetime.fromtimestamp(minute // 10**9, UTC).astimezone(NEW_YORK)
            if minute > first and (wall.hour, wall.minute) == (17, 0):
                held = sum(fill[0] for fill in self.fills if fill[3] < minute)
                a_day = self.costs.financing_long_pips if held > 0 else self.costs.financing_short_pips
                charged += abs(held) * a_day * {0: 1, 1: 1, 2: 3, 3: 1, 4: 1}.get(wall.weekday(), 0)
            minute += MINUTE_NS
        return charged

    def mark(self, price: float, instant: int) -> None:
        # Bought and sold for, and what is left at this price.
        gained = sum(size * (price - paid) for size, paid, *_ in self.fills) / self.market.pip
        self.pips = gained - self.cost(instant)
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


def policy(
    actions: ActionSet, legal: np.ndarray, held: np.ndarray, rng: np.random.Generator, hold: float
) -> np.ndarray:
    """A random legal action a row; keeps what is held with probability `hold` where it may."""
    chosen = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
    return np.where(rng.random(len(legal)) < hold, actions.toward(held, held, legal), chosen)


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


@settings(max_examples=60, deadline=None)
@given(costs=COSTS, reward=REWARDS, seed=st.integers(0, 2**32 - 1), hold=st.sampled_from([0.0, 0.6, 0.9]))
@pytest.mark.parametrize("actions", ACTION_SETS.values(), ids=ACTION_SETS)
def test_the_environment_equals_a_second_account_of_the_specification(
    random_market: Callable[[int, int], MarketArrays],
    actions: ActionSet,
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
        market, build_fills(market, costs), reward, SessionRules(bars=bars, window_bars=window), actions
    )
    sessions = [ReferenceSession(market, costs, reward, int(s), bars, row, actions) for row, s in enumerate(starts)]
    observation = environment.reset(starts)
    for number in range(bars):
        assert observation.legal.tolist() == [session.legal() for session in sessions]
        assert observation.bar.tolist() == [session.t for session in sessions]
        np.testing.assert_allclose(observation.static, [s.static() for s in sessions], rtol=0, atol=1e-7)
        for row, session in enumerate(sessions):
            expected = market.features[session.t - window + 1 : session.t + 1]
            np.testing.assert_array_equal(observation.temporal[row], expected)
        chosen = policy(actions, observation.legal, observation.static[:, 0], rng, hold)
        step = environment.step(chosen)
        rewards = [session.step(int(action)) for session, action in zip(sessions, chosen, strict=True)]
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

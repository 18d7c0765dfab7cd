"""Three accounts of the same trades: the rollout, the specification in plain Python, and the paper broker.

Each of the three asks the policy anew, and shows it its own position: the broker the trade that it holds and what that
trade would bring now. What a rollout says maps to orders thus:

- A decision at the close of bar t is an order at the first tick of bar t + 1. Where minutes are missing between the
  two, it waits for that tick: a broker would fill an order that comes at once at the price that still stands.
- The last bar of a session closes what is open, at that bar's last tick.
- One unit, net, is `UNITS` of the instrument; the margin is ample, latency and slippage are none.
- Spreads that a cost model charges on entry do not exist at a broker: there the bid and the ask both are the mid price,
  and the charge is taken from the result. Financing is a broker's own affair and is switched off on all sides.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fx_pipeline.agents.base import Policy
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk.times import time_of
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.ticks import TICK_STEP_NS, TICKS_IN_BAR
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.kernel import compute_features
from fx_pipeline.ingest.importers import import_files
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS
from fx_pipeline.market.costs import CostConfig, build_fills, modelled_spread_pips
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.validation.baselines import RandomTrader, SmaCross, Turnover
from fx_pipeline.validation.rollout import Rollout, rollout
from fx_pipeline_tests.environment.test_against_reference import ReferenceSession

UNITS = 10_000
LAST_TICK_NS = (TICKS_IN_BAR - 1) * TICK_STEP_NS
PIP = 0.01
#: Prices have the same decimals on all sides; what differs is the rounding of a difference.
TOLERANCE_PIPS = 1e-9
# Monday 2024-01-08 21:30 UTC: the walk passes 17:00 New York.
START_NS = int(np.datetime64("2024-01-08T21:30", "ns").astype(np.int64))
#: All of the trading week: a session holds on through the minutes around 17:00 New York.
HOURS = TradingHours("17:00", "17:00", "17:00", "17:00", frozenset())
COSTS = {
    "quoted": CostConfig(kind="quoted"),
    "fixed": CostConfig(kind="fixed", fixed_pips=4.0),
    "profile": CostConfig(kind="profile"),
}


class Trade(NamedTuple):
    """What the three must agree on."""

    session: int
    side: int
    entry_bar: int
    exit_bar: int
    pnl_pips: float


class StopAndTarget:
    """Enters by a hash of the bar, and closes when its own result passes a stop or a target."""

    name = "stop and target"

    def act(self, observations: Observation) -> np.ndarray:
        """Return the (B,) actions."""
        draw = (observations.bar * 2_654_435_761) % 2**32 / 2**32
        enter = np.select([draw < 0.1, draw < 0.2], [BUY, SELL], HOLD)
        pips = observations.static[:, 1]
        # Between two results that prices of a tenth of a pip can have.
        leave = (pips < math.tanh(-0.0783)) | (pips > math.tanh(0.0617))
        wanted = np.where(observations.static[:, 0] == 0, enter, np.where(leave, CLOSE, HOLD))
        legal = observations.legal[np.arange(len(wanted)), wanted]
        return np.where(legal, wanted, np.where(observations.legal[:, HOLD], HOLD, CLOSE)).astype(np.int64)


@dataclass(frozen=True)
class Stage:
    """Bars as the rollout and as the broker have them.

    Attributes
    ----------
    market : MarketArrays
    quoted, mid : Path
        Stores of the broker: with the bars' bid and ask, and with the mid price on both sides.
    """

    market: MarketArrays
    quoted: Path
    mid: Path


def stage(bars: Bars, name: str, folder: Path) -> Stage:
    """Round bars to what the broker can show, and set both sides up."""
    pair = find_instrument(name)
    prices = np.round(bars.prices, pair.display_precision)
    column = {field: np.ascontiguousarray(prices[:, place]) for place, field in enumerate(PRICE_COLUMNS)}
    features, sigma = compute_features(column["mid_c"], bars.time, pair.pip)
    market = MarketArrays(
        name, pair.pip, bars.time, column["mid_o"], column["mid_h"], column["mid_l"], column["mid_c"],
        column["bid_o"], column["ask_o"], column["bid_c"], column["ask_c"], features, sigma, "parity",
    )  # fmt: skip
    middle = [PRICE_COLUMNS.index(f"mid_{field}") for field in "ohlc"]
    stores = {"quoted": prices, "mid": prices[:, middle * 3]}
    for kind, values in stores.items():
        candle_store.upsert(folder / kind, name, bars._replace(prices=values).table("imported"))
    return Stage(market, folder / "quoted", folder / "mid")


def random_bars(seed: int, count: int) -> Bars:
    """A random walk of GBP_JPY with jumps at the open, spreads that change, and missing minutes."""
    draw = np.random.default_rng(seed)
    close = 187.0 + PIP * np.cumsum(draw.normal(0.0, 2.0, count))
    opens = np.append(close[:1], close[:-1]) + PIP * draw.normal(0.0, 0.7, count)
    mid = np.stack([opens, np.maximum(opens, close) + PIP, np.minimum(opens, close) - PIP, close], axis=1)
    half = PIP * draw.uniform(0.2, 1.5, (count, 4))
    minutes = np.append(0, np.cumsum(draw.choice([1, 1, 1, 1, 1, 2, 7], count - 1)))
    return Bars(
        START_NS + MINUTE_NS * minutes,
        np.concatenate([mid - half, mid, mid + half], axis=1),
        np.full(count, 4, np.int64),
        np.zeros(count, np.bool_),
    )


def told(done: Rollout) -> list[Trade]:
    """The trades of a rollout."""
    names = ("session", "side", "entry_bar", "exit_bar", "pnl_pips")
    return [Trade(*row) for row in zip(*(done.trades[name].tolist() for name in names), strict=True)]


def ask(policy: Policy, static: Sequence[float], legal: Sequence[bool], bar: int) -> int:
    """What the policy does at a bar; it sees no features."""
    seen = Observation(
        np.zeros((1, 1, 9), np.float32), np.array([static], np.float32), np.array([legal]), np.array([bar])
    )
    return int(policy.act(seen)[0])


def by_the_book(
    market: MarketArrays, costs: CostConfig, starts: Sequence[int], bars: int, policy: Policy
) -> list[Trade]:
    """The trades by the specification in plain Python."""
    trades = []
    for row, start in enumerate(starts):
        session = ReferenceSession(market, costs, RewardConfig(), start, bars, row)
        for _ in range(bars):
            session.step(ask(policy, session.static(), session.legal(), session.t))
        trades += [Trade(**{name: trade[name] for name in Trade._fields}) for trade in session.trades]  # type: ignore[arg-type]
    return trades


class Replay:
    """Trades at the paper broker, bar by bar, and reads everything from its account."""

    def __init__(self, where: Stage, costs: CostConfig) -> None:
        self.market, self.costs = where.market, costs
        name = self.market.instrument
        none = {name: Decimal(0)}
        # What is earned is in the quote currency, so that no conversion stands between prices and money.
        config = AccountConfig(
            home_currency=name.split("_")[1], balance=Decimal(10**9), financing_long=none, financing_short=none
        )
        self.exchange = Exchange.open(
            PaperMarket(where.quoted if costs.kind == "quoted" else where.mid, synthetic=False),
            config, [name], int(self.market.time[0]), 0.0, hours=HOURS,
        )  # fmt: skip

    def trades(self, starts: Sequence[int], bars: int, policy: Policy) -> list[Trade]:
        """Play sessions and return what the account's transactions say of them."""
        rows: list[int] = []
        for row, start in enumerate(starts):
            for bar in range(start, start + bars):
                self.exchange.step(int(self.market.time[bar]) + LAST_TICK_NS)
                last = bar == start + bars - 1
                static = self.static()
                held = static[0] != 0
                legal = [not (held and last), not (held or last), not (held or last), held]
                action = ask(policy, static, legal, bar)
                if action != HOLD and not last:
                    self.exchange.step(int(self.market.time[bar + 1]))
                if action == CLOSE:
                    self.close()
                    rows.append(row)
                elif action != HOLD:
                    self.open(UNITS if action == BUY else -UNITS)
        return [Trade(row, *facts) for row, facts in zip(rows, self.closed(), strict=True)]

    def static(self) -> list[float]:
        """Side and unrealised pips of the account's position; the other position features are not asked for."""
        trades = self.exchange.desk.account().body["account"]["trades"]
        if not trades:
            return [0.0] * 6
        (trade,) = trades
        pips = float(trade["unrealizedPL"]) / (UNITS * self.market.pip) - self.charge(self.bar_of(trade["openTime"]))
        return [math.copysign(1.0, float(trade["currentUnits"])), math.tanh(pips / 100), 0.0, 0.0, 0.0, 0.0]

    def open(self, units: int) -> None:
        """Send a market order, which must open a trade."""
        order = {"type": "MARKET", "instrument": self.market.instrument, "units": str(units)}
        outcome = self.exchange.desk.create_order(order, self.exchange.advance(), None)
        assert "tradeOpened" in outcome.body["orderFillTransaction"], outcome

    def close(self) -> None:
        """Close the trade that is open."""
        (trade,) = self.exchange.desk.account().body["account"]["trades"]
        outcome = self.exchange.desk.close_trade(trade["id"], {"units": "ALL"}, self.exchange.advance(), None)
        assert "orderFillTransaction" in outcome.body, outcome

    def bar_of(self, time: str) -> int:
        """The bar in which the broker's time lies."""
        instant = time_of(time)
        assert instant is not None
        return int(np.searchsorted(self.market.time, instant, "right")) - 1

    def charge(self, entry_bar: int) -> float:
        """What the cost model charges on entry and no broker does."""
        if self.costs.kind == "profile":
            return float(modelled_spread_pips(self.market.instrument, self.market.time[[entry_bar]])[0])
        return self.costs.fixed_pips if self.costs.kind == "fixed" else 0.0

    def closed(self) -> list[tuple[int, int, int, float]]:
        """Side, bars of entry and exit, and pips of each closed trade, from fills alone; the money must agree."""
        fills = [item for item in self.exchange.desk.transactions if item["type"] == "ORDER_FILL"]
        found = []
        for entry, leave in zip(fills[::2], fills[1::2], strict=True):
            side = 1 if Decimal(entry["units"]) > 0 else -1
            gained = side * (Decimal(leave["price"]) - Decimal(entry["price"]))
            assert Decimal(leave["pl"]) == gained * UNITS
            entry_bar, exit_bar = self.bar_of(entry["time"]), self.bar_of(leave["time"])
            found.append((side, entry_bar, exit_bar, float(gained) / self.market.pip - self.charge(entry_bar)))
        return found


def agree(one: list[Trade], other: list[Trade]) -> None:
    """Compare trade by trade."""
    assert [trade[:4] for trade in one] == [trade[:4] for trade in other]
    np.testing.assert_allclose([t.pnl_pips for t in one], [t.pnl_pips for t in other], rtol=0, atol=TOLERANCE_PIPS)


def policies(market: MarketArrays) -> dict[str, Policy]:
    """Policies that trade often: by chance, by a rule of prices, by a rule of their own result."""
    return {
        "random": RandomTrader(Turnover(0.15, 0.2, 0.5), 7),
        "SMA cross": SmaCross(market, 5, 20),
        "stop and target": StopAndTarget(),
    }


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Stage]:
    """Random markets by seed."""
    known: dict[int, Stage] = {}

    def walk(seed: int) -> Stage:
        if seed not in known:
            known[seed] = stage(random_bars(seed, 400), "GBP_JPY", tmp_path_factory.mktemp(f"walk{seed}"))
        return known[seed]

    return walk


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("policy", ["random", "SMA cross", "stop and target"])
def test_rollout_specification_and_broker_make_the_same_trades(
    walks: Callable[[int], Stage], policy: str, costs: str, seed: int
) -> None:
    where, model, bars = walks(seed), COSTS[costs], 60
    # The features of so short a market are not known yet, and no policy here asks for them.
    market = unfeatured(where.market)
    player, starts = policies(market)[policy], [20, 80, 145, 205, 300]
    done = rollout(market, build_fills(market, model), starts, player, session_bars=bars, window_bars=1)
    trades = told(done)
    assert len(trades) > 10
    agree(trades, by_the_book(market, model, starts, bars, player))
    agree(trades, Replay(where, model).trades(starts, bars, player))


def unfeatured(market: MarketArrays) -> MarketArrays:
    """The market with features that are all 0."""
    return replace(market, features=np.zeros_like(market.features))


def test_an_order_that_does_not_wait_for_the_next_tick_is_filled_at_the_price_that_stands(
    walks: Callable[[int], Stage],
) -> None:
    """The one rule in which a broker differs: where the mapping above ends."""
    where = walks(0)
    time = where.market.time
    bar = int(np.flatnonzero(np.diff(time) > MINUTE_NS)[5])
    replay = Replay(where, COSTS["quoted"])
    replay.exchange.step(int(time[bar]) + MINUTE_NS)
    replay.open(UNITS)
    price = float(replay.exchange.desk.transactions[-1]["price"])
    assert price == where.market.ask_close[bar] != where.market.ask_open[bar + 1]


@pytest.mark.parametrize("costs", ["quoted", "fixed"])
def test_real_sessions_are_traded_alike(shared_data: Path, tmp_path: Path, costs: str) -> None:
    import_files([shared_data / "EUR_USD_M1_2024-01.parquet"], "EUR_USD", "parquet", tmp_path)
    bars = PaperMarket(paper_store(tmp_path), synthetic=False).forward("EUR_USD", 0, 2**62, 6_000)
    where, model = stage(bars, "EUR_USD", tmp_path / "stage"), COSTS[costs]
    market = where.market
    starts = valid_starts(market, stride=360)[:6].tolist()
    for player in policies(market).values():
        done = rollout(market, build_fills(market, model), starts, player)
        trades = told(done)
        assert len(trades) > 20, player
        agree(trades, by_the_book(market, model, starts, 360, player))
        agree(trades, Replay(where, model).trades(starts, 360, player))

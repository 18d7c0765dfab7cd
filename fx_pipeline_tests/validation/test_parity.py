"""Three accounts of the same trades: the rollout, the specification in plain Python, and the paper broker.

Each of the three asks the policy anew, and shows it its own position: the broker the trade that it holds and what that
trade would bring now. How decisions become orders is said in `validation/parity.py`. Here they go through the exchange:
its clock, its feed of ticks, its trading hours. The replay that is part of every report sends the decisions of the
rollout to the matching core alone, and must find the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest

from fx_pipeline.agents.base import Policy, Stateless
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.ticks import TICK_STEP_NS, TICKS_IN_BAR
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.ingest.importers import import_files
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.spreads import modelled_spread_pips
from fx_pipeline.sessions.index import valid_starts
from fx_pipeline.validation.baselines import Flat, RandomTrader, SmaCross, Turnover
from fx_pipeline.validation.parity import (
    TOLERANCE_PIPS,
    UNITS,
    Parity,
    RoundTrip,
    Trader,
    account_terms,
    replay_at_broker,
)
from fx_pipeline.validation.rollout import Rollout, rollout
from fx_pipeline_tests.environment.test_against_reference import ReferenceSession

LAST_TICK_NS = (TICKS_IN_BAR - 1) * TICK_STEP_NS
PIP = 0.01
#: Prices have the same decimals on all sides; what differs is the rounding of a difference.
CLOSE_PIPS = 1e-9
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


class StopAndTarget(Stateless):
    """Enters by a hash of the bar, and closes when its own result passes a stop or a target."""

    name = "stop and target"

    def choose(self, observation: Observation) -> np.ndarray:
        """Return the (B,) actions."""
        draw = (observation.bar * 2_654_435_761) % 2**32 / 2**32
        enter = np.select([draw < 0.1, draw < 0.2], [BUY, SELL], HOLD)
        pips = observation.static[:, 1]
        # Between two results that prices of a tenth of a pip can have.
        leave = (pips < math.tanh(-0.0783)) | (pips > math.tanh(0.0617))
        wanted = np.where(observation.static[:, 0] == 0, enter, np.where(leave, CLOSE, HOLD))
        legal = observation.legal[np.arange(len(wanted)), wanted]
        return np.where(legal, wanted, np.where(observation.legal[:, HOLD], HOLD, CLOSE)).astype(np.int64)


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
    features, sigma = features_of_closes(column["mid_c"], bars.time, pair.pip)
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
    return int(policy.act(seen, policy.initial(1))[0][0])


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
        self.exchange = Exchange.open(
            PaperMarket(where.quoted if costs.kind == "quoted" else where.mid, synthetic=False),
            account_terms(name), [name], int(self.market.time[0]), 0.0, hours=lambda _: HOURS,
        )  # fmt: skip
        self.trader = Trader(self.exchange.desk, name)

    def trades(self, starts: Sequence[int], bars: int, policy: Policy) -> list[Trade]:
        """Play sessions and return what the account's transactions say of them."""
        found: list[Trade] = []
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
                    trip = self.trader.leave(self.exchange.advance())
                    assert trip is not None
                    found.append(self.told(row, trip))
                elif action != HOLD:
                    self.trader.enter(1 if action == BUY else -1, self.exchange.advance())
        return found

    def static(self) -> list[float]:
        """Side and unrealised pips of the account's position; the other position features are not asked for."""
        trades = self.exchange.desk.account().body["account"]["trades"]
        if not trades:
            return [0.0] * 6
        (trade,) = trades
        pips = float(trade["unrealizedPL"]) / (UNITS * self.market.pip) - self.charge(
            self.bar_of(int(np.datetime64(trade["openTime"][:-1], "ns").astype(np.int64)))
        )
        return [math.copysign(1.0, float(trade["currentUnits"])), math.tanh(pips / 100), 0.0, 0.0, 0.0, 0.0]

    def bar_of(self, time_ns: int) -> int:
        """The bar in which the broker's time lies."""
        return int(np.searchsorted(self.market.time, time_ns, "right")) - 1

    def charge(self, entry_bar: int) -> float:
        """What the cost model charges on entry and no broker does."""
        if self.costs.kind == "profile":
            return float(modelled_spread_pips(self.market.instrument, self.market.time[[entry_bar]])[0])
        return self.costs.fixed_pips if self.costs.kind == "fixed" else 0.0

    def told(self, row: int, trip: RoundTrip) -> Trade:
        """A trade of a session as the rollout writes it."""
        entry_bar, exit_bar = self.bar_of(trip.entry_ns), self.bar_of(trip.exit_ns)
        assert trip.units == UNITS
        return Trade(row, trip.side, entry_bar, exit_bar, trip.pips(self.market.pip) - self.charge(entry_bar))


def agree(one: list[Trade], other: list[Trade]) -> None:
    """Compare trade by trade."""
    assert [trade[:4] for trade in one] == [trade[:4] for trade in other]
    np.testing.assert_allclose([t.pnl_pips for t in one], [t.pnl_pips for t in other], rtol=0, atol=CLOSE_PIPS)


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
    done = rollout(market, build_fills(market, model), starts, player, rules=SessionRules(bars=bars, window_bars=1))
    trades = told(done)
    assert len(trades) > 10
    agree(trades, by_the_book(market, model, starts, bars, player))
    agree(trades, Replay(where, model).trades(starts, bars, player))
    found = replay_at_broker(done, market, model)
    assert (found.replayed, found.trades, found.differing) == (len(trades), len(trades), 0)
    assert found.largest_difference_pips < CLOSE_PIPS and found.over_gaps > 0


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
    replay.trader.enter(1, replay.exchange.advance())
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
        found = replay_at_broker(done, market, model)
        assert (found.replayed, found.differing) == (len(trades), 0) and found.largest_difference_pips < CLOSE_PIPS


def random_trades(market: MarketArrays, costs: CostConfig) -> Rollout:
    """Two sessions of a random trader."""
    player = RandomTrader(Turnover(0.3, 0.3, 0.5), 3)
    return rollout(market, build_fills(market, costs), [20, 85], player, rules=SessionRules(bars=60, window_bars=1))


@pytest.mark.parametrize("fill", ["next_open", "close"])
@pytest.mark.parametrize("kind", COSTS)
def test_what_a_broker_has_no_counterpart_of_is_taken_out(
    market_of: Callable[..., MarketArrays], kind: str, fill: Literal["next_open", "close"]
) -> None:
    """Slippage, financing over 17:00 New York, prices finer than quotes, a name that no broker knows, overlaps."""
    market = replace(market_of(1_400), instrument="SYNTHETIC_WALK")
    costs = replace(COSTS[kind], slippage_pips=0.3, financing_long_pips=0.7, financing_short_pips=-0.4, fill=fill)
    player = RandomTrader(Turnover(0.3, 0.02, 0.5), 3)
    starts = [40, 70, 1_230, 1_240, 1_250]
    done = rollout(market, build_fills(market, costs), starts, player, rules=SessionRules(bars=60, window_bars=1))
    assert done.trades["cost_pips"].max() > done.trades["cost_pips"].min()
    found = replay_at_broker(done, market, costs)
    assert (found.replayed, found.differing, found.over_gaps) == (len(done.trades), 0, 0)
    assert found.largest_difference_pips < TOLERANCE_PIPS


def shifted(column: str, by: float) -> Callable[[np.ndarray], np.ndarray]:
    """Change a column of the fourth trade."""

    def change(trades: np.ndarray) -> np.ndarray:
        trades[column][3] += by
        return trades

    return change


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (shifted("entry_bar", 1), 0.0),
        (shifted("exit_bar", -1), 0.0),
        (shifted("side", 1), 0.0),
        (shifted("pnl_pips", 0.01), 0.01),
        (lambda trades: trades[:-1], 0.0),
        (lambda trades: np.append(trades, trades[-1:]), 0.0),
    ],
)
def test_a_trade_that_is_told_otherwise_is_found(
    walks: Callable[[int], Stage], change: Callable[[np.ndarray], np.ndarray], difference: float
) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    told = replace(done, trades=change(done.trades.copy()))
    found = replay_at_broker(told, market, costs)
    assert (found.differing, found.trades, found.replayed) == (1, len(told.trades), len(done.trades))
    assert found.largest_difference_pips == pytest.approx(difference, abs=CLOSE_PIPS)


def test_results_that_are_no_numbers_agree_with_none(walks: Callable[[int], Stage]) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    told = replace(done, trades=shifted("pnl_pips", math.nan)(done.trades.copy()))
    assert replay_at_broker(told, market, costs).differing == 1


def test_trades_that_the_broker_refuses_are_found(
    walks: Callable[[int], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    monkeypatch.setattr("fx_pipeline.validation.parity.UNITS", 10**9)
    found = replay_at_broker(done, market, costs)
    assert (found.replayed, found.differing, found.trades) == (0, len(done.trades), len(done.trades))
    assert found.largest_difference_pips == 0.0


def test_a_price_that_the_environment_did_not_fill_at_is_found(walks: Callable[[int], Stage]) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    trade = done.trades[3]
    ask_open, bid_open = market.ask_open.copy(), market.bid_open.copy()
    for quote in (ask_open, bid_open):
        quote[trade["entry_bar"]] += 5 * PIP
    moved = replace(market, ask_open=ask_open, bid_open=bid_open)
    found = replay_at_broker(done, moved, costs)
    assert found.differing >= 1
    assert found.largest_difference_pips == pytest.approx(5.0, abs=CLOSE_PIPS)


def test_orders_that_wait_over_missing_minutes_are_counted(walks: Callable[[int], Stage]) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    ends = done.starts[done.trades["session"]] + done.session_bars - 1
    late = done.actions[done.trades["session"], -1] == CLOSE
    after_hole = np.append(True, np.diff(market.time) > MINUTE_NS)
    entry, leave = done.trades["entry_bar"], done.trades["exit_bar"]
    # What a session's end closed fills at that bar's close, and waits for nothing.
    expected = after_hole[entry] | (after_hole[leave] & ~(late & (leave == ends)))
    found = replay_at_broker(done, market, costs)
    assert found.over_gaps == expected.sum() and 0 < found.over_gaps < len(done.trades)
    assert found == replay_at_broker(done, market, costs)


def test_of_very_many_trades_whole_sessions_are_drawn(
    walks: Callable[[int], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["quoted"]
    done = random_trades(market, costs)
    counts = np.bincount(done.trades["session"]).tolist()
    monkeypatch.setattr("fx_pipeline.validation.parity.MAX_TRADES", sum(counts) - 1)
    found = replay_at_broker(done, market, costs)
    assert found.replayed == found.trades in counts and found.differing == 0
    assert found.left_out == sum(counts) - found.trades
    assert found == replay_at_broker(done, market, costs)
    # What is drawn is compared: a trade told otherwise in every session is found.
    told = done.trades.copy()
    told["pnl_pips"] += 0.01
    assert replay_at_broker(replace(done, trades=told), market, costs).differing == found.trades
    monkeypatch.setattr("fx_pipeline.validation.parity.MAX_TRADES", sum(counts))
    assert replay_at_broker(done, market, costs).left_out == 0


def test_nothing_to_replay_agrees(walks: Callable[[int], Stage]) -> None:
    market, costs = unfeatured(walks(0).market), COSTS["fixed"]
    done = rollout(market, build_fills(market, costs), [20], Flat(), rules=SessionRules(bars=60, window_bars=1))
    assert replay_at_broker(done, market, costs) == Parity(0, 0, 0, 0, 0.0, 0)


def test_a_pip_that_no_instrument_has_is_refused(walks: Callable[[int], Stage]) -> None:
    market, costs = replace(unfeatured(walks(0).market), instrument="SYNTHETIC_WALK", pip=0.5), COSTS["fixed"]
    with pytest.raises(DataError, match=r"has a pip of 0\.5"):
        replay_at_broker(random_trades(market, costs), market, costs)


def test_the_account_converts_and_finances_nothing() -> None:
    terms = account_terms("GBP_JPY")
    assert terms.home_currency == "JPY" and not any(terms.financing_long.values())
    with pytest.raises(DataError, match="unknown instrument"):
        account_terms("GBP_XYZ")

"""The exchange: no tick lost, doubled or out of order; one long step equals many; a kill after any record is undone."""

import errno
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.clock import MAXIMUM_SPEED, Clock, ReplayClock, WallClock, market_clock
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk.times import time_of, time_text
from fx_pipeline.broker.paper.exchange import RESERVE_S, Exchange
from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.broker.paper.journal import FILE_NAME
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.ticks import Feed
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError

HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
NAMES = ("EUR_USD", "GBP_JPY", "USD_JPY")


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


START, END = ns("2024-03-12T12:00"), ns("2024-03-13T18:00")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> PaperMarket:
    """The synthetic market."""
    return PaperMarket(tmp_path_factory.mktemp("store"))


@pytest.fixture
def open_(market: PaperMarket) -> Callable[..., Exchange]:
    """Opens exchanges on the synthetic market; stepped, in memory, unless asked for otherwise."""

    def make(start_ns: int = START, speed: float = 0.0, state: Path | None = None, **more: Any) -> Exchange:
        return Exchange.open(market, AccountConfig(), NAMES, start_ns, speed, state, **more)

    return make


def order(exchange: Exchange, **fields: Any) -> dict[str, Any]:
    now = exchange.advance()
    outcome = exchange.desk.create_order({"type": "MARKET", "instrument": "EUR_USD", **fields}, now, "1")
    assert outcome.status == 201, outcome.body
    return outcome.body


def trade_a_little(exchange: Exchange) -> None:
    """Leave open trades with stops, a target and a trailing stop, and orders that wait, one of which expires."""
    eur, jpy = exchange.quote("EUR_USD"), exchange.quote("GBP_JPY")
    order(
        exchange,
        units="1000",
        stopLossOnFill={"price": str(eur.bid - Decimal("0.00400"))},
        takeProfitOnFill={"price": str(eur.bid + Decimal("0.00250"))},
    )
    order(exchange, units="-2000", instrument="GBP_JPY", trailingStopLossOnFill={"distance": "0.400"})
    order(exchange, units="100", instrument="USD_JPY")
    order(exchange, type="LIMIT", units="500", price=str(eur.ask - Decimal("0.00150")))
    order(
        exchange,
        type="STOP",
        units="700",
        instrument="GBP_JPY",
        price=str(jpy.ask + Decimal("0.900")),
        timeInForce="GTD",
        gtdTime="2024-03-12T20:11:07.000000000Z",
    )


def invariant(transactions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Transactions as a restart must leave them: all of it."""
    assert [entry["id"] for entry in transactions] == [str(k + 1) for k in range(len(transactions))]
    return [dict(entry) for entry in transactions]


def test_an_order_sent_when_a_bar_is_complete_fills_at_the_next_open(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    bars = synthetic_bars("EUR_USD", START, START + HOUR_NS)
    row = int(np.flatnonzero(np.diff(bars.time) == MINUTE_NS)[5])
    exchange.step(int(bars.time[row]) + MINUTE_NS)
    fill = order(exchange, units="100")["orderFillTransaction"]
    assert float(fill["price"]) == bars.table("x")["ask_o"][row + 1].as_py()


def test_a_day_at_a_thousand_times_real_time_loses_no_tick(market: PaperMarket) -> None:
    machine = [0]
    draw = np.random.default_rng(3)

    def make_clock(start_ns: int, speed: float) -> Clock:
        return ReplayClock(start_ns, speed, lambda: machine[0])

    exchange = Exchange.open(market, AccountConfig(), NAMES, START, 1000.0, make_clock=make_clock)
    every: list[Quote] = []
    euros: list[Quote] = []
    exchange.subscribe_quotes(every.append)
    exchange.subscribe_quotes(euros.append, ["EUR_USD"])
    now = START
    while now < START + DAY_NS:
        # From a busy loop's microseconds to a pause of a second, which is 17 minutes of the market.
        machine[0] += int(10 ** draw.uniform(4, 9))
        now = exchange.advance()
    feeds = {name: Feed(market, TradingHours(), name).between(START, now) for name in NAMES}
    assert sum(map(len, feeds.values())) > 3 * 4 * 1300
    for name, expected in feeds.items():
        assert [quote for quote in every if quote.instrument == name] == expected
    assert euros == feeds["EUR_USD"]
    times = [quote.time_ns for quote in every]
    assert times == sorted(times)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, END - START), max_size=30))
def test_one_long_step_does_what_many_short_ones_do(market: PaperMarket, cuts: list[int]) -> None:
    found = []
    for stops in ([], sorted(cuts)):
        exchange = Exchange.open(market, AccountConfig(), NAMES, START, 0.0)
        trade_a_little(exchange)
        for stop in (*stops, END - START):
            exchange.step(START + stop)
        found.append(exchange.desk.transactions)
    assert found[0] == found[1]
    kinds = [entry["type"] for entry in found[0]]
    assert kinds.count("DAILY_FINANCING") >= 1
    assert {entry.get("reason") for entry in found[0]} >= {"TIME_IN_FORCE_EXPIRED"}


def test_financing_falls_on_every_new_york_close_and_expiry_on_its_second(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    order(exchange, units="1000")
    order(
        exchange,
        type="LIMIT",
        units="1",
        price="0.50000",
        timeInForce="GTD",
        gtdTime="2024-03-12T20:11:07.000000000Z",
    )
    exchange.step(START + 3 * DAY_NS)
    by_kind: dict[str, list[str]] = {}
    for entry in exchange.desk.transactions:
        by_kind.setdefault(entry["type"], []).append(entry["time"])
    assert by_kind["DAILY_FINANCING"] == [f"2024-03-{day}T21:00:00.000000000Z" for day in (12, 13, 14)]
    assert by_kind["ORDER_CANCEL"] == ["2024-03-12T20:11:07.000000000Z"]


def test_a_long_step_leaves_the_newest_quote_of_what_nobody_watches(open_: Callable[..., Exchange]) -> None:
    exchange = open_(ns("2024-01-03T12:00"))
    exchange.step(START)
    watched = open_(ns("2024-03-11T12:00"))
    watched.subscribe_quotes(lambda quote: None)
    watched.step(START)
    for name in NAMES:
        assert exchange.quote(name) == watched.quote(name) == exchange.desk.quote(name)


def test_the_next_tick_is_foreseen_and_nothing_is_due_after_the_data(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    seen: list[Quote] = []
    exchange.subscribe_quotes(seen.append)
    for _ in range(50):
        due = exchange.next_due_ns()
        assert due is not None
        exchange.step(due - 1)
        count = len(seen)
        exchange.step(due)
        assert len(seen) > count and all(quote.time_ns == due for quote in seen[count:])
    exchange.step(ns("2024-03-20T12:00"))
    assert exchange.next_due_ns() is None
    assert not any(exchange.quote(name).tradeable for name in NAMES)


def test_a_jump_hits_a_stop_and_a_halt_holds_orders_up(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    seen: list[str] = []
    stop = exchange.subscribe_transactions(lambda entry: seen.append(entry["type"]))
    price = exchange.quote("EUR_USD").bid - Decimal("0.00200")
    order(exchange, units="1000", stopLossOnFill={"price": str(price)})
    exchange.jump_price("EUR_USD", Decimal("-25"))
    fill = exchange.desk.transactions[-1]
    assert (fill["type"], fill["reason"]) == ("ORDER_FILL", "STOP_LOSS_ORDER")
    assert Decimal(fill["price"]) == exchange.quote("EUR_USD").bid < price
    exchange.halt("EUR_USD", True)
    assert order(exchange, units="5")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    exchange.step(START + HOUR_NS)
    assert not exchange.quote("EUR_USD").tradeable
    exchange.halt("EUR_USD", False)
    assert "orderFillTransaction" in order(exchange, units="5")
    assert seen.count("ORDER_FILL") == 3
    stop()
    stop()
    order(exchange, units="5")
    assert seen.count("ORDER_FILL") == 3


def test_what_the_control_surface_cannot_do(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    with pytest.raises(ConfigurationError, match="cannot go back"):
        exchange.step(START - 1)
    with pytest.raises(DataError, match="AUD_USD is not traded here"):
        exchange.halt("AUD_USD", True)
    with pytest.raises(ConfigurationError, match="smaller"):
        exchange.jump_price("EUR_USD", Decimal(-99_999))
    exchange.set_speed(2.0)
    with pytest.raises(ConfigurationError, match="runs by itself"):
        exchange.step(START + DAY_NS)
    with pytest.raises(ConfigurationError, match="positive"):
        exchange.set_speed(-1.0)


@pytest.mark.parametrize("pips", ["1e30", "1e13", "1e999999", "-1e999999"])
def test_a_jump_to_no_price_is_refused_and_the_account_lives_on(
    open_: Callable[..., Exchange], tmp_path: Path, pips: str
) -> None:
    exchange = open_(state=tmp_path)
    order(exchange, units="1000")
    with pytest.raises(ConfigurationError, match="ask for a smaller one"):
        exchange.jump_price("EUR_USD", Decimal(pips))
    # The highest that is taken.
    exchange.jump_price("EUR_USD", Decimal("9.99e12"))
    order(exchange, units="-1000")
    exchange.step(START + HOUR_NS)
    exchange.close()
    again = open_(state=tmp_path)
    assert again.desk.transactions == exchange.desk.transactions
    again.close()


@pytest.mark.parametrize("balance", ["1e30", "1e15", "0.00001", "NaN", "sNaN"])
def test_a_balance_that_cannot_be_booked_is_refused(balance: str) -> None:
    with pytest.raises(ConfigurationError, match="positive amount"):
        AccountConfig(balance=Decimal(balance))


def test_an_account_that_cannot_be_opened_leaves_no_journal(market: PaperMarket, tmp_path: Path) -> None:
    config = AccountConfig()
    # What the terms do not catch: as another bug would look.
    object.__setattr__(config, "balance", Decimal("1e40"))
    with pytest.raises(ArithmeticError):
        Exchange.open(market, config, NAMES, START, 0.0, tmp_path)
    again = Exchange.open(market, AccountConfig(), NAMES, START, 0.0, tmp_path)
    assert not again.resumed
    again.close()


@pytest.mark.parametrize("target", ["9999-01-01T00:00:00Z", "2261-01-01T00:00:00Z", "2025-04-01T00:00:00Z"])
def test_a_step_beyond_all_time_is_refused_before_it_is_written(
    open_: Callable[..., Exchange], tmp_path: Path, target: str
) -> None:
    exchange = open_(state=tmp_path)
    to_ns = time_of(target)
    assert to_ns is not None
    with pytest.raises(ConfigurationError, match="the candles end at 2024-03-15"):
        exchange.step(to_ns)
    with pytest.raises(ConfigurationError, match="positive number"):
        exchange.set_speed(1e300)
    assert exchange.advance() == START
    exchange.close()
    again = open_(state=tmp_path)
    assert again.advance() == START
    again.close()


def test_a_clock_that_runs_for_days_at_the_highest_speed_stays_within_time(market: PaperMarket, tmp_path: Path) -> None:
    machine = [0]

    def make_clock(start_ns: int, speed: float) -> Clock:
        return ReplayClock(start_ns, speed, lambda: machine[0])

    exchange = Exchange.open(market, AccountConfig(), NAMES, START, MAXIMUM_SPEED, tmp_path, make_clock=make_clock)
    for _ in range(5):
        machine[0] += DAY_NS
        exchange.advance()
    assert order(exchange, units="1")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    exchange.close()
    again = Exchange.open(market, AccountConfig(), NAMES, START, MAXIMUM_SPEED, tmp_path, make_clock=make_clock)
    assert again.advance() >= exchange.clock.now_ns()
    again.close()


def test_orders_expire_in_the_order_of_their_times(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    draw = np.random.default_rng(5)
    wanted = []
    for after_s in draw.permutation(40).tolist():
        gtd = time_text(START + (60 + after_s // 2) * 1_000_000_000)
        made = order(exchange, type="LIMIT", units="1", price="0.50000", timeInForce="GTD", gtdTime=gtd)
        wanted.append((gtd, int(made["orderCreateTransaction"]["id"])))
    cancelled = wanted.pop(7)
    exchange.desk.cancel_order(str(cancelled[1]), exchange.advance(), "1")
    exchange.step(START + HOUR_NS)
    ended = [entry for entry in exchange.desk.transactions if entry.get("reason") == "TIME_IN_FORCE_EXPIRED"]
    assert [(entry["time"], int(entry["orderID"])) for entry in ended] == sorted(wanted)


def test_another_speed_does_not_make_the_time_jump(open_: Callable[..., Exchange]) -> None:
    exchange = open_()
    exchange.step(START + HOUR_NS)
    exchange.set_speed(1.0)
    now = exchange.advance()
    assert START + HOUR_NS <= now < START + 2 * HOUR_NS
    exchange.set_speed(0.0)
    later = exchange.advance()
    assert now <= later == exchange.advance()


CONTROLS: list[tuple[int, Callable[[Exchange], None]]] = [
    (5 * HOUR_NS, lambda exchange: exchange.jump_price("GBP_JPY", Decimal("7.5"))),
    (5 * HOUR_NS, lambda exchange: exchange.jump_price("GBP_JPY", Decimal("-4"))),
    (7 * HOUR_NS + 30, lambda exchange: exchange.halt("EUR_USD", True)),
    (9 * HOUR_NS, lambda exchange: exchange.halt("EUR_USD", False)),
    (26 * HOUR_NS, lambda exchange: exchange.jump_price("EUR_USD", Decimal(-60))),
]


def finish(exchange: Exchange, done: int) -> list[dict[str, Any]]:
    for after, act in CONTROLS[done:]:
        while exchange.advance() < START + after:
            exchange.step(min(exchange.advance() + HOUR_NS, START + after))
        act(exchange)
    exchange.step(max(END, exchange.advance()))
    exchange.close()
    return invariant(exchange.desk.transactions)


def test_a_kill_after_any_record_changes_nothing(open_: Callable[..., Exchange], tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    exchange = open_(state=whole)
    trade_a_little(exchange)
    commands = (whole / FILE_NAME).read_bytes().count(b"\n")
    expected = finish(exchange, 0)
    lines = (whole / FILE_NAME).read_bytes().splitlines(keepends=True)
    assert len(lines) > commands + 30
    steps = [b'"kind":"step"' in line for line in lines]
    for count in range(commands, len(lines) + 1):
        # Around what is no step, and here and there besides.
        if all(steps[count - 1 : count + 1]) and count % 9:
            continue
        folder = tmp_path / str(count)
        folder.mkdir()
        # A torn line follows.
        (folder / FILE_NAME).write_bytes(b"".join(lines[:count]) + b'01234567 {"kind":"batch","time')
        done = sum(b'"kind":"jump"' in line or b'"kind":"halt"' in line for line in lines[:count])
        resumed = open_(0, state=folder)
        assert resumed.resumed and resumed.desk.transactions[: int(expected[0]["id"])] == expected[:1]
        assert finish(resumed, done) == expected, f"killed after record {count}"


def test_a_kill_while_the_account_is_opened_leaves_an_account(open_: Callable[..., Exchange], tmp_path: Path) -> None:
    exchange = open_(state=tmp_path / "whole")
    exchange.close()
    lines = (tmp_path / "whole" / FILE_NAME).read_bytes().splitlines(keepends=True)
    for count in range(3):
        folder = tmp_path / str(count)
        folder.mkdir()
        # The file comes into being with its first record.
        if count:
            (folder / FILE_NAME).write_bytes(b"".join(lines[:count]))
        again = open_(state=folder)
        assert again.desk.transactions == exchange.desk.transactions
        assert again.resumed == (count > 0)
        again.close()


def test_the_time_never_goes_back_over_a_kill(market: PaperMarket, tmp_path: Path) -> None:
    machine = [0]
    draw = np.random.default_rng(11)

    def make_clock(start_ns: int, speed: float) -> Clock:
        return ReplayClock(start_ns, speed, lambda: machine[0]) if speed else market_clock(start_ns, 0)

    latest = 0
    for _ in range(12):
        speed = float(draw.choice([1.0, 60.0, 1000.0]))
        exchange = Exchange.open(market, AccountConfig(), NAMES, START, speed, tmp_path, make_clock=make_clock)
        for _ in range(int(draw.integers(1, 40))):
            now = exchange.advance()
            assert now >= latest
            latest = now
            machine[0] += int(10 ** draw.uniform(3, 9))
        if draw.random() < 0.5:
            exchange.set_speed(float(draw.choice([0.0, 5.0])))
            latest = exchange.advance()
        # A kill closes the files and says nothing.
        journal = exchange._journal
        assert journal is not None
        for descriptor in (journal._file, journal._clock, journal._lock):
            os.close(descriptor)
    exchange = Exchange.open(market, AccountConfig(), NAMES, START, 1.0, tmp_path, make_clock=make_clock)
    assert latest <= exchange.advance() <= latest + int(1000 * RESERVE_S * 1e9)
    exchange.close()


def test_a_clean_stop_loses_no_time(open_: Callable[..., Exchange], tmp_path: Path) -> None:
    exchange = open_(speed=1000.0, state=tmp_path)
    exchange.close()
    stopped = exchange.clock.now_ns()
    again = open_(state=tmp_path)
    assert again.advance() <= stopped
    again.close()


def test_jumps_and_halts_outlive_a_restart(open_: Callable[..., Exchange], tmp_path: Path) -> None:
    exchange = open_(state=tmp_path)
    exchange.jump_price("EUR_USD", Decimal(50))
    exchange.halt("GBP_JPY", True)
    order(exchange, units="10")
    exchange.jump_price("EUR_USD", Decimal("0.1"))
    exchange.step(START + HOUR_NS)
    quotes = [exchange.quote(name) for name in NAMES]
    exchange.close()
    again = open_(state=tmp_path)
    assert [again.quote(name) for name in NAMES] == quotes
    again.close()


def test_an_account_keeps_its_terms_and_the_instruments_that_it_traded(market: PaperMarket, tmp_path: Path) -> None:
    terms = AccountConfig(
        "101-001-7-007", "GBP", Decimal("2500.50"), None, Decimal("0.01"), True, {"EUR_USD": Decimal("-0.02")}
    )
    exchange = Exchange.open(market, terms, ["EUR_USD", "GBP_JPY"], START, 0.0, tmp_path)
    order(exchange, units="10", instrument="GBP_JPY")
    exchange.close()
    again = Exchange.open(market, AccountConfig(), ["EUR_USD", "USD_JPY"], 0, 0.0, tmp_path)
    assert again.config == terms
    assert again.instruments == ("EUR_USD", "USD_JPY", "GBP_JPY")
    again.close()


def test_a_full_disk_stops_the_market_and_nothing_is_taken_twice(
    open_: Callable[..., Exchange], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = open_()
    trade_a_little(calm)
    expected: list[Quote] = []
    calm.subscribe_quotes(expected.append)
    calm.step(END)

    exchange = open_(state=tmp_path)
    trade_a_little(exchange)
    seen: list[Quote] = []
    exchange.subscribe_quotes(seen.append)
    real, calls = os.write, [0]

    def sometimes_full(descriptor: int, data: bytes) -> int:
        calls[0] += 1
        if calls[0] % 2 == 0:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", sometimes_full)
    failures = 0
    try:
        exchange.step(END)
    except FxPipelineError:
        failures += 1
    while exchange.next_due_ns() is None or (exchange.next_due_ns() or 0) <= END:
        try:
            exchange.advance()
        except FxPipelineError:
            failures += 1
    monkeypatch.setattr(os, "write", real)
    assert failures > 3
    assert exchange.desk.transactions == calm.desk.transactions
    assert seen == expected
    exchange.close()


def test_history_has_no_market(market: PaperMarket) -> None:
    exchange = Exchange.history(market, AccountConfig(), NAMES, WallClock(lambda: START))
    assert exchange.advance() == START
    assert exchange.next_due_ns() is None
    quote = exchange.quote("EUR_USD")
    assert (quote.tradeable, quote.time_ns <= START) == (False, True)
    assert not exchange.dirty
    with pytest.raises(ConfigurationError, match="replay clock"):
        exchange.jump_price("EUR_USD", Decimal(1))
    exchange.close()

"""Ticks inside bars, and quotes by time: the same whatever the pieces in which they are asked for."""

from bisect import bisect_right
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.ticks import Feed, bar_ticks
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import ConfigurationError, DataError

HOUR_NS = 60 * MINUTE_NS


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


# A week with a weekend before and after it.
FIRST, LAST = ns("2024-01-05T12:00"), ns("2024-01-16T12:00")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> PaperMarket:
    """EUR_USD from Friday 5 to Tuesday 16 January 2024, at noon, as if imported."""
    store = tmp_path_factory.mktemp("store")
    candle_store.upsert(store, "EUR_USD", synthetic_bars("EUR_USD", FIRST, LAST).table("imported"))
    return PaperMarket(store, synthetic=False)


@pytest.fixture
def feed(market: PaperMarket) -> Feed:
    return Feed(market, TradingHours(), "EUR_USD")


def bar(bid: str, mid: str, ask: str) -> Bars:
    prices = [float(price) for side in (bid, mid, ask) for price in side.split()]
    return Bars(np.array([FIRST]), np.array([prices]), np.array([1]), np.array([False]))


def test_a_bar_has_four_ticks_and_the_nearer_extreme_comes_first() -> None:
    one = bar("1.10000 1.10300 1.09900 1.10200", "1.10010 1.10310 1.09910 1.10210", "1.10020 1.10320 1.09920 1.10220")
    time, bid, ask = bar_ticks(one, 5)
    assert ((time - FIRST) // 10**9).tolist() == [0, 15, 30, 45]
    assert bid.tolist() == [110000, 109900, 110300, 110200]
    assert ask.tolist() == [110020, 109920, 110320, 110220]
    mirrored = bar("1.10000 1.10100 1.09700 1.09800", "1.1001 1.1011 1.0971 1.0981", "1.1002 1.1012 1.0972 1.0982")
    assert bar_ticks(mirrored, 5)[1].tolist() == [110000, 110100, 109700, 109800]


def test_the_ask_is_never_below_the_bid() -> None:
    crossed = bar("1.1 1.3 1.0 1.2", "1.1 1.2 0.95 1.15", "1.1 1.1 0.9 1.1")
    _, bid, ask = bar_ticks(crossed, 5)
    assert np.all(ask >= bid)


def test_every_tick_of_every_bar_is_there_in_order(market: PaperMarket, feed: Feed) -> None:
    quotes = feed.between(0, LAST + HOUR_NS)
    times = [quote.time_ns for quote in quotes]
    assert times == sorted(set(times))
    bars = market.forward("EUR_USD", 0, LAST, 10**6)
    expected, bids, asks = (column.tolist() for column in bar_ticks(bars, 5))
    by_time = {quote.time_ns: quote for quote in quotes}
    assert len(expected) == 4 * len(bars.time) > 25_000
    for time, bid, ask in zip(expected, bids, asks, strict=True):
        assert (by_time[time].bid, by_time[time].ask) == (Decimal(bid).scaleb(-5), Decimal(ask).scaleb(-5))
    changes = TradingHours().changes(FIRST, LAST)
    closes = changes[~TradingHours().is_open(changes)].tolist()
    assert set(times) == set(expected) | set(closes) | {feed.end_ns}


def test_quotes_are_tradeable_in_hours_and_until_the_data_end(feed: Feed) -> None:
    quotes = feed.between(0, LAST + HOUR_NS)
    times = np.array([quote.time_ns for quote in quotes])
    expected = TradingHours().is_open(times) & (times < feed.end_ns)
    assert [quote.tradeable for quote in quotes] == expected.tolist()
    assert feed.newest(feed.end_ns - 1).tradeable
    ended = feed.newest(feed.end_ns + 400 * 24 * HOUR_NS)
    assert (ended.tradeable, ended.time_ns) == (False, feed.end_ns)
    assert feed.next_after(feed.end_ns) is None


def test_over_the_weekend_the_last_price_stands(feed: Feed) -> None:
    saturday = feed.newest(ns("2024-01-06T12:00"))
    friday = feed.newest(ns("2024-01-05T21:59:59"))
    assert not saturday.tradeable
    assert saturday[2:4] == friday[2:4]
    assert feed.next_after(ns("2024-01-06T12:00")) in (
        ns("2024-01-07T22:00"),
        ns("2024-01-07T22:01"),
        ns("2024-01-07T22:03"),
    )


def test_before_the_data_begin_their_first_price_shows_and_nothing_trades(feed: Feed) -> None:
    early = feed.newest(FIRST - 30 * 24 * HOUR_NS)
    assert early == feed.newest(FIRST)._replace(time_ns=FIRST - 30 * 24 * HOUR_NS, tradeable=False)
    assert feed.between(0, FIRST - 1) == []
    assert feed.next_after(0) == FIRST


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(FIRST - 3 * HOUR_NS, FIRST + 80 * HOUR_NS), max_size=10))
def test_pieces_make_the_whole(market: PaperMarket, cuts: list[int]) -> None:
    feed = Feed(market, TradingHours(), "EUR_USD")
    edges = sorted({FIRST - 4 * HOUR_NS, *cuts, FIRST + 80 * HOUR_NS})
    pieces = [quote for start, end in pairwise(edges) for quote in feed.between(start, end)]
    assert pieces == feed.between(edges[0], edges[-1])


def test_the_newest_and_the_next_quote_are_those_around_a_time(feed: Feed) -> None:
    every = feed.between(0, LAST + HOUR_NS)
    times = [quote.time_ns for quote in every]
    drawn = np.random.default_rng(1).integers(FIRST, LAST + 5 * HOUR_NS, 300).tolist()
    for time_ns in (*drawn, *times[:3], *times[-3:]):
        place = bisect_right(times, time_ns)
        assert feed.newest(time_ns) == every[place - 1]
        assert feed.next_after(time_ns) == (times[place] if place < len(times) else None)


def test_a_jump_moves_all_further_prices_and_a_halt_stops_trading(feed: Feed) -> None:
    now = ns("2024-01-09T12:00:07")
    before = feed.newest(now)
    feed.check_jump(Decimal("-12.3"), now)
    feed.jump(Decimal("-12.3"), now)
    after = feed.newest(now)
    assert (after.bid - before.bid, after.ask - before.ask) == (Decimal("-0.00123"), Decimal("-0.00123"))
    assert after.time_ns == now
    feed.halt(True, now + 1)
    assert not any(quote.tradeable for quote in feed.between(now, now + HOUR_NS))
    feed.halt(False, now + 2)
    assert all(quote.tradeable for quote in feed.between(now, now + HOUR_NS))


@pytest.mark.parametrize(
    ("pips", "says"),
    [
        ("0.05", "finer"),
        ("-20000", "would bring"),
        ("NaN", "no price"),
        ("1e30", "no price"),
        ("1e999999", "no price"),
        ("-1e-999999", "no price"),
        ("1e13", "would bring"),
    ],
)
def test_a_jump_that_cannot_be(feed: Feed, pips: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        feed.check_jump(Decimal(pips), ns("2024-01-09T12:00"))


def with_a_hole(folder: Path, start_ns: int, end_ns: int) -> PaperMarket:
    bars = synthetic_bars("EUR_USD", FIRST, LAST)
    kept = (bars.time < start_ns) | (bars.time >= end_ns)
    candle_store.upsert(folder, "EUR_USD", Bars(*(column[kept] for column in bars)).table("imported"))
    return PaperMarket(folder, synthetic=False)


# Inside a day, over midnight, and with the last bar just before midnight.
@pytest.mark.parametrize(
    ("start", "end"),
    [("T12:00", "T13:07"), ("T23:30", "T23:59"), ("T23:30", "T24:30"), ("T23:53", "T26:00"), ("T20:00", "T44:00")],
)
def test_nothing_trades_at_the_price_before_a_hole_in_the_data(tmp_path: Path, start: str, end: str) -> None:
    day = ns("2024-01-09")
    hole, over = (day + (60 * int(text[1:3]) + int(text[4:])) * MINUTE_NS for text in (start, end))
    given = with_a_hole(tmp_path, hole, over)
    feed = Feed(given, TradingHours(), "EUR_USD", stale_minutes=10)
    before = given.backward("EUR_USD", 0, hole, 1)
    last, after = int(before.time[0]), int(given.forward("EUR_USD", over, LAST, 1).time[0])
    assert feed.newest(last + 10 * MINUTE_NS - 1).tradeable
    stale = feed.newest(last + 10 * MINUTE_NS)
    assert (stale.tradeable, stale.time_ns) == (False, last + 10 * MINUTE_NS)
    assert stale[2:4] == feed.newest(last + MINUTE_NS)[2:4]
    assert not any(feed.newest(time).tradeable for time in range(last + 10 * MINUTE_NS, after, 7 * MINUTE_NS))
    assert feed.newest(after).tradeable and feed.newest(after).time_ns == after
    (between,) = (quote for quote in feed.between(last + MINUTE_NS, after - 1) if quote.time_ns == stale.time_ns)
    assert between == stale
    # A broker may bear more.
    assert Feed(given, TradingHours(), "EUR_USD", stale_minutes=3000).newest(last + 11 * MINUTE_NS).tradeable


def test_ten_minutes_without_a_bar_are_no_hole(tmp_path: Path) -> None:
    bars = synthetic_bars("EUR_USD", FIRST, LAST)
    place = int(np.searchsorted(bars.time, ns("2024-01-09T12:00")))
    last = int(bars.time[place])
    following = last + 10 * MINUTE_NS
    feed = Feed(with_a_hole(tmp_path, last + 1, following), TradingHours(), "EUR_USD")
    assert following in bars.time
    assert all(quote.tradeable for quote in feed.between(last, following + MINUTE_NS))


def test_after_an_opening_the_first_bar_opens_trading(tmp_path: Path) -> None:
    opening, first = ns("2024-01-07T22:03"), ns("2024-01-07T22:08")
    feed = Feed(with_a_hole(tmp_path, opening, first), TradingHours(), "EUR_USD")
    quotes = feed.between(opening - 1, first + MINUTE_NS)
    assert all(quote.time_ns >= first for quote in quotes) and quotes[0].tradeable
    assert not feed.newest(opening).tradeable and not feed.newest(quotes[0].time_ns - 1).tradeable
    assert feed.next_after(opening) == quotes[0].time_ns


def test_an_instrument_without_candles_has_no_quotes(market: PaperMarket) -> None:
    with pytest.raises(DataError, match="no candles of GBP_JPY"):
        Feed(market, TradingHours(), "GBP_JPY")

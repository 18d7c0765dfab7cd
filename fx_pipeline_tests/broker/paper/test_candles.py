"""The candles endpoint without HTTP: every granularity, what a replay may show, and what faults do."""

import itertools
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.aggregate import aggregate, ticks
from fx_pipeline.broker.paper.candles import candles_reply
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.granularity import GRANULARITIES, Granularity
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.ticks import bar_ticks
from fx_pipeline.broker.paper.wire import WireError, parse_time
from fx_pipeline.market.calendar import MINUTE_NS

SECOND = 1_000_000_000
HOUR = 60 * MINUTE_NS
START = parse_time("2024-03-04T00:00:00Z")
# A Wednesday, inside the synthetic market's span, 20 s into a minute.
NOW = parse_time("2024-03-13T12:00:20Z")
MARKET = PaperMarket(Path("nowhere"))
SIDES = ("bid", "mid", "ask")


def ask(parameters: dict[str, object], now: int = NOW, faults: Faults | None = None, market: PaperMarket = MARKET):
    query = {name: str(value) for name, value in {"granularity": "M1", "price": "BMA", **parameters}.items()}
    body, headers = candles_reply(market, "EUR_USD", query, now, False, faults or Faults())
    return orjson.loads(body)["candles"], headers


def opens(candles: list[dict]) -> list[int]:
    return [parse_time(candle["time"]) for candle in candles]


@pytest.mark.parametrize("name", [name for name in GRANULARITIES if name[0] != "S"])
def test_candles_are_what_pandas_makes_of_the_minutes(name: str) -> None:
    bars = synthetic_bars("EUR_USD", START, NOW - 20 * SECOND)
    frame = pd.DataFrame(bars.prices[:, 4:8], columns=list("ohlc"))
    frame["volume"] = bars.volume
    local = pd.DatetimeIndex(bars.time.astype("datetime64[ns]"), tz="UTC").tz_convert("America/New_York")
    wall = local.tz_localize(None)
    # Days start at 17:00, which becomes midnight; weeks on Friday; the clocks change while nothing trades.
    shifted = wall + pd.Timedelta(hours=7)
    if name == "M":
        keys = shifted.to_period("M").start_time
    elif name == "W":
        keys = shifted.to_period("W-FRI").start_time
    else:
        keys = shifted.floor(f"{GRANULARITIES[name] // 60}min")
    groups = frame.groupby(keys)
    expected = groups.agg({"o": "first", "h": "max", "l": "min", "c": "last", "volume": "sum"})
    utc = (expected.index - pd.Timedelta(hours=7)).tz_localize("America/New_York").tz_convert("UTC")
    found, _ = ask({"granularity": name, "from": "2024-03-04T00:00:00Z", "count": 5000}, NOW - 21 * SECOND)
    assert opens(found)[: len(utc)] == utc.as_unit("ns").asi8.tolist()[:5000]
    for candle, row in list(zip(found, expected.itertuples(), strict=False))[1:]:
        assert candle["mid"] == {field: f"{getattr(row, field):.5f}" for field in "ohlc"}
        assert candle["volume"] == row.volume


def test_seconds_are_the_exchanges_ticks() -> None:
    bars = synthetic_bars("EUR_USD", START, START + 200 * MINUTE_NS)
    times, bids, asks = bar_ticks(bars, 5)
    found, _ = ask({"granularity": "S5", "from": "2024-03-04T00:00:00Z", "count": len(times)})
    assert opens(found) == times.tolist()
    for side, points in (("bid", bids), ("ask", asks)):
        assert [candle[side]["o"] for candle in found] == [f"{point / 1e5:.5f}" for point in points.tolist()]
    volumes = np.array([candle["volume"] for candle in found]).reshape(-1, 4).sum(axis=1)
    np.testing.assert_array_equal(volumes[bars.volume >= 4], bars.volume[bars.volume >= 4])
    for name, per_minute in (("S10", 4), ("S15", 4), ("S30", 2)):
        assert len(ask({"granularity": name, "from": "2024-03-04T00:00:00Z", "to": "2024-03-04T00:01:00Z"})[0]) == (
            per_minute
        )


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(GRANULARITIES)), st.integers(0, 600), st.integers(1, 40), st.booleans())
def test_pages_of_any_size_join_to_the_same_candles(name: str, skipped: int, count: int, smoothed: bool) -> None:
    granularity = Granularity(name)
    start = granularity.start(START + skipped * MINUTE_NS)
    options = {"granularity": name, "smooth": smoothed}
    whole, _ = ask({**options, "from": start / 1e9, "count": 3 * count})
    pages: list[dict] = []
    position = start
    for _ in range(3):
        page, _ = ask({**options, "from": f"{position // SECOND}", "count": count})
        pages += page
        if not page:
            break
        position = granularity.end(opens(page)[-1])
        if position > NOW:
            break
    assert pages == whole
    if whole:
        back, _ = ask({**options, "to": f"{min(granularity.end(opens(whole)[-1]), NOW) // SECOND}", "count": 10})
        assert [candle for candle in back if candle in whole] == whole[-10:]


def test_smoothed_candles_open_at_the_close_before() -> None:
    plain, _ = ask({"from": "2024-03-04T00:00:00Z", "count": 50})
    smooth, _ = ask({"from": "2024-03-04T00:01:00Z", "count": 49, "smooth": "True"})
    for before, candle, original in zip(plain, smooth, plain[1:], strict=False):
        for side in SIDES:
            assert candle[side]["o"] == before[side]["c"]
            assert candle[side]["c"] == original[side]["c"]
            assert float(candle[side]["h"]) == max(float(original[side]["h"]), float(before[side]["c"]))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GRANULARITIES)), st.integers(0, 3 * 86_400))
def test_a_replay_shows_nothing_of_the_future(name: str, seconds: int) -> None:
    now = START + seconds * SECOND
    found, headers = ask({"granularity": name, "count": 3}, now)
    assert parse_time(headers["FX-Time"]) == now
    granularity = Granularity(name)
    for candle in found:
        assert parse_time(candle["time"]) <= now
        assert candle["complete"] is (granularity.end(parse_time(candle["time"])) <= now)
    if found:
        # The newest price is the newest tick's, whatever the granularity.
        known = ticks(synthetic_bars("EUR_USD", START - 4 * 86_400 * SECOND, now + 1), 5).between(0, now + 1)
        assert [found[-1][side]["c"] for side in SIDES] == [f"{known.prices[-1, 4 * n + 3]:.5f}" for n in range(3)]


def test_the_running_minute_grows_tick_by_tick() -> None:
    minute = START + 10 * MINUTE_NS
    full = synthetic_bars("EUR_USD", minute, minute + MINUTE_NS)
    volumes = []
    for second in (0, 15, 30, 45, 59):
        newest = ask({"count": 1}, minute + second * SECOND)[0][0]
        assert (parse_time(newest["time"]), newest["complete"]) == (minute, False)
        assert newest["mid"]["o"] == f"{full.prices[0, 4]:.5f}"
        volumes.append(newest["volume"])
    assert newest["mid"] == {field: f"{full.prices[0, 4 + n]:.5f}" for n, field in enumerate("ohlc")}
    assert volumes == sorted(volumes)
    done = next(c for c in ask({"count": 2}, minute + MINUTE_NS)[0] if parse_time(c["time"]) == minute)
    assert (done["complete"], done["volume"]) == (True, int(full.volume[0]))


def test_alignment_moves_days_and_weeks() -> None:
    whole = {"from": "2024-02-26T00:00:00Z", "count": 20}
    london = {"dailyAlignment": 0, "alignmentTimezone": "Europe/London", "weeklyAlignment": "Monday"}
    days = opens(ask({**whole, **london, "granularity": "D"})[0])
    assert {time % (24 * HOUR) for time in days} == {0}
    weeks = [
        np.datetime64(time, "ns").astype("datetime64[D]")
        for time in opens(ask({**whole, **london, "granularity": "W"})[0])
    ]
    assert [str(day) for day in weeks] == ["2024-02-26", "2024-03-04", "2024-03-11"]
    # 17:00 New York is 22:00 UTC before the clocks change on 10 March, and 21:00 after it.
    days = opens(ask({**whole, "granularity": "D"})[0])
    assert [time % (24 * HOUR) // HOUR for time in days if time > parse_time("2024-03-08T00:00:00Z")] == [21, 21, 21]
    assert {time % (24 * HOUR) // HOUR for time in days if time < parse_time("2024-03-08T00:00:00Z")} == {22}
    with pytest.raises(WireError, match="Maximum value"):
        ask({"granularity": "H1", "from": "2010-01-01T00:00:00Z", "to": "2024-01-01T00:00:00Z"})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=3), st.sampled_from(["M1", "M5", "H4", "D", "W", "M"]))
def test_aggregating_in_parts_changes_nothing(cuts: list[int], name: str) -> None:
    bars = synthetic_bars("EUR_USD", START, START + 400 * MINUTE_NS)
    granularity = Granularity(name)
    bounds = [0, *sorted(cuts), len(bars.time)]
    parts = [aggregate(bars.part(*pair), granularity) for pair in itertools.pairwise(bounds)]
    joined = aggregate(type(bars).concatenate(parts), granularity)
    for one, other in zip(joined, aggregate(bars, granularity), strict=True):
        np.testing.assert_array_equal(one, other)


def test_candles_turn_complete_late() -> None:
    last = NOW - NOW % MINUTE_NS - MINUTE_NS
    for delay, complete in ((0, True), (20, True), (21, False), (45, False)):
        newest = {parse_time(c["time"]): c for c in ask({"count": 3}, faults=Faults(complete_delay_s=delay))[0]}
        assert newest[last]["complete"] is complete
        assert newest[last - MINUTE_NS]["complete"]


def test_missing_minutes_are_always_the_same_and_pages_are_still_full() -> None:
    faults = Faults(missing_minutes=0.3)
    window = {"from": "2024-03-04T00:00:00Z", "count": 1000}
    plain, some = opens(ask(window)[0]), opens(ask(window, faults=faults)[0])
    assert len(some) == 1000
    assert set(some) & set(plain) == set(some[: len(set(some) & set(plain))])
    assert 0.62 < len(set(some) & set(plain)) / 1000 < 0.78
    assert opens(ask({"from": f"{some[500] // SECOND}", "count": 500}, faults=faults)[0]) == some[500:]
    assert ask(window, faults=Faults(missing_minutes=1.0))[0] == []


def test_a_partial_page_is_the_half_next_to_where_was_asked() -> None:
    faults = Faults(partial_page=True)
    forward, backward = {"from": "2024-03-04T00:00:00Z", "count": 11}, {"to": "2024-03-04T00:00:00Z", "count": 11}
    assert ask(forward, faults=faults)[0] == ask(forward)[0][:6]
    assert ask(backward, faults=faults)[0] == ask(backward)[0][-6:]
    assert len(ask({**forward, "count": 1}, faults=faults)[0]) == 1


def test_a_skewed_clock_moves_what_may_be_asked_and_shows_no_future() -> None:
    assert opens(ask({"count": 1}, faults=Faults(clock_skew_s=-600))[0])[0] <= NOW - 600 * SECOND
    with pytest.raises(WireError, match="future"):
        ask({"from": f"{(NOW - 60 * SECOND) // SECOND}"}, faults=Faults(clock_skew_s=-600))
    # A clock that is ahead knows no more of the market than there is.
    plain = ask({"count": 3})[0]
    ahead, headers = ask({"count": 3}, faults=Faults(clock_skew_s=600))
    assert ahead == plain and [candle["complete"] for candle in ahead] == [True, True, False]
    assert parse_time(headers["FX-Time"]) == NOW + 600 * SECOND
    assert ask({"from": f"{(NOW + 60 * SECOND) // SECOND}"}, faults=Faults(clock_skew_s=600))[0] == []


def test_an_unknown_instrument_is_refused() -> None:
    with pytest.raises(WireError, match="'instrument'"):
        candles_reply(MARKET, "GBPJPY", {}, NOW, False, Faults())

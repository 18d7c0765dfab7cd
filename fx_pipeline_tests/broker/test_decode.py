"""Decoding: the compiled reader, the general one, and Python's own say the same, or the page is refused."""

import json
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.decode import read_candles, read_outline
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.broker.paper.wire import candles_body, parse_time
from fx_pipeline.broker.scan import scan_page
from fx_pipeline.market.errors import DataError

START = parse_time("2024-01-08T00:00:00Z")
SIDES = ("bid", "mid", "ask")


def page(candles: list[dict], **keywords: object) -> bytes:
    reply = {"instrument": "EUR_USD", "granularity": "M1", "candles": candles}
    return json.dumps(reply, separators=(",", ":"), **keywords).encode()  # type: ignore[arg-type]


def candle(time: str = "2024-01-08T00:00:00.000000000Z", **changed: object) -> dict:
    side = {"o": "1.10000", "h": "1.20000", "l": "1.00000", "c": "1.15000"}
    return {"complete": True, "volume": 7, "time": time, **{name: dict(side) for name in SIDES}, **changed}


def digits(fewest: int, most: int) -> st.SearchStrategy[str]:
    """That many digits; drawn as one number, since drawing them one by one takes most of a test's time."""
    numbers = st.integers(0, 10**most - 1)
    if fewest == most:
        return numbers.map(lambda number: str(number).zfill(most))
    return st.builds(lambda number, width: str(number)[-width:].zfill(width), numbers, st.integers(fewest, most))


def decimal(whole: st.SearchStrategy[str], fraction: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}.{}".format, whole, fraction)


decimals = st.one_of(decimal(digits(1, 9), digits(1, 6)), decimal(digits(1, 22), digits(1, 12)), digits(1, 22))
sides = st.fixed_dictionaries({field: decimals for field in "ohlc"})
moments = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis wants them naive
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
).map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}123Z")
candles = st.fixed_dictionaries(
    {
        "complete": st.booleans(),
        "volume": st.integers(0, 10**15 - 1),
        "time": moments,
        **{name: sides for name in SIDES},
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(candles, max_size=4), st.randoms(use_true_random=False))
def test_every_value_is_what_python_reads(given_candles: list[dict], shuffler) -> None:
    shuffled = []
    for item in given_candles:
        keys = list(item)
        shuffler.shuffle(keys)
        shuffled.append({key: item[key] for key in keys})
    body = page(shuffled)
    found = read_candles(body)
    np.testing.assert_array_equal(found.time, [parse_time(item["time"]) for item in shuffled])
    np.testing.assert_array_equal(found.complete, [item["complete"] for item in shuffled])
    np.testing.assert_array_equal(found.volume, [item["volume"] for item in shuffled])
    expected = [[float(item[side][field]) for side in SIDES for field in "ohlc"] for item in shuffled]
    np.testing.assert_array_equal(found.prices, np.array(expected).reshape(-1, 12))
    time, complete = read_outline(body, "EUR_USD")
    np.testing.assert_array_equal(time, found.time)
    np.testing.assert_array_equal(complete, found.complete)


@st.composite
def usual_pages(draw: st.DrawFn) -> list[dict]:
    # Minutes in order, prices of one length, and among them what is not usual.
    whole, fraction = draw(st.sampled_from([(1, 5), (3, 3), (1, 1), (5, 1)]))
    price = digits(whole + fraction, whole + fraction).map(lambda text: f"{text[:whole]}.{text[whole:]}")
    fitting = st.fixed_dictionaries(dict.fromkeys("ohlc", price))
    minutes = sorted(draw(st.lists(st.integers(0, 4000), min_size=2, max_size=8, unique=True)))
    start = np.datetime64("2024-02-28T00:00")
    found = []
    for minute in minutes:
        item = {
            "complete": True,
            "volume": draw(st.integers(0, 5000)),
            "time": f"{start + np.timedelta64(minute, 'm')}:00.000000000Z",
            **{name: draw(fitting) for name in SIDES},
        }
        odd = draw(st.sampled_from(["", "", "", "complete", "time", "ask"]))
        item |= {} if not odd else {odd: draw({"complete": st.just(False), "time": moments, "ask": sides}[odd])}
        found.append(item)
    return found


@settings(max_examples=150, deadline=None)
@given(usual_pages())
def test_the_usual_shape_and_what_is_not_of_it_are_read_alike(given_candles: list[dict]) -> None:
    found = read_candles(page(given_candles))
    np.testing.assert_array_equal(found.time, [parse_time(item["time"]) for item in given_candles])
    np.testing.assert_array_equal(found.complete, [item["complete"] for item in given_candles])
    np.testing.assert_array_equal(found.volume, [item["volume"] for item in given_candles])
    expected = [[float(item[side][field]) for side in SIDES for field in "ohlc"] for item in given_candles]
    np.testing.assert_array_equal(found.prices, expected)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_page_is_refused_or_read_as_a_general_decoder_does(data: st.DataObject) -> None:
    body = bytearray(page([candle(), candle("2024-01-08T00:01:00.000000000Z", complete=False)]))
    where = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        body[where] = data.draw(st.sampled_from(list(b'0123456789.,:"{}[]truefals -Z\xff')))
    else:
        del body[where : where + data.draw(st.integers(1, 30))]
    scanned = scan_page(bytes(body))
    if scanned is None:
        return
    # What the compiled reader takes is sound JSON, and says what Python reads in it.
    reply = json.loads(bytes(body))
    assert (reply["instrument"], reply["granularity"]) == scanned[:2]
    assert [item["complete"] for item in reply["candles"]] == scanned[3].tolist()
    assert [item["volume"] for item in reply["candles"]] == scanned[4].tolist()
    assert [parse_time(item["time"]) for item in reply["candles"]] == scanned[2].tolist()
    expected = [[float(item[side][field]) for side in SIDES for field in "ohlc"] for item in reply["candles"]]
    np.testing.assert_array_equal(scanned[5], np.array(expected).reshape(-1, 12))


def test_the_usual_page_is_read_by_the_compiled_reader_and_any_cut_of_it_is_refused() -> None:
    bars = synthetic_bars("EUR_USD", START, START + 50 * 60_000_000_000)
    body = candles_body("EUR_USD", "M1", bars, np.ones(len(bars.time), bool), "BMA")
    assert scan_page(body) is not None
    for length in range(0, len(body), 7):
        assert scan_page(body[:length]) is None
        with pytest.raises(DataError):
            read_candles(body[:length])
        with pytest.raises(DataError):
            read_outline(body[:length], "EUR_USD")


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T00:00:00.000000000Z",
        "2023-02-29T00:00:00.000000000Z",
        "2024-13-01T00:00:00.000000000Z",
        "2024-01-00T00:00:00.000000000Z",
        "2024-01-01T24:00:00.000000000Z",
        "2024-01-01T00:60:00.000000000Z",
        "2024-01-01T00:00:60.000000000Z",
        "2024-01-01T00:00:00.000000000+",
        "yesterday",
    ],
)
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="no readable time"):
        read_candles(page([candle(text)]))


def test_other_forms_are_read_too() -> None:
    assert scan_page(page([])) is not None
    spaced = json.dumps({"instrument": "EUR_USD", "granularity": "M1", "candles": [candle()]}, indent=1).encode()
    assert scan_page(spaced) is None
    assert read_candles(spaced).prices.tolist() == read_candles(page([candle()])).prices.tolist()
    short = read_candles(page([candle("2024-01-08T00:00:00Z", bid={"o": 1.1, "h": None, "l": "much", "c": [1]})]))
    assert short.time.tolist() == [START]
    np.testing.assert_array_equal(short.prices[0, :4], [1.1, np.nan, np.nan, np.nan])
    without = candle()
    del without["mid"], without["complete"]
    assert not read_candles(page([without])).complete[0]
    assert np.isnan(read_candles(page([without])).prices[0, 4:8]).all()


@pytest.mark.parametrize("changed", [{"volume": "7"}, {"volume": 2**70}, {"complete": "yes"}, {"time": 5}])
def test_values_of_another_type_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(DataError):
        read_candles(page([candle(**changed)]))


def test_a_page_of_something_else_is_named() -> None:
    with pytest.raises(DataError, match="a page of EUR_USD M1, not of GBP_JPY M1"):
        read_outline(page([candle()]), "GBP_JPY")

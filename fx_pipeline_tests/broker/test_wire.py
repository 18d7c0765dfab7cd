"""The wire format, without HTTP."""

import numpy as np
import orjson
import pytest

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.wire import WireError, candles_body, format_times, parse_candle_query, parse_time

NOW = parse_time("2024-06-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-08T10:00:30.000000000Z",
        "2024-01-08T10:00:30Z",
        "2024-01-08T12:00:30+02:00",
        "2024-01-08T12:00:30 02:00",
        "2024-01-08T05:30:30.0-04:30",
        "1704708030",
        "1704708030.000000000",
    ],
)
def test_times_are_read_in_every_form_that_oanda_takes(text: str) -> None:
    assert parse_time(text) == 1_704_708_030_000_000_000


def test_nine_decimals_survive_both_forms() -> None:
    moment = np.array([1_512_446_222_248_676_455])
    assert format_times(moment) == ["2017-12-05T03:57:02.248676455Z"]
    assert format_times(moment, unix=True) == ["1512446222.248676455"]
    assert parse_time(format_times(moment)[0]) == parse_time("1512446222.248676455") == moment[0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": "5001"}, "Maximum value for 'count' exceeded"),
        (
            {"from": "2024-01-01T00:00:00Z", "to": "2024-01-05T00:00:00Z"},
            "Maximum value for 'count' exceeded",
        ),
        (
            {"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z", "count": "5"},
            "'count' cannot be specified when 'to' and 'from' parameters are set",
        ),
        ({"to": "2024-06-01T00:00:01Z"}, "Invalid value specified for 'to'. Time is in the future"),
        ({"from": "2025-01-01T00:00:00Z"}, "Invalid value specified for 'from'. Time is in the future"),
        ({"from": "yesterday"}, "Invalid value specified for 'from'"),
        ({"granularity": "M3"}, "Invalid value specified for 'granularity'"),
        ({"price": "X"}, "Invalid value specified for 'price'"),
        ({"count": "0"}, "Invalid value specified for 'count'"),
        ({"count": "9" * 5000}, "Invalid value specified for 'count'"),
        ({"count": "-5"}, "Invalid value specified for 'count'"),
        ({"from": "9" * 5000}, "Invalid value specified for 'from'"),
        ({"from": "2024-13-41T00:00:00Z"}, "Invalid value specified for 'from'"),
        ({"includeFirst": "perhaps"}, "Invalid value specified for 'includeFirst'"),
        ({"smooth": "1"}, "Invalid value specified for 'smooth'"),
        ({"dailyAlignment": "24"}, "Invalid value specified for 'dailyAlignment'"),
        ({"dailyAlignment": "noon"}, "Invalid value specified for 'dailyAlignment'"),
        ({"alignmentTimezone": "Mars/Olympus"}, "Invalid value specified for 'alignmentTimezone'"),
        ({"alignmentTimezone": "../../etc/passwd"}, "Invalid value specified for 'alignmentTimezone'"),
        ({"weeklyAlignment": "Someday"}, "Invalid value specified for 'weeklyAlignment'"),
        ({"units": "many"}, "Invalid value specified for 'units'"),
    ],
)
def test_bad_parameters_get_oandas_words(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(WireError) as refused:
        parse_candle_query({"granularity": "M1", **parameters}, NOW)
    assert (refused.value.status, refused.value.message) == (400, message)


def test_a_range_of_exactly_5000_minutes_is_accepted() -> None:
    end = "2024-01-04T11:20:00Z"
    query = parse_candle_query({"granularity": "M1", "from": "2024-01-01T00:00:00Z", "to": end}, NOW)
    assert query.count is None


def test_a_time_inside_a_minute_asks_for_its_candle_unless_the_first_is_excluded() -> None:
    parameters = {"granularity": "M1", "from": "2024-01-01T10:00:30Z"}
    minute = parse_time("2024-01-01T10:00:00Z")
    assert parse_candle_query(parameters, NOW).start_ns == minute
    for text in ("False", "false", "FALSE"):
        assert parse_candle_query({**parameters, "includeFirst": text}, NOW).start_ns == minute + 60_000_000_000


def test_defaults_are_oandas() -> None:
    query = parse_candle_query({}, NOW)
    assert (query.sides, query.granularity.name, query.count, query.smooth) == ("M", "S5", 500, False)
    assert query.granularity.alignment == (17, "America/New_York", 4)
    assert parse_candle_query({"from": "0001-01-01T00:00:00Z"}, NOW).start_ns == 0


def test_a_body_has_strings_of_display_precision_and_oandas_keys() -> None:
    prices = np.array([[1.1, 1.2, 1.0, 1.15, 1.10001, 1.20001, 1.00001, 1.15001, 1.2, 1.3, 1.1, 1.25]])
    bars = Bars(np.array([NOW - 30_000_000_000]), prices, np.array([7]), np.array([False]))
    body = orjson.loads(candles_body("EUR_USD", "M1", bars, np.array([False]), "BMA"))
    assert body == {
        "instrument": "EUR_USD",
        "granularity": "M1",
        "candles": [
            {
                "complete": False,
                "volume": 7,
                "time": "2024-05-31T23:59:30.000000000Z",
                "bid": {"o": "1.10000", "h": "1.20000", "l": "1.00000", "c": "1.15000"},
                "mid": {"o": "1.10001", "h": "1.20001", "l": "1.00001", "c": "1.15001"},
                "ask": {"o": "1.20000", "h": "1.30000", "l": "1.10000", "c": "1.25000"},
            }
        ],
    }
    asks = orjson.loads(candles_body("EUR_USD", "M1", bars, np.array([True]), "A", unix=True))["candles"]
    assert asks == [{"complete": True, "volume": 7, "time": "1717199970.000000000", "ask": body["candles"][0]["ask"]}]

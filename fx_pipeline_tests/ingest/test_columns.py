"""Columns by their names."""

from pathlib import Path

import pytest

from fx_pipeline.ingest.clock import Clock
from fx_pipeline.ingest.columns import columns_of, distinct_names, is_header, plain_names, zone_clock
from fx_pipeline.market.errors import DataError

PATH = Path("a.csv")


@pytest.mark.parametrize(
    ("header", "prices", "volume", "time"),
    [
        ("time,open,high,low,close", "one", None, "time"),
        ("<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>,<VOL>,<SPREAD>", "one", "tickvol", "time"),
        ("DateTime,AskOpen,AskHigh,AskLow,AskClose,TickQty", "ask", "tickqty", "datetime"),
        ("Time (EET),Open,High,Low,Close,Volume ", "one", "volume", "time (eet)"),
        ("t,o,h,l,c,v,vol", "one", "vol", "t"),
        ("open_time,OpenPrice,HighPrice,LowPrice,ClosePrice", "one", None, "open_time"),
        ("UTC,open,high,low,close", "one", None, "utc"),
        ("time,open,o,high,low,close,close bid", "one", None, "time"),
    ],
)
def test_roles(header: str, prices: str, volume: str | None, time: str) -> None:
    names = distinct_names(PATH, plain_names(header.split(",")))
    assert is_header(names)
    if header.endswith("close bid"):
        with pytest.raises(DataError, match=r"incomplete bid columns in .* \(bid_high, bid_low, bid_open missing\)"):
            columns_of(PATH, names)
        return
    found = columns_of(PATH, names)
    assert list(found.prices) == [f"{prices}_{field}" for field in "ohlc"]
    assert (found.volume, found.times[0].name) == (volume, time)


def test_two_spellings_of_one_price_are_refused() -> None:
    names = plain_names("time,bid_open,bidopen,bid_high,bid_low,bid_close".split(","))
    with pytest.raises(DataError, match="'bid_open' and 'bidopen' are the same price"):
        columns_of(PATH, distinct_names(PATH, names))


@pytest.mark.parametrize(
    ("zone", "clock"),
    [
        ("eet", Clock("Europe/Athens")),
        ("gmt", Clock()),
        ("utc+2", Clock("UTC", 2.0)),
        ("gmt-05:30", Clock("UTC", -5.5)),
        ("america/new_york", Clock("America/New_York")),
        ("est", None),
        ("local", None),
        ("server time", None),
    ],
)
def test_zones_in_names(zone: str, clock: Clock | None) -> None:
    assert zone_clock(zone) == clock


@pytest.mark.parametrize("cells", [["1704481200", "1.1", "1.2"], ["2024-01-05", "19:00", "1.1"], ["hello", "world"]])
def test_values_are_no_header(cells: list[str]) -> None:
    assert not is_header(plain_names(cells))

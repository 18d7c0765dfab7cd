"""Where a replay begins: with a day of bars ahead of as many instruments as possible, and an open market."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.hours import TradingHours, instrument_hours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.start import data_span, default_start
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError

HOURS = TradingHours()
HOURS_OF = instrument_hours


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def market(folder: Path, **spans: tuple[str, str]) -> PaperMarket:
    for name, (first, last) in spans.items():
        bars = synthetic_bars(name, ns(first), ns(last))
        candle_store.upsert(folder, name, bars.table("imported"))
    return PaperMarket(folder, synthetic=False)


def test_a_day_before_the_data_end(tmp_path: Path) -> None:
    found = default_start(market(tmp_path, EUR_USD=("2024-02-05", "2024-02-14T13:00")), ["EUR_USD"], HOURS_OF)
    assert found == ns("2024-02-13T13:00")


def test_the_weekend_does_not_count(tmp_path: Path) -> None:
    found = default_start(market(tmp_path, EUR_USD=("2024-02-05", "2024-02-12T03:00")), ["EUR_USD"], HOURS_OF)
    assert found == ns("2024-02-09T03:00")


def test_the_market_is_open_and_stays_so_for_an_hour(tmp_path: Path) -> None:
    # The data end with the week, so that a day before lies in the daily break.
    found = default_start(market(tmp_path, EUR_USD=("2024-02-05", "2024-02-10")), ["EUR_USD"], HOURS_OF)
    assert found == ns("2024-02-08T20:58")
    assert HOURS.is_open(found + MINUTE_NS * np.arange(60)).all()


def test_as_many_instruments_as_possible_have_a_day_ahead(tmp_path: Path) -> None:
    given = market(
        tmp_path,
        EUR_USD=("2024-02-05", "2024-02-16T10:00"),
        GBP_JPY=("2024-02-06", "2024-02-14T10:00"),
        USD_JPY=("2024-01-08", "2024-01-19T10:00"),
        AUD_USD=("2024-02-21", "2024-02-28T10:00"),
    )
    assert default_start(given, ["EUR_USD", "GBP_JPY", "USD_JPY", "AUD_USD"], HOURS_OF) == ns("2024-02-13T10:00")
    # The newest of those that are as good.
    assert default_start(given, ["USD_JPY", "AUD_USD"], HOURS_OF) == ns("2024-02-27T10:00")


def test_less_than_a_day_begins_at_its_beginning(tmp_path: Path) -> None:
    given = market(tmp_path, EUR_USD=("2024-02-13T08:00", "2024-02-13T12:00"))
    first, last = data_span(given, "EUR_USD")
    assert default_start(given, ["EUR_USD"], HOURS_OF) == first
    assert last <= ns("2024-02-13T12:00")


def test_nothing_to_trade(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no candles of EUR_USD"):
        default_start(PaperMarket(tmp_path, synthetic=False), ["EUR_USD"], HOURS_OF)
    with pytest.raises(DataError, match="no instrument"):
        default_start(PaperMarket(tmp_path), [], HOURS_OF)

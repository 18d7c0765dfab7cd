"""Bid and ask of files with one side, for instruments that cost unlike a currency pair."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.ingest.importers import read_candles
from fx_pipeline.ingest.plausible import check_level
from fx_pipeline.ingest.sides import GivenSides, Side
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.spreads import modelled_spread_pips
from fx_pipeline_tests.ingest.made import FIELDS, fx_minutes, walk, write_csv

#: 08:00 to 12:00 New York on a Wednesday.
TIMES = int(np.datetime64("2024-02-07T13:00", "ns").astype(np.int64)) + MINUTE_NS * np.arange(240)


def bars(price: float) -> np.ndarray:
    """Open, high, low and close of a walk about a price, (4, 240)."""
    ends = price * np.exp(2e-4 * np.cumsum(np.random.default_rng(5).normal(size=241)))
    opens, closes = ends[:-1], ends[1:]
    return np.stack([opens, np.maximum(opens, closes) * 1.0001, np.minimum(opens, closes) * 0.9999, closes])


@pytest.mark.parametrize("side", ["bid", "mid", "ask"])
@pytest.mark.parametrize(
    ("name", "price", "spread"),
    [
        # OANDA's gold of 2010 to 2015 at the price of 2024; the model had 0.025 USD.
        ("XAU_USD", 2045.0, 0.49),
        ("XAG_USD", 22.66, 0.018),
        ("BTC_USD", 67_000.0, 60.0),
        ("USD_TRY", 32.0, 0.102),
        ("EUR_HUF", 366.7, 0.21),
        ("USD_MXN", 16.9, 0.0041),
        ("GBP_JPY", 187.0, 0.025),
    ],
)
def test_modelled_sides_lie_a_spread_apart_on_every_side(name: str, price: float, spread: float, side: Side) -> None:
    given = bars(price).round(instrument(name).display_precision)
    found = GivenSides.of(Path("x.csv"), name, {"one"}, side).complete(given, TIMES)
    widths = found["ask_c"] - found["bid_c"]
    assert np.median(widths) == pytest.approx(spread, rel=0.1)
    step = 10.0 ** -instrument(name).display_precision
    expected = modelled_spread_pips(name, TIMES, found["mid_c"]) * instrument(name).pip
    np.testing.assert_allclose(widths, expected, atol=2.1 * step, rtol=0.005)
    np.testing.assert_array_equal(found[f"{side}_c"], given[3])
    for of in ("bid", "mid", "ask"):
        open_, high, low, close = (found[f"{of}_{field}"] for field in "ohlc")
        assert (low <= np.minimum(open_, close)).all() and (high >= np.maximum(open_, close)).all() and (low > 0).all()


def test_a_tiny_price_of_a_metal_keeps_a_positive_bid() -> None:
    sides = GivenSides.of(Path("x.csv"), "XAU_USD", {"one"}, "ask")
    assert sides.widest_step_down == 0.0
    assert sides.complete(np.full((4, 1), 0.01), TIMES[:1])["bid_l"][0] > 0


@pytest.mark.parametrize(("late", "refused"), [(0, False), (1, True), (60, True)])
def test_bids_and_asks_of_other_minutes_are_refused(tmp_path: Path, late: int, refused: bool) -> None:
    bids = walk(fx_minutes("2024-01-08 00:00", "2024-01-09 12:00"))
    quotes = bids[["time"]].copy()
    for name in FIELDS:
        quotes[f"bid_{name}"] = bids[name]
        quotes[f"ask_{name}"] = (bids[name].shift(late) + 0.00008).round(5)
    path = write_csv(quotes[late:], tmp_path / "EURUSD.csv")
    if not refused:
        assert len(read_candles(path, "csv", "EUR_USD").candles) == len(bids)
        return
    with pytest.raises(DataError, match=r"in [\d,]+ of [\d,]+ rows the ask is below the bid, first in row \d+"):
        read_candles(path, "csv", "EUR_USD")


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_gold_of_another_scale_is_refused(factor: float) -> None:
    with pytest.raises(DataError, match="XAU_USD trades about"):
        check_level("a.csv", "XAU_USD", 2050.0 * factor)

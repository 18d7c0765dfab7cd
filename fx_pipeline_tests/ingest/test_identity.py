"""Instrument and side: what the user says, what files say, and what their names say must agree."""

from pathlib import Path

import pytest

from fx_pipeline.ingest.identity import common_instrument, common_side, instrument_source, named_side
from fx_pipeline.ingest.importers import import_files, read_candles
from fx_pipeline.market.errors import DataError
from fx_pipeline_tests.ingest.made import fx_minutes, walk, write_csv


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("EURUSD_Candlestick_1_M_ASK_05.01.2024.csv", "ask"),
        ("eurusd-m1-bid-2024.csv", "bid"),
        ("EURUSD_1 Min_Bid_2024.csv", "bid"),
        ("EURUSD_mids.csv", "mid"),
        ("GBP_USD_M1_bid_ask.parquet", None),
        ("TASKS_EURUSD.csv", None),
    ],
)
def test_the_side_in_a_name(name: str, side: str | None) -> None:
    assert named_side(Path(name)) == side


def test_sides_that_contradict_are_refused(tmp_path: Path) -> None:
    assert common_side(Path("EURUSD.csv"), None, None, "mid") == ("mid", "assumed, as usual in this form")
    assert common_side(Path("EURUSD_ASK.csv"), None, "ask", "mid")[0] == "ask"
    with pytest.raises(DataError, match="--side says bid, its name says ask"):
        common_side(Path("EURUSD_ASK.csv"), "bid", None, "mid")
    with pytest.raises(DataError, match="its rows say bid, its name says ask"):
        common_side(Path("EURUSD_ASK.csv"), None, "bid", "mid")
    frame = walk(fx_minutes("2024-01-09", "2024-01-09 02:00"))
    named = frame.rename(columns={name: f"bid_{name}" for name in ("open", "high", "low", "close")})
    with pytest.raises(DataError, match="its rows say bid, its name says ask"):
        read_candles(write_csv(named, tmp_path / "EURUSD_ASK.csv"), "csv", "EUR_USD")


def test_an_ask_file_is_stored_as_asks(tmp_path: Path) -> None:
    frame = walk(fx_minutes("2024-01-09", "2024-01-09 02:00"))
    path = write_csv(frame, tmp_path / "EURUSD_ASK.csv")
    found = read_candles(path, "csv", "EUR_USD")
    assert found.candles["ask_c"].to_pylist() == frame["close"].tolist()
    assert found.candles["bid_c"][0].as_py() < frame["close"][0]
    report = import_files([path], "EUR_USD", None, tmp_path / "data")
    assert (report.side, report.costs) == ("ask", "modelled") and "side: ask, as its name says" in report.assumptions


def test_bids_and_asks_of_the_same_minutes_are_not_laid_over_one_another(tmp_path: Path) -> None:
    frame = walk(fx_minutes("2024-01-09", "2024-01-09 04:00"))
    bids, asks = (write_csv(frame, tmp_path / f"EURUSD_{side}.csv") for side in ("BID", "ASK"))
    with pytest.raises(
        DataError, match=r"BID\.csv holds bid prices and .*ASK\.csv ask prices of the same minutes, first"
    ):
        import_files([bids, asks], "EUR_USD", None, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("2024-01.parquet"))
    later = write_csv(frame[120:], tmp_path / "EURUSD_ASK.csv")
    report = import_files([write_csv(frame[:120], bids), later], "EUR_USD", None, tmp_path / "data")
    assert report.imported == len(frame)


def test_what_a_file_says_counts_for_more_than_its_name_and_may_not_contradict_it(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.touch()
    assert common_instrument([path], None, lambda path: "GBP_USD") == "GBP_USD"
    with pytest.raises(DataError, match="says in its rows that it holds GBP_USD, not EUR_USD"):
        common_instrument([path], "EUR_USD", lambda path: "GBP_USD")
    euro = tmp_path / "EURUSD.csv"
    euro.touch()
    with pytest.raises(DataError, match="its rows that it holds GBP_USD, and its name says EUR_USD"):
        common_instrument([euro], None, lambda path: "GBP_USD")
    with pytest.raises(DataError, match="different instruments"):
        common_instrument([path, euro], None, lambda path: "GBP_USD" if path.name == "candles.csv" else None)


def test_rows_and_user_together_outweigh_a_name(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.touch()
    assert common_instrument([path], "GBP_USD", lambda _: "GBP_USD") == "GBP_USD"
    assert instrument_source(path, "GBP_USD") == "as its rows say"
    with pytest.raises(DataError, match="its name says EUR_USD: give --instrument GBP_USD"):
        common_instrument([path], None, lambda _: "GBP_USD")
    with pytest.raises(DataError, match="names EUR_USD, not GBP_USD"):
        common_instrument([path], "GBP_USD", lambda _: None)

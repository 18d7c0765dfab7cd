"""Columns that say what the rows are: several instruments are no import, and another one is refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from fx_pipeline.import_command import run_import
from fx_pipeline.ingest import named
from fx_pipeline.ingest.importers import guess_format, read_candles
from fx_pipeline.ingest.naming import instrument_of
from fx_pipeline.ingest.text import read_blocks
from fx_pipeline.market.errors import DataError

Write = Callable[[str, pd.DataFrame], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a table, of which the name tells how."""

    def write(name: str, frame: pd.DataFrame) -> Path:
        path = tmp_path / name
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep=";" if path.suffix == ".txt" else ",")
        return path

    return write


@pytest.mark.parametrize("name", ["EURUSD.csv", "EURUSD.txt", "EURUSD.parquet"])
@pytest.mark.parametrize("column", ["symbol", "Ticker", "INSTRUMENT", "pair", "<TICKER>", "currency_pair", "what"])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_several_instruments_are_refused(write: Write, mids: pd.DataFrame, name: str, column: str, place: int) -> None:
    frame = mids.head(300).copy()
    values = ["EURUSD"] * 200 + ["GBPUSD"] * 100
    frame.insert(place, column, values)
    path = write(name, frame)
    row = 201 if name.endswith("parquet") else 202
    with pytest.raises(
        DataError, match=f"holds several instruments: .*'EURUSD' in row {row - 200} and 'GBPUSD' in row {row}"
    ):
        read_candles(path, guess_format(path), "EUR_USD")


def test_the_second_instrument_may_stand_far_down(
    write: Write, mids: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "read_blocks", partial(read_blocks, block_bytes=20_000))
    path = write("EURUSD.csv", mids.assign(symbol=["EUR/USD"] * (len(mids) - 1) + ["GBP/USD"]))
    with pytest.raises(DataError, match=f"'EUR/USD' in row 2 and 'GBP/USD' in row {len(mids) + 1}"):
        read_candles(path, "csv", "EUR_USD")


@pytest.mark.parametrize("name", ["EURUSD.csv", "EURUSD.parquet"])
@pytest.mark.parametrize("value", ["GBPUSD", "C:GBPUSD", "gbp_usd", "SPX500", "BTCUSDT"])
def test_another_instrument_is_refused(write: Write, mids: pd.DataFrame, name: str, value: str) -> None:
    path = write(name, mids.head(60).assign(symbol=value))
    with pytest.raises(DataError, match=f"the column 'symbol' says '{value}', and the file is read as EUR_USD"):
        read_candles(path, guess_format(path), "EUR_USD")


@pytest.mark.parametrize(
    "value", ["EURUSD", "EUR/USD", "eurusd", "EUR-USD", "C:EURUSD", "EURUSD=X", "EURUSD.m", "EURUSDpro"]
)
def test_spellings_of_the_instrument(write: Write, mids: pd.DataFrame, tmp_path: Path, value: str) -> None:
    path = write("candles.csv", mids.head(60).assign(symbol=value))
    report = run_import([path], tmp_path / "data")
    assert (report.instrument, report.imported, report.quarantined) == ("EUR_USD", 60, 0)
    with pytest.raises(DataError, match="says in its rows that it holds EUR_USD, not GBP_USD"):
        run_import([path], tmp_path / "data", "GBP_USD")


def test_columns_without_values_and_words_say_nothing(write: Write, mids: pd.DataFrame) -> None:
    path = write("EURUSD.csv", mids.head(60).assign(symbol="", note="GBP is weak", session=["asia", "london"] * 30))
    assert len(read_candles(path, "csv", "EUR_USD").candles) == 60


@pytest.mark.parametrize(("column", "several"), [("side", "price sides"), ("timeframe", "time frames")])
def test_several_sides_or_time_frames_are_refused(write: Write, mids: pd.DataFrame, column: str, several: str) -> None:
    values = {"side": ["BID", "ASK"], "timeframe": ["M1", "M5"]}[column]
    path = write("EURUSD.csv", mids.head(60).assign(**{column: [values[0]] * 40 + [values[1]] * 20}))
    with pytest.raises(DataError, match=f"holds several {several}: .* in row 2 and '{values[1]}' in row 42"):
        read_candles(path, "csv", "EUR_USD")


@pytest.mark.parametrize(("first", "second"), [("base", "quote"), ("Base Currency", "Quote Currency")])
def test_the_two_currencies_may_stand_apart(write: Write, mids: pd.DataFrame, first: str, second: str) -> None:
    frame = mids.head(60)
    path = write("EURUSD.csv", frame.assign(**{first: "EUR", second: "USD"}))
    assert len(read_candles(path, "csv", "EUR_USD").candles) == 60
    with pytest.raises(DataError, match="says 'EUR', and the file is read as GBP_USD"):
        read_candles(path, "csv", "GBP_USD")
    path = write("EURUSD.csv", frame.assign(**{first: ["EUR"] * 40 + ["GBP"] * 20, second: "USD"}))
    with pytest.raises(DataError, match=r"several base currencies: .*'EUR' in row 2 and 'GBP' in row 42"):
        read_candles(path, "csv", "EUR_USD")
    path = write("EURUSD.csv", frame.assign(**{second: 7.5}))
    assert len(read_candles(path, "csv", "EUR_USD").candles) == 60


@pytest.mark.parametrize("column", ["offer_side", "type", "Kind of price"])
def test_a_column_tells_the_side(write: Write, mids: pd.DataFrame, column: str) -> None:
    path = write("EURUSD.csv", mids.head(60).assign(**{column: "ASK"}))
    found = read_candles(path, "csv", "EUR_USD")
    assert found.side == "ask"
    assert found.candles["ask_o"].to_pylist() == pytest.approx(mids["open"].head(60).tolist())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("OANDA:EUR_USD", "EUR_USD"),
        ("XAUUSD.", "XAU_USD"),
        ("#EURUSD", "EUR_USD"),
        ("Gold", "XAU_USD"),
        ("GBPJPY_i", "GBP_JPY"),
        ("BTCUSDT", None),
        ("London", None),
        ("", None),
        ("EURUSDGBP", None),
        ("USDEUR", None),
    ],
)
def test_instruments_as_people_write_them(text: str, name: str | None) -> None:
    assert instrument_of(text) == name

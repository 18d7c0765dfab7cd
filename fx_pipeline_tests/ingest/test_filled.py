"""Bars that an exporter made up: left out and counted in every format; quiet bars stay."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.ingest.importers import read_candles
from fx_pipeline.market.calendar import is_open
from fx_pipeline.market.errors import DataError
from fx_pipeline_tests.ingest.made import FIELDS, fill, fx_minutes, walk, write_csv
from fx_pipeline_tests.ingest.test_importers import (
    write_dukascopy,
    write_histdata,
    write_metatrader,
    write_metatrader5,
    write_parquet,
)

MINUTES = fx_minutes("2024-01-05 00:00", "2024-01-09 12:00")


def ticked(share: float = 0.75) -> pd.DataFrame:
    frame = walk(MINUTES)
    kept = np.random.default_rng(5).random(len(frame)) < share
    return frame[kept].reset_index(drop=True)


def always(minutes: np.ndarray) -> np.ndarray:
    return np.ones(len(minutes), bool)


@pytest.mark.parametrize("wanted", [is_open, always], ids=["sessions", "weekends"])
@pytest.mark.parametrize(
    ("write", "format", "offset"),
    [
        (lambda frame, folder: write_csv(frame, folder / "EURUSD.csv"), "csv", None),
        (lambda frame, folder: write_csv(frame[::-1], folder / "EURUSD.csv"), "csv", None),
        (write_parquet, "parquet", None),
        (write_metatrader, "metatrader", "+3"),
        (write_metatrader5, "metatrader", "+3"),
        (write_dukascopy, "dukascopy", None),
    ],
    ids=["csv", "newest first", "parquet", "metatrader", "metatrader5", "dukascopy"],
)
def test_filled_minutes_are_left_out_in_every_format(tmp_path: Path, write, format: str, offset, wanted) -> None:
    frame = ticked()
    filled = fill(frame, wanted)
    found = read_candles(write(filled, tmp_path), format, "EUR_USD", offset)
    assert found.candles["time"].to_pylist() == frame["time"].tolist()
    assert found.without_tick == len(filled) - len(frame)
    if format != "dukascopy":
        assert any(f"{found.without_tick:,} rows left out, flat at the close" in said for said in found.assumptions)


@pytest.mark.parametrize("wanted", [is_open, always], ids=["sessions", "weekends"])
def test_filled_minutes_of_a_file_without_volumes(tmp_path: Path, wanted) -> None:
    frame = ticked()
    filled = fill(frame, wanted)
    for path in (
        write_csv(filled.drop(columns="volume"), tmp_path / "EURUSD.csv"),
        write_histdata(filled, tmp_path),
    ):
        found = read_candles(path, "csv" if path.name == "EURUSD.csv" else "histdata", "EUR_USD")
        assert found.candles["time"].to_pylist() == frame["time"].tolist()


def test_quiet_bars_of_a_file_without_volumes_stay_and_are_said(tmp_path: Path) -> None:
    frame = walk(MINUTES).drop(columns="volume")
    # As in real files, fewer than half of the flat bars stand at the close before.
    for start, price in ((100, None), (104, None), (200, 0.00004), (300, -0.00003), (400, 0.00002), (500, 0.00001)):
        frame.loc[start, FIELDS] = frame.loc[start - 1, "close"] + (price or 0)
    found = read_candles(write_csv(frame[:1000], tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert (len(found.candles), found.without_tick) == (1000, 0)
    assert any("2 of 6 flat bars stand at the close before" in x for x in found.assumptions)


def test_a_flat_bar_with_a_volume_or_at_a_new_price_is_a_candle(tmp_path: Path) -> None:
    frame = walk(MINUTES[:600])
    frame["volume"] = frame["volume"].astype(float)
    frame.loc[10, FIELDS] = frame.loc[9, "close"]
    frame.loc[10, "volume"] = 0.05
    frame.loc[20, FIELDS] = frame.loc[19, "close"] + 0.0001
    frame.loc[20, "volume"] = 0
    found = read_candles(write_csv(frame, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert (len(found.candles), found.without_tick) == (600, 0)
    assert found.candles["volume"][10].as_py() == 1


@pytest.mark.parametrize("flat", [False, True])
def test_frozen_bars_are_left_out(tmp_path: Path, flat: bool) -> None:
    frame = walk(MINUTES)
    again = frame.loc[999].copy()
    if flat:
        again[FIELDS] = again["close"]
    for name in [*FIELDS, "volume"]:
        frame.loc[1000:1199, name] = again[name]
    found = read_candles(write_csv(frame, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert found.without_tick in (199, 200) and len(found.candles) == len(frame) - found.without_tick


def test_longer_bars_said_again_for_each_of_their_minutes_are_longer_bars(tmp_path: Path) -> None:
    frame = walk(MINUTES)
    names = [*FIELDS, "volume"]
    frame[names] = frame[names].iloc[np.arange(len(frame)) // 5 * 5].to_numpy()
    with pytest.raises(DataError, match="holds M5 bars"):
        read_candles(write_csv(frame, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")


@pytest.mark.parametrize("volume", ["none", "one", "many"])
def test_prices_of_few_digits_repeat_themselves_and_stay(tmp_path: Path, volume: str) -> None:
    frame = walk(MINUTES, step=2e-5)
    frame[FIELDS] = frame[FIELDS].round(4)
    if volume == "one":
        frame["volume"] = 1
    path = write_csv(frame.drop(columns="volume") if volume == "none" else frame, tmp_path / "EURUSD.csv")
    found = read_candles(path, "csv", "EUR_USD")
    assert (found.without_tick, len(found.candles)) == (0, len(frame))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("start", [0, 1000, len(MINUTES) - 200])
def test_prices_that_stand_still_for_an_hour_are_left_out_whatever_the_volume(
    tmp_path: Path, flat: bool, start: int
) -> None:
    frame = walk(MINUTES)
    prices = frame.loc[start, FIELDS].to_numpy(float)
    frame.loc[start : start + 199, FIELDS] = prices[3] if flat else prices
    found = read_candles(write_csv(frame, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert found.without_tick == 199 and len(found.candles) == len(frame) - 199
    assert any("stood still for an hour" in said for said in found.assumptions)


@pytest.mark.parametrize("way", ["backwards", "line", "whole rows"])
def test_minutes_filled_in_otherwise_than_from_the_close_before_are_left_out(tmp_path: Path, way: str) -> None:
    frame = ticked()
    filled = fill(frame, is_open)
    made = ~filled["time"].isin(frame["time"])
    if way == "whole rows":
        filled.loc[made, FIELDS] = np.nan
        filled[FIELDS] = filled[FIELDS].ffill()
    else:
        source = filled["open"] if way == "backwards" else filled["close"]
        known = source.where(~made)
        values = known.bfill() if way == "backwards" else known.interpolate().round(5)
        for name in FIELDS:
            filled.loc[made, name] = values[made]
    found = read_candles(write_csv(filled, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert found.candles["time"].to_pylist() == frame["time"].tolist()


def test_flat_bars_of_a_part_without_volumes_stay(tmp_path: Path) -> None:
    frame = walk(MINUTES)
    frame.loc[:1999, "volume"] = 0
    # At prices of their own.
    price = frame.loc[10:1999:40, "open"] + 0.00003
    for name in FIELDS:
        frame.loc[10:1999:40, name] = price
    found = read_candles(write_csv(frame, tmp_path / "EURUSD.csv"), "csv", "EUR_USD")
    assert (found.without_tick, len(found.candles)) == (0, len(frame))


def test_prices_of_a_pegged_pair_stand_still_and_stay(tmp_path: Path) -> None:
    frame = walk(MINUTES, step=0, price=3.75)
    frame[FIELDS] = 3.75
    moved = np.random.default_rng(2).random(len(frame)) < 0.05
    frame.loc[moved, "high"] = 3.75001
    found = read_candles(write_csv(frame, tmp_path / "USDSAR.csv"), "csv", "USD_SAR")
    assert (found.without_tick, len(found.candles)) == (0, len(frame))

"""The unit of an instrument against real bars: what a pip does to bitcoin and gold, and what their unit does."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.units_fit import UnitsFit, fit_of, units_fit
from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.units import price_unit

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SUPPORT = 300.0


def fit(name: str, file: str, unit: float) -> UnitsFit:
    frame = pd.read_parquet(SHARED / f"{file}.parquet")
    close = frame["close"].to_numpy(np.float64)
    time = frame["time"].dt.as_unit("ns").astype("int64").to_numpy()
    features, _ = features_of_closes(close, time, unit)
    found = fit_of(close, features[:, 4], unit, SUPPORT)
    assert found is not None and name
    return found


def test_a_pip_of_bitcoin_is_too_small_and_its_unit_fits() -> None:
    in_pips = fit("BTC_USD", "BTC_USD_M1_2022-01", instrument("BTC_USD").pip)
    in_units = fit("BTC_USD", "BTC_USD_M1_2022-01", price_unit("BTC_USD"))
    assert in_pips.beyond > 0.7 and in_pips.saturated > 0.4 and not in_pips.fits
    assert in_units.beyond == 0.0 and in_units.saturated < 0.01 and in_units.fits
    assert "a unit of 20" in in_units.describe()


def test_gold_fits_in_its_unit() -> None:
    """Bars of an hour: six of them are six hours."""
    frame = pd.read_parquet(SHARED / "XAU_USD_H1_2006_2015_bid_ask.parquet")
    close = frame["close"].to_numpy(np.float64)
    spans = np.ptp(close[: len(close) // 6 * 6].reshape(-1, 6), axis=1)
    assert (spans > SUPPORT * instrument("XAU_USD").pip).mean() > 0.5
    assert (spans > SUPPORT * price_unit("XAU_USD")).mean() < 0.001
    assert np.median(spans) > 0.02 * SUPPORT * price_unit("XAU_USD")


@pytest.mark.parametrize(
    ("name", "file"), [("EUR_USD", "EUR_USD_M1_2024-01"), ("GBP_JPY", "GBP_JPY_M1_2016-04_2016-06")]
)
def test_currency_pairs_fit_in_pips(name: str, file: str) -> None:
    found = fit(name, file, price_unit(name))
    assert found.fits and found.unit == instrument(name).pip


def test_a_unit_that_is_far_too_large_is_found() -> None:
    assert not fit("EUR_USD", "EUR_USD_M1_2024-01", 100 * instrument("EUR_USD").pip).fits


def test_the_table_is_asked_of_its_newest_bars_alone() -> None:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE features (instrument VARCHAR, time TIMESTAMP, close DOUBLE, price_change_pips FLOAT)"
    )
    insert, minutes = "INSERT INTO features SELECT 'EUR_USD', ", "FROM range(0, 800)"
    connection.execute(f"{insert} TIMESTAMP '2020-01-01' + INTERVAL (range) MINUTE, 1 + range, 1 {minutes}")
    connection.execute(
        f"{insert} TIMESTAMP '2024-01-01' + INTERVAL (range) MINUTE, 1 + (range % 30) / 10000, NULL {minutes}"
    )
    assert units_fit(connection, "EUR_USD", SUPPORT) is None
    connection.execute("UPDATE features SET price_change_pips = 0.1 WHERE time > TIMESTAMP '2024-01-01 10:00:00'")
    found = units_fit(connection, "EUR_USD", SUPPORT)
    assert found is not None
    assert (found.sessions, found.saturated, found.beyond, found.bars) == (2, 0.0, 0.0, 199)
    assert found.typical == pytest.approx(29 / 300)

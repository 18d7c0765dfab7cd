"""Bars at weekends are left out where that is asked for, and trading with a wrong clock is not."""

from pathlib import Path

import pandas as pd
import pytest

from fx_pipeline.ingest.importers import import_files, read_candles
from fx_pipeline.market.errors import ConfigurationError, DataError


def fxcm(path: Path, mids: pd.DataFrame, hours: float = 0) -> Path:
    """Write bids and asks, with a bar every half an hour of each Saturday."""
    saturdays = [
        mids.head(1).assign(time=day + pd.Timedelta(minutes=30 * number))
        for day in pd.date_range("2024-03-02", "2024-03-09", freq="7D", tz="UTC")
        for number in range(48)
    ]
    frame = pd.concat([mids, *saturdays]).sort_values("time")
    times = frame["time"] + pd.Timedelta(hours=hours)
    table = pd.DataFrame({"DateTime": times.dt.strftime("%Y-%m-%d %H:%M:%S")})
    for name in ("open", "high", "low", "close"):
        table[f"Bid{name.title()}"], table[f"Ask{name.title()}"] = frame[name], frame[name] + 1e-4
    table.to_csv(path, index=False, float_format="%.5f")
    return path


def test_saturdays_of_fxcm_can_be_left_out(tmp_path: Path, mids: pd.DataFrame) -> None:
    path = fxcm(tmp_path / "EURUSD_2024_10.csv", mids)
    with pytest.raises(DataError, match="--leave-out-weekends leaves those out"):
        read_candles(path, "csv", "EUR_USD")
    report = import_files([path], "EUR_USD", None, tmp_path / "data", leave_out_weekends=True)
    assert (report.rows, report.imported, report.quarantined) == (len(mids) + 96, len(mids), 0)
    assert "weekends: 96 rows left out, as asked" in report.assumptions
    assert report.costs == "quoted"


@pytest.mark.parametrize("hours", [-3, -1, 1, 5])
def test_trading_is_not_left_out_with_a_wrong_clock(tmp_path: Path, mids: pd.DataFrame, hours: float) -> None:
    path = fxcm(tmp_path / "EURUSD.csv", mids, hours)
    with pytest.raises(DataError, match=r"weeks (begin late on Sundays|end early on Fridays), .* the clock is another"):
        read_candles(path, "csv", "EUR_USD", leave_out_weekends=True)
    found = read_candles(path, "csv", "EUR_USD", f"{hours:+}", leave_out_weekends=True)
    assert len(found.candles) == len(mids)


def test_full_saturdays_fit_no_clock_and_can_be_left_out(tmp_path: Path, mids: pd.DataFrame) -> None:
    saturday = mids.head(1_440).assign(time=pd.date_range("2024-03-02", periods=1_440, freq="min", tz="UTC"))
    path = tmp_path / "EURUSD.csv"
    pd.concat([mids, saturday]).sort_values("time").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"FX weekends have bars in them, .* --leave-out-weekends leaves them out"):
        read_candles(path, "csv", "EUR_USD")
    assert len(read_candles(path, "csv", "EUR_USD", leave_out_weekends=True).candles) == len(mids)


def test_an_instrument_without_weekends_has_none_to_leave_out(tmp_path: Path, mids: pd.DataFrame) -> None:
    path = fxcm(tmp_path / "BTCUSD.csv", mids)
    with pytest.raises(ConfigurationError, match="BTC_USD trades at weekends"):
        read_candles(path, "csv", "BTC_USD", leave_out_weekends=True)

"""Clocks by the daily break of metals, and whether times are opens or ends of bars."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.ingest.hours import stamp_evidence
from fx_pipeline.ingest.importers import import_files, read_candles
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline_tests.ingest.made import fx_minutes, metal_minutes, walk, write_csv

FLAT = (np.ones(60), np.full(60, 0.01))
SPANS = {"weeks": ("2024-01-02", "2024-01-12 22:00"), "midweek": ("2024-01-09 10:00", "2024-01-11 10:00")}
#: A file that ends on Sunday night has no daily break, only a weekend.
SPANS["weekend"] = ("2024-01-05 16:00", "2024-01-08 04:00")


def gold(span: str) -> pd.DataFrame:
    return walk(metal_minutes(*SPANS[span]), price=2045, step=0.25, decimals=2)


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("hours", [-2, -1, 1, 2])
@pytest.mark.parametrize("name", ["XAU_USD", "XAG_USD"])
def test_an_hours_error_of_a_metals_clock_is_refused(tmp_path: Path, span: str, hours: int, name: str) -> None:
    frame = gold(span) if name == "XAU_USD" else walk(metal_minutes(*SPANS[span]), price=23, step=0.005, decimals=4)
    path = write_csv(frame, tmp_path / f"{name}.csv", f"{hours}h")
    with pytest.raises(DataError, match=rf"cannot be on the clock \+0: .*--utc-offset \{hours:+d}"):
        read_candles(path, "csv", name)
    found = read_candles(path, "csv", name, f"{hours:+d}")
    assert found.clock_checked and found.candles["time"].to_pylist() == frame["time"].tolist()


def test_the_break_confirms_a_clock_without_a_weekend(tmp_path: Path) -> None:
    found = read_candles(write_csv(gold("midweek"), tmp_path / "XAUUSD.csv"), "csv", "XAU_USD")
    assert any("checked: on 2 days the daily break ends at 18:00 New York" in said for said in found.assumptions)


def test_the_wrong_summer_time_shows_in_the_break(tmp_path: Path) -> None:
    # Midweeks of winter and summer alone: no weekend tells.
    frame = walk(metal_minutes("2024-03-04 23:00", "2024-03-16 00:00"), price=2045, step=0.25, decimals=2)
    local = frame.assign(
        time=frame["time"].dt.tz_convert("America/New_York").dt.tz_localize(None).dt.tz_localize("UTC")
    )
    with pytest.raises(DataError, match=r"cannot be on the clock -5: .*America/New_York"):
        read_candles(write_csv(local, tmp_path / "XAUUSD.csv"), "csv", "XAU_USD", "-5")


def test_gold_that_is_quoted_through_its_break_is_read(tmp_path: Path) -> None:
    frame = walk(fx_minutes(*SPANS["weeks"]), price=2045, step=0.25, decimals=2)
    assert len(read_candles(write_csv(frame, tmp_path / "XAUUSD.csv"), "csv", "XAU_USD").candles) == len(frame)


@pytest.mark.parametrize(("name", "span"), [("EUR_USD", "weeks"), ("XAU_USD", "weeks"), ("XAU_USD", "midweek")])
def test_ends_of_bars_are_recognised(tmp_path: Path, name: str, span: str) -> None:
    frame = gold(span) if name == "XAU_USD" else walk(fx_minutes(*SPANS[span]))
    path = write_csv(frame, tmp_path / f"{name}.csv", "1min")
    with pytest.raises(ConfigurationError, match=r"look like ends of bars .* --bar-time end"):
        read_candles(path, "csv", name)
    found = read_candles(path, "csv", name, stamped="end")
    assert found.candles["time"].to_pylist() == frame["time"].tolist()
    assert any("times are the ends of bars, as given; checked: after" in said for said in found.assumptions)
    assert len(read_candles(path, "csv", name, stamped="open").candles) == len(frame)
    with pytest.raises(ConfigurationError, match="times are opens of bars, not ends"):
        read_candles(write_csv(frame, path), "csv", name, stamped="end")


@pytest.mark.parametrize("later", ["59s", "1min"])
def test_ends_may_be_the_last_second_of_a_bar(tmp_path: Path, later: str) -> None:
    frame = walk(fx_minutes("2024-01-09", "2024-01-09 12:00"))
    found = read_candles(write_csv(frame, tmp_path / "EURUSD.csv", later), "csv", "EUR_USD", stamped="end")
    assert found.candles["time"].to_pylist() == frame["time"].tolist()


@pytest.mark.parametrize(("widest", "kind"), [(0, "fits"), (1, "late"), (59, "early"), (30, None)])
def test_the_widest_minute_of_the_hour_tells_opens_from_ends(widest: int, kind: str | None) -> None:
    means = np.ones(60)
    means[widest] = 1.5
    found = stamp_evidence("EUR_USD", np.empty((2, 0), np.int64), (means, np.full(60, 0.02)))
    assert [name for name in found._fields if getattr(found, name)] == ([kind] if kind else [])


def test_real_minutes_are_opens(shared_data: Path) -> None:
    for name in ("GBP_USD", "USD_JPY"):
        path = shared_data / f"{name}_M1_2024-01.parquet"
        said = " ".join(read_candles(path, "parquet", name).assumptions)
        assert "times are the opens of bars, assumed; checked: bars of minute 0 are the widest of the hour" in said
        with pytest.raises(ConfigurationError, match="not ends: taken for ends, bars of minute 59 are the widest"):
            read_candles(path, "parquet", name, stamped="end")


def test_a_form_that_two_publishers_share_asks_for_the_clock(tmp_path: Path) -> None:
    frame = walk(fx_minutes("2024-01-09 08:00", "2024-01-09 20:00"))

    def write(name: str, frame: pd.DataFrame = frame) -> Path:
        times = (frame["time"] + pd.Timedelta("1min")).dt.strftime("%Y%m%d %H%M%S")
        frame.assign(time=times).to_csv(tmp_path / name, sep=";", header=False, index=False)
        return tmp_path / name

    path = write("EURUSD.Last.txt")
    with pytest.raises(ConfigurationError, match=r"NinjaTrader's exports.*--utc-offset.*--bar-time end"):
        import_files([path], "EUR_USD", None, tmp_path / "data")
    report = import_files([path], "EUR_USD", None, tmp_path / "data", "+0", stamped="end")
    assert (report.first, report.clock, report.stamped) == (frame["time"].iloc[0].value, "UTC", "end")
    # HistData's own name for its files, and the word of the user, say which of the two it is.
    for name, format in (("DAT_ASCII_EURUSD_M1_2024.csv", None), ("EURUSD.txt", "histdata")):
        report = import_files([write(name)], "EUR_USD", format, tmp_path / "data")
        said = " ".join(report.assumptions)
        assert report.clock == "America/New_York" and "assumed" in said and "not checkable: no weekend inside" in said
    weeks = walk(fx_minutes("2024-01-04 08:00", "2024-01-09 20:00"))
    with pytest.raises(DataError, match=r"cannot be on the clock America/New_York: .* would fit --utc-offset \+0"):
        import_files([write("EURUSD.Last.txt", weeks)], "EUR_USD", None, tmp_path / "data")
    with pytest.raises(ConfigurationError, match="--bar-time end"):
        import_files([path], "EUR_USD", None, tmp_path / "data", "+0")

"""Files of longer bars: imported as what they are, named or found out, beside the minutes; or refused with words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.ingest.importers import ImportReport, import_files
from fx_pipeline.ingest.layout import paper_store
from fx_pipeline.ingest.resample import resample
from fx_pipeline.market.alignment import bar_ends, on_grid
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError, FxPipelineError
from fx_pipeline.market.spreads import modelled_spread_pips
from fx_pipeline.market.timeframe import H1, H4, M1, M5, M15, TIMEFRAMES, D, Timeframe
from fx_pipeline_tests.ingest.made import ns

LONGER = [timeframe for timeframe in TIMEFRAMES.values() if timeframe != M1]
SPAN = ns("2024-01-02"), ns("2024-03-15")
HOUR, NOTHING = pd.Timedelta(hours=1), pd.Timedelta(0)


def frame_of(timeframe: Timeframe) -> pd.DataFrame:
    """Bars of a synthetic market around the spring change of New York's clocks."""
    bars = synthetic_bars("EUR_USD", *SPAN).table("practice")
    frame = (resample(bars, timeframe, *SPAN) if timeframe != M1 else bars).to_pandas()
    named = {f"mid_{field[0]}": field for field in ("open", "high", "low", "close")}
    return frame.rename(columns=named)[["time", *named.values(), "volume"]]


def write(frame: pd.DataFrame, path: Path, zone: str = "UTC", later: pd.Timedelta = NOTHING) -> Path:
    local = (frame["time"].dt.tz_convert(zone).dt.tz_localize(None) + later).dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.assign(time=local).to_csv(path, index=False)
    return path


def imported(path: Path, data_dir: Path, **said: object) -> ImportReport:
    return import_files([path], "EUR_USD", None, data_dir, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeframe", LONGER, ids=str)
def test_a_file_is_the_timeframe_that_it_is(timeframe: Timeframe, tmp_path: Path) -> None:
    frame = frame_of(timeframe)
    report = imported(write(frame, tmp_path / "EURUSD.csv"), tmp_path)
    assert report.contract()["timeframe"] == report.timeframe == timeframe.name
    assert (report.imported, report.quarantined) == (len(frame), 0)
    assert any(said.startswith(f"time frame: {timeframe} throughout") for said in report.assumptions)
    store = paper_store(tmp_path)
    assert candle_store.stored_timeframes(store, "EUR_USD") == [timeframe]
    assert candle_store.instruments(store) == ["EUR_USD"] and not candle_store.months(store, "EUR_USD")
    assert candle_store.row_count(store, "EUR_USD", timeframe) == len(frame)
    again = imported(tmp_path / "EURUSD.csv", tmp_path, timeframe=timeframe)
    assert again.unchanged == len(frame)


def test_minutes_and_hours_lie_beside_one_another(tmp_path: Path) -> None:
    hours, minutes = frame_of(H1), frame_of(M1).head(20_000)
    imported(write(hours, tmp_path / "hours.csv"), tmp_path)
    imported(write(minutes, tmp_path / "minutes.csv"), tmp_path)
    store = paper_store(tmp_path)
    assert candle_store.stored_timeframes(store, "EUR_USD") == [M1, H1]
    counts = [candle_store.row_count(store, "EUR_USD", timeframe) for timeframe in (M1, H1)]
    assert counts == [20_000, len(hours)]
    with pytest.raises(DataError, match=r"hours\.csv holds H1 bars and .*minutes\.csv M1 bars"):
        import_files([tmp_path / "hours.csv", tmp_path / "minutes.csv"], "EUR_USD", None, tmp_path)


@pytest.mark.parametrize(
    ("said", "says"),
    [(M1, "holds H1 bars .* not M1: leave --timeframe out, or give --timeframe H1"), (M5, "not M5"), (H4, "not H4")],
    ids=str,
)
def test_another_timeframe_than_is_said_is_refused(said: Timeframe, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        imported(write(frame_of(H1), tmp_path / "a.csv"), tmp_path, timeframe=said)


def test_a_part_with_other_bars_is_refused(tmp_path: Path) -> None:
    hours, quarters = frame_of(H1), frame_of(M15)
    border = hours["time"][600]
    mixed = pd.concat([hours[hours["time"] < border], quarters[quarters["time"] >= border].head(400)])
    with pytest.raises(DataError, match=r"not H1 throughout: M15 bars from .*: cut these parts out"):
        imported(write(mixed, tmp_path / "a.csv"), tmp_path, timeframe=H1)
    coarse = pd.concat([quarters[quarters["time"] < border], hours[hours["time"] >= border]])
    with pytest.raises(DataError, match=r"not M15 throughout: M15 bars up to .*, H1 from .* cut the file there"):
        imported(write(coarse, tmp_path / "b.csv"), tmp_path)


@pytest.mark.parametrize("timeframe", [M5, M15, H1], ids=str)
def test_ends_of_bars_are_told_from_opens(timeframe: Timeframe, tmp_path: Path) -> None:
    frame = frame_of(timeframe)
    path = write(frame, tmp_path / "a.csv", later=pd.Timedelta(minutes=timeframe.minutes))
    with pytest.raises(FxPipelineError, match="--bar-time end"):
        imported(path, tmp_path)
    report = imported(path, tmp_path, stamped="end")
    assert (report.imported, report.stamped, report.first) == (len(frame), "end", frame["time"][0].value)


@pytest.mark.parametrize("timeframe", [H4, D], ids=str)
def test_ends_of_long_bars_are_the_opens_of_the_next(timeframe: Timeframe, tmp_path: Path) -> None:
    frame = frame_of(timeframe)
    ends = pd.DatetimeIndex(bar_ends(frame["time"].astype("datetime64[ns, UTC]").astype(np.int64), timeframe), tz="UTC")
    report = imported(write(frame.assign(time=ends), tmp_path / "a.csv"), tmp_path, stamped="end")
    assert (report.imported, report.quarantined, report.first) == (len(frame), 0, frame["time"][0].value)


@pytest.mark.parametrize("timeframe", [H4, D], ids=str)
def test_bars_of_a_brokers_day_need_its_clock(timeframe: Timeframe, tmp_path: Path) -> None:
    frame = frame_of(timeframe)
    # Midnight of the broker's clock is 17:00 New York.
    broker = frame.assign(time=frame["time"].dt.tz_convert("America/New_York").dt.tz_localize(None) + 7 * HOUR)
    path = tmp_path / "a.csv"
    broker.assign(time=broker["time"].dt.strftime("%Y-%m-%d %H:%M:%S")).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"begin where no {timeframe} bar does, .* count from 17:00 New York"):
        imported(path, tmp_path)
    report = imported(path, tmp_path, utc_offset="America/New_York+7")
    assert (report.imported, report.quarantined, report.timeframe) == (len(frame), 0, timeframe.name)


def test_a_clock_an_hour_off_is_refused(tmp_path: Path) -> None:
    path = write(frame_of(H1), tmp_path / "a.csv", later=2 * HOUR)
    with pytest.raises(DataError, match=r"cannot be on the clock \+0: .* fit --utc-offset \+2.*--bar-time end"):
        imported(path, tmp_path)
    assert imported(path, tmp_path, utc_offset="+2").quarantined == 0


def test_the_bar_that_runs_is_not_imported(tmp_path: Path) -> None:
    frame = frame_of(H1)
    now = frame["time"].iloc[-1].value + 20 * MINUTE_NS
    report = imported(write(frame, tmp_path / "a.csv"), tmp_path, now_ns=now)
    assert report.imported == len(frame) - 1 and report.reasons == {"bar not over yet": 1}
    assert "h1" in {path.parent.parent.name for path in report.quarantine_files}


def test_rows_off_the_bars_are_quarantined(tmp_path: Path) -> None:
    frame = frame_of(H1)
    frame.loc[700, "time"] += pd.Timedelta(minutes=7)
    report = imported(write(frame, tmp_path / "a.csv"), tmp_path)
    assert report.reasons == {"time off the H1 bars": 1}


def test_modelled_quotes_are_those_of_both_ends_of_a_bar(tmp_path: Path) -> None:
    frame = frame_of(D)
    imported(write(frame, tmp_path / "a.csv"), tmp_path)
    bars = candle_store.read_month(paper_store(tmp_path), "EUR_USD", "2024-02", D).to_pandas()
    time = bars["time"].astype("datetime64[ns, UTC]").astype(np.int64).to_numpy()
    assert on_grid(time, D).all()
    for field, at in (("o", time), ("c", bar_ends(time, D) - MINUTE_NS)):
        spread = (bars[f"ask_{field}"] - bars[f"bid_{field}"]).to_numpy() / 0.0001
        np.testing.assert_allclose(
            spread, modelled_spread_pips("EUR_USD", at, bars[f"mid_{field}"].to_numpy()), atol=0.11
        )
    for side in ("bid", "ask"):
        assert (bars[f"{side}_h"] >= bars[[f"{side}_o", f"{side}_l", f"{side}_c"]].max(axis=1)).all()
        assert (bars[f"{side}_l"] <= bars[[f"{side}_o", f"{side}_h", f"{side}_c"]].min(axis=1)).all()


@pytest.mark.parametrize(
    ("name", "instrument", "timeframe", "costs"),
    [
        ("GBP_JPY_H1_2015_2022.parquet", "GBP_JPY", "H1", "modelled"),
        ("GBP_JPY_M5_2019-07_2020-05.parquet", "GBP_JPY", "M5", "modelled"),
        ("XAU_USD_H1_2006_2015_bid_ask.parquet", "XAU_USD", "H1", "quoted"),
    ],
)
def test_real_files_arrive_whole(
    name: str, instrument: str, timeframe: str, costs: str, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / name
    report = import_files([path], instrument, None, tmp_path)
    assert (report.timeframe, report.costs, report.quarantined) == (timeframe, costs, 0)
    assert report.imported == report.rows == len(pd.read_parquet(path, columns=["time"]))

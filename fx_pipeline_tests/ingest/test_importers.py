"""Files of every format into the store: the same candles, whatever the clock; and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.ingest.importers import common_instrument, guess_format, guess_instrument, import_files, read_candles
from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.spreads import modelled_spread_pips

Writer = Callable[[pd.DataFrame, Path, str], Path]


def local(frame: pd.DataFrame, zone: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame["time"]).tz_convert(zone).tz_localize(None)


def write_histdata(frame: pd.DataFrame, folder: Path, zone: str = "America/New_York") -> Path:
    path = folder / "DAT_ASCII_EURUSD_M1_2024.csv"
    texts = frame.assign(time=local(frame, zone).strftime("%Y%m%d %H%M%S"), volume=0)
    texts.to_csv(path, sep=";", header=False, index=False, float_format="%.5f")
    return path


def write_metatrader(frame: pd.DataFrame, folder: Path, zone: str = "Etc/GMT-3") -> Path:
    path = folder / "EURUSD1.csv"
    moments = local(frame, zone)
    texts = frame.drop(columns="time")
    texts.insert(0, "date", moments.strftime("%Y.%m.%d"))
    texts.insert(1, "clock", moments.strftime("%H:%M"))
    texts.to_csv(path, header=False, index=False, float_format="%.5f")
    return path


def write_metatrader5(frame: pd.DataFrame, folder: Path, zone: str = "Etc/GMT-3") -> Path:
    path = folder / "EURUSD_M1.csv"
    moments = local(frame, zone)
    columns = {"<DATE>": moments.strftime("%Y.%m.%d"), "<TIME>": moments.strftime("%H:%M:%S")}
    names = {"open": "<OPEN>", "high": "<HIGH>", "low": "<LOW>", "close": "<CLOSE>", "volume": "<TICKVOL>"}
    table = pd.DataFrame(columns).join(frame.drop(columns="time").rename(columns=names))
    table.assign(**{"<VOL>": 0, "<SPREAD>": 3}).to_csv(path, sep="\t", index=False, float_format="%.5f")
    path.write_bytes(path.read_text().encode("utf-16"))
    return path


def write_dukascopy(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EURUSD_Candlestick_1_M_BID.csv"
    texts = frame.assign(time=local(frame, zone).strftime("%d.%m.%Y %H:%M:%S.000"))
    texts.columns = pd.Index(["Gmt time", "Open", "High", "Low", "Close", "Volume"])
    texts.to_csv(path, index=False, float_format="%.5f")
    return path


def write_csv(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.csv"
    frame.assign(time=local(frame, zone)).to_csv(path, index=False, float_format="%.5f")
    return path


def write_parquet(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.parquet"
    frame.assign(time=local(frame, zone).tz_localize("UTC")).to_parquet(path)
    return path


def write_naive_parquet(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.parquet"
    frame.assign(time=local(frame, zone)).to_parquet(path)
    return path


def write_text_parquet(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.parquet"
    frame.assign(time=local(frame, zone).strftime("%Y-%m-%dT%H:%M:%SZ")).to_parquet(path)
    return path


def write_zoned_csv(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.csv"
    frame.assign(time=pd.DatetimeIndex(frame["time"]).tz_convert(zone)).to_csv(path, index=False)
    return path


def write_postgres_csv(frame: pd.DataFrame, folder: Path, zone: str = "UTC") -> Path:
    path = folder / "EUR_USD.csv"
    frame.assign(time=local(frame, zone).strftime("%Y-%m-%d %H:%M:%S+00")).to_csv(path, index=False)
    return path


CASES = [
    (write_histdata, "histdata", None, "bid"),
    (write_metatrader, "metatrader", "+3", "bid"),
    (write_metatrader5, "metatrader", "3", "bid"),
    (write_dukascopy, "dukascopy", None, "bid"),
    (write_csv, "csv", None, "mid"),
    (write_parquet, "parquet", None, "mid"),
    (write_naive_parquet, "parquet", "+3", "mid"),
    (write_text_parquet, "parquet", None, "mid"),
    (write_zoned_csv, "csv", None, "mid"),
    (write_postgres_csv, "csv", None, "mid"),
]


@pytest.mark.parametrize(("write", "format", "offset", "side"), CASES)
def test_every_format_gives_the_same_bars(
    tmp_path: Path, mids: pd.DataFrame, write: Writer, format: str, offset: str | None, side: str
) -> None:
    path = write(mids, tmp_path, *([] if offset is None else ["Etc/GMT-3"]))  # type: ignore[call-arg]
    found = read_candles(path, format, "EUR_USD", offset)  # type: ignore[arg-type]
    table = found.candles.to_pandas()
    assert found.candles.schema.equals(CANDLE_SCHEMA)
    assert found.clock_checked
    assert (found.rows, len(found.quarantine), found.duplicates) == (len(mids), 0, 0)
    np.testing.assert_array_equal(table["time"], mids["time"])
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(table[f"{side}_{name[0]}"], mids[name], atol=1e-9)
    spread = np.round((table["ask_c"] - table["bid_c"]) / 1e-4, 6)
    times = np.asarray(pd.DatetimeIndex(table["time"]).as_unit("ns").asi8)
    np.testing.assert_allclose(spread, modelled_spread_pips("EUR_USD", times), atol=0.11)
    assert table["quotes_modelled"].all()
    assert set(table["source"]) == {"imported"}
    assert (table["volume"] == (0 if format == "histdata" else mids["volume"])).all()


@pytest.mark.parametrize(
    ("write", "format", "zone", "said", "fits"),
    [
        # HistData's own documentation: "EST without daylight saving".
        (write_histdata, "histdata", "Etc/GMT+5", None, "-5"),
        (write_metatrader, "metatrader", "Etc/GMT-3", "0", "+3"),
        (write_metatrader, "metatrader", "Etc/GMT-3", "2", "+3"),
        (write_metatrader, "metatrader", "America/New_York", "-5", "America/New_York"),
        (write_dukascopy, "dukascopy", "Etc/GMT+7", None, "-7"),
        (write_csv, "csv", "Etc/GMT-1", None, "+1"),
        (write_naive_parquet, "parquet", "Europe/London", "America/New_York", r"\+0"),
        (write_parquet, "parquet", "Etc/GMT-2", None, "+2"),
    ],
)
def test_a_clock_that_cannot_be_is_refused_naming_the_one_that_fits(
    tmp_path: Path, mids: pd.DataFrame, write: Writer, format: str, zone: str, said: str | None, fits: str
) -> None:
    path = write(mids, tmp_path, zone)
    fits = fits if fits.startswith("\\") else fits.replace("+", r"\+")
    with pytest.raises(DataError, match=rf"FX weekends have bars .* --utc-offset {fits}\.") as refused:
        read_candles(path, format, "EUR_USD", said)  # type: ignore[arg-type]
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("write", "format"),
    [
        (write_parquet, "parquet"),
        (write_text_parquet, "parquet"),
        (write_zoned_csv, "csv"),
        (write_postgres_csv, "csv"),
    ],
)
def test_an_offset_is_not_put_on_top_of_a_zone(tmp_path: Path, mids: pd.DataFrame, write: Writer, format: str) -> None:
    path = write(mids.head(300), tmp_path, "UTC")
    with pytest.raises(
        ConfigurationError, match=r"EUR_USD\.\w+: its times carry a zone .* --utc-offset \+3 .* leave it"
    ):
        read_candles(path, format, "EUR_USD", "+3")  # type: ignore[arg-type]


def test_a_wrong_zone_is_not_mended_by_an_offset_and_the_error_says_how(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"fit --utc-offset \+2\. Its times carry a zone, .* write them so first"):
        read_candles(write_parquet(mids, tmp_path, "Etc/GMT-2"), "parquet", "EUR_USD")


def test_epochs_of_a_brokers_clock_take_an_offset(tmp_path: Path, mids: pd.DataFrame) -> None:
    # MetaTrader's own interface gives such: seconds since 1970 of the wall clock.
    path = tmp_path / "EUR_USD.csv"
    mids.assign(time=local(mids, "Etc/GMT-2").as_unit("s").asi8).to_csv(path, index=False)
    found = read_candles(path, "csv", "EUR_USD", "2")
    np.testing.assert_array_equal(found.candles.to_pandas()["time"], mids["time"])


def test_bars_all_week_long_fit_no_clock(tmp_path: Path, mids: pd.DataFrame) -> None:
    times = pd.date_range(mids["time"].iloc[0], periods=len(mids), freq="min")
    with pytest.raises(DataError, match="no offset would fit"):
        read_candles(write_csv(mids.assign(time=times), tmp_path), "csv", "EUR_USD")


def test_a_file_without_a_weekend_cannot_be_checked(tmp_path: Path, mids: pd.DataFrame) -> None:
    assert not read_candles(write_csv(mids.head(300), tmp_path), "csv", "EUR_USD").clock_checked


def test_an_hour_that_a_clock_change_repeats_is_quarantined(tmp_path: Path, mids: pd.DataFrame) -> None:
    path = write_histdata(mids.head(20), tmp_path)
    with path.open("a") as file:
        file.write("20241103 013000;1.08;1.08;1.08;1.08;0\n")
    found = read_candles(path, "histdata", "EUR_USD")
    assert found.quarantine.to_pylist()[0]["reason"] == "local time falls into a clock change"
    assert found.quarantine["row"].to_pylist() == [21]


def test_metatrader_files_need_an_offset(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match=r"broker's clock.*--utc-offset"):
        read_candles(write_metatrader(mids, tmp_path), "metatrader", "EUR_USD")


def test_the_publishers_filled_minutes_are_left_out(tmp_path: Path, mids: pd.DataFrame) -> None:
    weekend = pd.date_range("2024-03-02 00:00", periods=600, freq="min", tz="UTC")
    flat = pd.DataFrame({"time": weekend, **dict.fromkeys(["open", "high", "low", "close"], 1.08), "volume": 0})
    path = write_dukascopy(pd.concat([mids, flat]).sort_values("time"), tmp_path)
    report = import_files([path], "EUR_USD", "dukascopy", tmp_path / "data")
    assert (report.without_tick, report.imported, report.quarantined) == (600, len(mids), 0)


def test_quoted_files_keep_their_quotes(tmp_path: Path, mids: pd.DataFrame) -> None:
    frame = pd.DataFrame({"timestamp": mids["time"]})
    for name in ("open", "high", "low", "close"):
        frame[f"bid_{name}"], frame[f"ask_{name}"] = mids[name] - 1e-4, mids[name] + 1e-4
    path = tmp_path / "quotes.parquet"
    frame.to_parquet(path)
    table = read_candles(path, "parquet", "EUR_USD").candles.to_pandas()
    assert not table["quotes_modelled"].any()
    np.testing.assert_allclose(table["mid_c"], mids["close"], atol=1e-9)
    np.testing.assert_allclose(table["ask_h"], mids["high"] + 1e-4, atol=1e-9)


def test_each_impossible_row_is_quarantined_with_its_reason_and_the_rest_imported(
    tmp_path: Path, mids: pd.DataFrame
) -> None:
    lines = write_csv(mids.head(60), tmp_path).read_text().splitlines()
    good = lines[1].split(",")

    def row(minute: str, **cells: str) -> str:
        names = ["time", "open", "high", "low", "close", "volume"]
        return ",".join(
            {**dict(zip(names, good, strict=True)), "time": f"2024-02-27 {minute}", **cells}[n] for n in names
        )

    bad = {
        row("10:00:00", open="nan"): "not finite",
        row("10:01:00", low="-1", open="-1"): "not positive",
        row("10:02:00", high="1.0", low="1.2"): "high below low",
        row("10:03:00", close="9.0"): "open or close outside the range",
        row("10:04:30"): "time off the minute",
        row("10:05:00", volume="-4"): "negative volume",
        row("10:06:00", close="abc"): "not finite",
        row("10:07:00", time="some day"): "time cannot be read",
        row("10:08:00", volume="many"): "volume cannot be read",
        row("10:09:00") + ",7": "wrong number of cells",
        row("10:10:00", time="2031-01-01 00:00:00"): "time in the future",
        row("10:10:01", time="2025-01-01 00:00:00"): "time in the future",
        row("10:10:02", time="1989-12-31 23:59:00"): "before 1990",
        row("10:10:03", time="0024-02-27 10:10:00"): "time cannot be read",
        row("10:11:00"): "duplicate time with other prices",
        row("10:11:00", close=good[2], open=good[2]): "duplicate time with other prices",
    }
    path = tmp_path / "mixed.csv"
    path.write_text("\n".join([*lines, *bad, row("10:12:00"), row("10:12:00")]) + "\n")
    now = int(np.datetime64("2025-01-01", "ns").astype(np.int64))
    report = import_files([path], "EUR_USD", "csv", tmp_path / "data", now_ns=now)
    assert (report.imported, report.duplicates, report.quarantined) == (61, 1, len(bad))
    assert report.rows == 60 + len(bad) + 2
    refused = pq.read_table(report.quarantine_files[0]).to_pylist()
    assert report.quarantine_files[0].parent == tmp_path / "data" / "quarantine" / "EUR_USD"
    assert {item["row"]: item["reason"] for item in refused} == dict(enumerate(bad.values(), start=62))
    assert next(item["text"] for item in refused if item["reason"] == "wrong number of cells").endswith(",7")
    assert sum(report.reasons.values()) == len(bad)


def test_the_bar_before_now_and_the_first_of_1990_are_kept(tmp_path: Path, mids: pd.DataFrame) -> None:
    frame = mids.head(3).copy()
    frame["time"] = pd.DatetimeIndex(["1990-01-01 00:00", "2024-12-31 23:59", "2025-01-01 00:00"], tz="UTC")
    path, now = write_parquet(frame, tmp_path), pd.Timestamp("2025-01-01T00:00Z").as_unit("ns").value
    found = read_candles(path, "parquet", "EUR_USD", now_ns=now)
    assert found.candles["time"].to_pylist() == frame["time"].tolist()[:2]
    assert found.quarantine["reason"].to_pylist() == ["time in the future"]
    assert len(read_candles(path, "parquet", "EUR_USD").quarantine) == 0


def test_mistyped_years_make_no_months(tmp_path: Path, mids: pd.DataFrame) -> None:
    frame = mids.head(300).copy()
    frame.loc[frame.index[[7, 8]], "time"] = pd.DatetimeIndex(["1924-02-26 00:07", "1970-01-01 00:00"], tz="UTC")
    report = import_files([write_histdata(frame, tmp_path)], "EUR_USD", "histdata", tmp_path / "data")
    assert (report.imported, report.reasons, report.months) == (298, {"before 1990": 2}, ("2024-02",))
    early = mids.head(300).assign(time=mids["time"].head(300) - pd.Timedelta(days=40 * 364))
    with pytest.raises(DataError, match=r"300 of 300 rows are bad, the first in row 1 \(before 1990\)"):
        read_candles(write_histdata(early, tmp_path), "histdata", "EUR_USD")


@pytest.mark.parametrize("year", ["1700", "1970", "2924"])
@pytest.mark.parametrize(("write", "format"), [(write_histdata, "histdata"), (write_csv, "csv")])
def test_a_mistyped_year_does_not_hide_a_wrong_clock(
    tmp_path: Path, mids: pd.DataFrame, write: Writer, format: str, year: str
) -> None:
    path, now = write(mids, tmp_path, "Etc/GMT-9"), pd.Timestamp("2025-01-01T00:00Z").as_unit("ns").value
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[:50], rows[50].replace("2024", year, 1), *rows[51:]]) + "\n")
    with pytest.raises(DataError, match=r"FX weekends have bars"):
        read_candles(path, format, "EUR_USD", "0", now_ns=now)  # type: ignore[arg-type]


def test_a_second_import_of_the_same_file_changes_nothing(tmp_path: Path, mids: pd.DataFrame, tree) -> None:
    path = write_csv(mids, tmp_path)
    first = import_files([path], "EUR_USD", "csv", tmp_path / "data")
    before = tree(tmp_path / "data")
    second = import_files([path], "EUR_USD", "csv", tmp_path / "data")
    assert (first.added, first.months) == (len(mids), ("2024-02", "2024-03"))
    assert (second.added, second.changed, second.unchanged) == (0, 0, len(mids))
    assert tree(tmp_path / "data") == before
    assert (first.first, first.last) == (mids["time"].iloc[0].value, mids["time"].iloc[-1].value)


def test_candles_that_are_replaced_are_said(tmp_path: Path, mids: pd.DataFrame) -> None:
    path = write_csv(mids, tmp_path)
    first = import_files([path], "EUR_USD", "csv", tmp_path / "data", side="mid")
    second = import_files([path], "EUR_USD", "csv", tmp_path / "data", side="ask")
    assert not [said for said in first.assumptions if said.startswith("replaced")]
    assert second.changed == len(mids)
    assert second.contract()["assumptions"][-1].startswith(f"replaced: {len(mids):,} candles stood in the store")


def test_nothing_is_stored_when_one_of_the_files_is_refused(tmp_path: Path, mids: pd.DataFrame) -> None:
    good, bad = write_csv(mids, tmp_path), tmp_path / "bad.csv"
    bad.write_text("time,open\n1,2\n")
    with pytest.raises(DataError, match=r"bad\.csv"):
        import_files([good, bad], "EUR_USD", "csv", tmp_path / "data")
    assert candle_store.instruments(tmp_path / "data" / "paper") == []


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


@pytest.mark.parametrize(
    ("format", "content", "words"),
    [
        ("csv", b"", "is empty"),
        ("csv", b"time,open,high,low,close\n", "holds a header and no rows"),
        ("csv", b"time,open,high,low,close", "holds a header and no rows"),
        ("dukascopy", b"Gmt time,Open,High,Low,Close,Volume\n", "holds a header and no rows"),
        ("metatrader", b"<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\n", "holds a header and no rows"),
        ("csv", b"when,open,high,low,close\n1,1,1,1,1\n", r"row 1: no time column in when, open"),
        ("csv", b"time,bid_open,bid_high,bid_low\n1,1,1,1\n", r"row 1: incomplete bid columns"),
        ("csv", b"time,open,high,low,close\nx,y,z,u,v\n", r"1 of 1 rows cannot be read, the first in row 2"),
        ("histdata", b"2016.04.22,19:53,1,1,1,1,1\n", "rows cannot be read, the first in row 1"),
        ("histdata", b"\x00\x01\x02garbage", "not a text file"),
        ("dukascopy", b"Local time,Open,High,Low,Close,Volume\n", "GMT"),
        ("dukascopy", b"a,b\n1,2\n", "row 1: the columns are 'a,b'"),
        ("metatrader", b"hello\nworld\n", "2 of 2 rows cannot be read, the first in row 1"),
        ("parquet", b"PAR1 nothing more", "not a whole parquet file"),
        ("parquet", b"", "not a whole parquet file"),
    ],
)
def test_garbled_files_are_refused_naming_file_and_row(tmp_path: Path, format: str, content: bytes, words: str) -> None:
    path = tmp_path / "garbled.dat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as refused:
        read_candles(path, format, "EUR_USD", "0" if format == "metatrader" else None)  # type: ignore[arg-type]
    assert str(path) in str(refused.value)


def test_random_bytes_are_refused_by_every_format(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(np.random.default_rng(3).integers(1, 256, 20_000, dtype=np.uint8).tobytes())
    for format in ("csv", "histdata", "metatrader", "dukascopy", "parquet"):
        with pytest.raises(DataError, match="noise"):
            read_candles(path, format, "EUR_USD", "0")  # type: ignore[arg-type]


def test_truncated_files_are_refused_naming_the_row(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"row \d+: the last row is cut short .* truncated"):
        read_candles(cut(write_histdata(mids, tmp_path), 200_010), "histdata", "EUR_USD")
    with pytest.raises(DataError, match="not a whole parquet file"):
        read_candles(cut(write_parquet(mids, tmp_path), 100_000), "parquet", "EUR_USD")


def test_a_file_more_than_half_bad_is_refused(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"rows are bad, the first in row 2 \(high below low\)"):
        read_candles(write_csv(mids.rename(columns={"high": "low", "low": "high"}), tmp_path), "csv", "EUR_USD")


@pytest.mark.parametrize(("step", "found"), [(2, "M2"), (30, "M30"), (120, "H2")])
def test_other_granularities_are_refused(tmp_path: Path, mids: pd.DataFrame, step: int, found: str) -> None:
    times = pd.date_range("2024-01-02", periods=200, freq=f"{step}min", tz="UTC")
    with pytest.raises(DataError, match=f"holds {found} bars"):
        read_candles(write_csv(mids.head(200).assign(time=times), tmp_path), "csv", "EUR_USD")


def test_unreadable_times_are_said_before_the_granularity(tmp_path: Path, mids: pd.DataFrame) -> None:
    frame = mids.head(300)
    epochs = pd.DatetimeIndex(frame["time"]).as_unit("s").asi8.astype(str)
    iso = local(frame, "UTC").strftime("%Y-%m-%d %H:%M:%S").to_numpy(dtype=object)
    frame = frame.assign(time=np.where(np.arange(300) % 2, epochs.astype(object), iso))
    frame.to_csv(tmp_path / "mixed.csv", index=False)
    frame.to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(DataError, match=r"mixed\.csv: the times of 150 of 300 rows cannot be read, .* row 3 \('170"):
        read_candles(tmp_path / "mixed.csv", "csv", "EUR_USD")
    with pytest.raises(DataError, match=r"mixed\.parquet: the times of 150 of 300 .* row 2: write all times alike"):
        read_candles(tmp_path / "mixed.parquet", "parquet", "EUR_USD")


def test_an_epoch_with_digits_too_many_does_not_move_the_others(tmp_path: Path, mids: pd.DataFrame) -> None:
    epochs = pd.DatetimeIndex(mids["time"].head(60)).as_unit("s").asi8.astype(str).tolist()
    epochs[9] += "0000"
    path = tmp_path / "epochs.csv"
    mids.head(60).assign(time=epochs).to_csv(path, index=False)
    found = read_candles(path, "csv", "EUR_USD")
    assert (len(found.candles), found.quarantine["reason"].to_pylist()) == (59, ["time cannot be read"])


def test_another_instruments_file_is_refused_when_the_level_is_impossible(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"prices about 1\.\d+, and GBP_JPY trades about 187"):
        read_candles(write_csv(mids, tmp_path), "csv", "GBP_JPY")


def test_unknown_instruments_formats_and_files(tmp_path: Path, mids: pd.DataFrame) -> None:
    path = write_csv(mids.head(5), tmp_path)
    with pytest.raises(DataError, match="EUR_USD"):
        read_candles(path, "csv", "EURUSD")
    with pytest.raises(ConfigurationError, match="histdata"):
        read_candles(path, "excel", "EUR_USD")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be read"):
        read_candles(tmp_path / "absent.csv", "csv", "EUR_USD")
    with pytest.raises(DataError, match="cannot be read"):
        read_candles(tmp_path / "absent.parquet", "parquet", "EUR_USD")
    with pytest.raises(ConfigurationError, match="no file"):
        import_files([], "EUR_USD", "csv", tmp_path)


@pytest.mark.parametrize("text", ["1704708060", "1704708060000", "2024-01-08T10:01:00Z", "2024-01-08T12:01:00+02:00"])
def test_times_of_csv_files_come_in_many_forms(tmp_path: Path, text: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text(f"Time;Open;High;Low;Close\n{text};1.1;1.1;1.1;1.1\n")
    table = read_candles(path, "csv", "EUR_USD").candles
    assert table["time"].to_pylist() == [pd.Timestamp("2024-01-08T10:01:00Z")]


@pytest.mark.parametrize(
    ("name", "instrument"),
    [
        ("GBP_JPY_M1_2016-04_2016-06.parquet", "GBP_JPY"),
        ("DAT_ASCII_EURUSD_M1_2017.csv", "EUR_USD"),
        ("usd-jpy.csv", "USD_JPY"),
        ("XAUUSD1.csv", "XAU_USD"),
    ],
)
def test_the_instrument_is_in_the_name(name: str, instrument: str) -> None:
    assert guess_instrument(Path("EUR_GBP_folder") / name) == instrument


@pytest.mark.parametrize("name", ["candles.csv", "EURUSD_GBPJPY.csv", "XEURUSD.csv"])
def test_a_name_that_does_not_say_it_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="--instrument"):
        guess_instrument(Path(name))


@pytest.mark.parametrize(
    ("names", "given", "says"),
    [
        (["EURUSD_1.csv", "GBPUSD_2.csv"], None, r"EURUSD_1\.csv \(EUR_USD\), GBPUSD_2\.csv \(GBP_USD\)\. Import each"),
        (["EURUSD_1.csv", "more.csv"], None, r"'more\.csv' names no known instrument: give --instrument"),
        (["EURUSD_1.csv", "GBPUSD_2.csv"], "EUR_USD", r"'GBPUSD_2\.csv' names GBP_USD, not EUR_USD"),
        (["more.csv"], "EURUSD", "EURUSD"),
    ],
)
def test_files_of_several_instruments_are_not_one_import(names: list[str], given: str | None, says: str) -> None:
    with pytest.raises(DataError, match=says):
        common_instrument([Path(name) for name in names], given)


def test_the_instrument_of_several_files() -> None:
    files = [Path("EURUSD_1.csv"), Path("EUR_USD_2.csv")]
    assert common_instrument(files, None) == common_instrument([*files, Path("x.csv")], "EUR_USD") == "EUR_USD"
    assert common_instrument([Path("EURUSD_and_GBPUSD.csv")], "GBP_USD") == "GBP_USD"


def test_each_file_of_an_import_has_a_format_of_its_own(tmp_path: Path, mids: pd.DataFrame) -> None:
    files = [write_histdata(mids.head(200), tmp_path), write_csv(mids.tail(200), tmp_path)]
    report = import_files(files, "EUR_USD", None, tmp_path / "data")
    assert (report.imported, report.quarantined) == (400, 0)


def test_unknown_side(tmp_path: Path, mids: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="--side 'last' is unknown: use one of bid, mid, ask"):
        read_candles(write_csv(mids.head(9), tmp_path), "csv", "EUR_USD", side="last")  # type: ignore[arg-type]


def test_the_format_shows_in_the_content(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    for text, name in (
        ("20170102 020000;1.05;1.05;1.05;1.05;0\n", "histdata"),
        ("2016.04.22,19:53,1.1,1.1,1.1,1.1,5\n", "metatrader"),
        ("<DATE>\t<TIME>\t<OPEN>\n", "metatrader"),
        ("Gmt time,Open,High,Low,Close,Volume\n", "dukascopy"),
        ("04.01.2017 00:00:00.000,1.0,1.0,1.0,1.0,5\n", "dukascopy"),
        ("time,open,high,low,close\n", "csv"),
    ):
        path.write_text(text)
        assert guess_format(path) == name
        path.write_text(text, encoding="utf-16")
        assert guess_format(path) == name
    path.write_bytes(b"PAR1 and more")
    assert guess_format(path) == "parquet"
    path.write_bytes(b"PK\x03\x04\x00")
    with pytest.raises(DataError, match=r"EURUSD\.csv is packed, and damaged"):
        guess_format(path)


def test_an_exported_store_file_keeps_what_it_says_of_its_quotes(tmp_path: Path, mids: pd.DataFrame) -> None:
    found = read_candles(write_csv(mids, tmp_path), "csv", "EUR_USD").candles
    path = tmp_path / "export.parquet"
    pq.write_table(found, path)
    again = read_candles(path, "parquet", "EUR_USD").candles
    assert again.equals(found)
    flags = pa.array([False] * len(found))
    pq.write_table(found.set_column(found.schema.get_field_index("quotes_modelled"), "quotes_modelled", flags), path)
    assert not any(read_candles(path, "parquet", "EUR_USD").candles["quotes_modelled"].to_pylist())

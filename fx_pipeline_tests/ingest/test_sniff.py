"""The format of a file, by what it holds."""

import gzip
from pathlib import Path

import pytest

from fx_pipeline.ingest.importers import guess_format, read_candles
from fx_pipeline.market.errors import ConfigurationError, DataError

PRICES = "1.1,1.1,1.1,1.1,5"


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("20170102 020000;1.1;1.1;1.1;1.1;0", "histdata"),
        (f"2016.04.22,19:53,{PRICES}", "metatrader"),
        (f"2016.04.22,19:53:00,{PRICES}", "metatrader"),
        (f"2016.04.22,19:53,{PRICES}".replace(",", "\t"), "metatrader"),
        (f"Date,Time,Open,High,Low,Close,Volume\n2016.04.22,19:53,{PRICES}", "metatrader"),
        ("<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", "metatrader"),
        ("Gmt time,Open,High,Low,Close,Volume", "dukascopy"),
        (f"Gmt time,Open,High,Low,Close,Volume\n22.04.2016 16:53:00.000,{PRICES}", "dukascopy"),
        (f"22.04.2016 16:53:00.000,{PRICES}", "dukascopy"),
        (f"Gmt time,Open,High,Low,Close,Volume\n2016-04-22 16:53,{PRICES}", "csv"),
        (f"Time,Open,High,Low,Close,Volume\n2016-04-22 16:53,{PRICES}", "csv"),
        ("time;open;high;low;close\n20170102 020000;1;1;1;1", "csv"),
        ('"timestamp"\t"bid_open"', "csv"),
        ("when,open,high,low,close", "csv"),
        (f"\n  \n2016.04.22,19:53,{PRICES}", "metatrader"),
        ("garbled\n20170102 020000;1.1;1.1;1.1;1.1;0", "histdata"),
    ],
)
@pytest.mark.parametrize(("encoding", "name"), [("utf-8", "a.csv"), ("utf-8-sig", "a.parquet"), ("utf-16", "a")])
def test_the_content_says_the_format_whatever_the_name(
    tmp_path: Path, content: str, format: str, encoding: str, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.replace("\n", "\r\n").encode(encoding))
    assert guess_format(path) == format


def test_real_parquet_files(shared_data: Path) -> None:
    assert guess_format(shared_data / "EUR_USD_M1_2024-01.parquet") == "parquet"


@pytest.mark.parametrize(
    "content",
    [b"hello\nworld\n", b"\x00\x01\x02", b"2024-01-02 10:00,1,1,1,1\n", gzip.compress(b"hello, world", mtime=0)],
)
def test_other_content_is_refused_naming_the_formats(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"parquet; csv .* histdata .* metatrader .* dukascopy .* --format") as refused:
        guess_format(path)
    assert str(path) in str(refused.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    for content in (b"", b" \n\n"):
        (tmp_path / "empty.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"empty\.csv is empty"):
            guess_format(tmp_path / "empty.csv")
    with pytest.raises(DataError, match=r"absent\.csv cannot be read \(No such file"):
        guess_format(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="directory"):
        guess_format(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        f"2016.04.22,19:53,{PRICES}",
        f"2016.04.22,19:53:00,{PRICES}",
        f"2016.04.22,19:53,{PRICES}".replace(",", "\t"),
        f"2016.04.22,19:53:00,{PRICES},0,3".replace(",", "\t"),
        f"22.04.2016 19:53:00.000,{PRICES}",
    ],
)
def test_spellings_that_are_guessed_are_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "EURUSD.txt"
    path.write_text(content + "\n")
    found = read_candles(path, guess_format(path), "EUR_USD", "0")
    assert [f"{time:%Y-%m-%d %H:%M}" for time in found.candles["time"].to_pylist()] == ["2016-04-22 19:53"]
    assert len(found.quarantine) == 0


def test_seconds_are_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text("".join(f"2016.04.22,{clock},{PRICES}\n" for clock in ("19:53", "19:54:30", "19:55")))
    found = read_candles(path, guess_format(path), "EUR_USD", "0")
    assert found.quarantine["reason"].to_pylist() == ["time off the minute"]


def test_a_guessed_metatrader_file_still_needs_a_clock(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_text(f"2016.04.22,19:53,{PRICES}\n")
    with pytest.raises(ConfigurationError, match=r"EURUSD\.csv: metatrader .* --utc-offset: hours ahead of UTC"):
        read_candles(path, guess_format(path), "EUR_USD")

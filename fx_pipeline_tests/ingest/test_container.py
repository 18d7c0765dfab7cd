"""What is packed, and what is no table at all."""

import bz2
import gzip
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from fx_pipeline.ingest.container import EmptyFileError, inner_name, open_content, read_head
from fx_pipeline.ingest.importers import guess_format, guess_instrument, read_candles
from fx_pipeline.market.errors import DataError

ROWS = "".join(f"20240304 02{minute:02d}00;1.05155;1.05197;1.05155;1.05190;0\n" for minute in range(30)).encode()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_one_file_in_a_zip_is_read_as_it_is(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", EURUSD_m1__csv=ROWS, readme__md=b"words, words, words, words\n")
    assert inner_name(path) == "EURUSD_m1.csv"
    with open_content(path) as content:
        assert content.file.read() == ROWS
        assert content.share() == 1.0
    assert (guess_instrument(path), guess_format(path)) == ("EUR_USD", "histdata")
    assert len(read_candles(path, "histdata", "EUR_USD", "0").candles) == 30


def test_gzip_is_read_and_its_share_grows(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.csv.gz"
    path.write_bytes(gzip.compress(ROWS, mtime=0))
    assert read_head(path) == ROWS
    with open_content(path) as content:
        assert content.file.read() == ROWS
        assert content.share() == 1.0


def test_names_outside_and_inside_must_agree(tmp_path: Path) -> None:
    path = zipped(tmp_path / "GBPUSD.zip", EURUSD__csv=ROWS)
    with pytest.raises(DataError, match="names EUR_USD and GBP_USD"):
        guess_instrument(path)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"a__csv": ROWS, "b__csv": ROWS}, r"holds 2 files \(a\.csv, b\.csv\): unpack it"),
        ({"a__txt": b"hello\n", "b__txt": b"world\n"}, r"holds no file of candles \(a\.txt, b\.txt\)"),
        ({}, "an archive with nothing inside"),
        ({"[Content_Types]__xml": b"<x/>", "xl/workbook__xml": b"<x/>"}, "is an Excel workbook: .* save .* as CSV"),
        ({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content__xml": b""}, "an office document"),
    ],
)
def test_archives_that_are_not_one_file_of_candles(tmp_path: Path, members: dict[str, bytes], says: str) -> None:
    path = zipped(tmp_path / "EURUSD.zip", **members)
    for read in (guess_format, lambda path: read_candles(path, "csv", "EUR_USD")):
        with pytest.raises(DataError, match=says) as refused:
            read(path)
        assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bz2.compress(ROWS), "bzip2: unpack"),
        (lzma.compress(ROWS), "xz: unpack"),
        (b"7z\xbc\xaf\x27\x1c....", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "Excel workbook of the old kind"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page"),
        (b'{"candles": [1, 2]}', "JSON"),
        (b"SQLite format 3\x00" + bytes(90), "SQLite"),
        (gzip.compress(gzip.compress(ROWS, mtime=0), mtime=0), "packed twice"),
        (gzip.compress(b"PK\x03\x04 and more", mtime=0), "an archive inside another"),
        (b"\x91\x01\x00\x00" + bytes(144), "history file of MetaTrader's own"),
        (gzip.compress(ROWS, mtime=0)[:40], "damaged or cut short"),
        (b"PK\x03\x04 and no more", "damaged or cut short"),
    ],
)
def test_what_else_a_file_may_be_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "EURUSD.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as refused:
        guess_format(path)
    assert str(path) in str(refused.value)


def test_a_tar_in_a_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "EURUSD.csv").write_bytes(ROWS)
    path = tmp_path / "EURUSD.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "EURUSD.csv")
    with pytest.raises(DataError, match=r"EURUSD\.tar\.gz is a tar archive"):
        guess_format(path)


def test_packed_parquet_and_empty_files(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet.gz"
    path.write_bytes(gzip.compress(b"PAR1 and more"))
    with pytest.raises(DataError, match="parquet inside an archive: unpack it"):
        read_candles(path, guess_format(path), "EUR_USD")
    path.write_bytes(gzip.compress(b"\n \n"))
    with pytest.raises(EmptyFileError, match="is empty"):
        guess_format(path)

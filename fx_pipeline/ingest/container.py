"""The bytes of a file of candles, plain or packed: a zip or gzip with one such file inside is read as that file.

What cannot be read is named: an Excel workbook, another archive, a web page.
"""

import contextlib
import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from fx_pipeline.market.errors import DataError

HEAD_BYTES = 65_536
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OTHER = (
    (_ZIP, "an archive inside another: unpack it first"),
    (_GZIP, "packed twice: unpack it first"),
    (b"\x90\x01\x00\x00", "a history file of MetaTrader's own (.hst): export the chart as CSV"),
    (b"\x91\x01\x00\x00", "a history file of MetaTrader's own (.hst): export the chart as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind: open it, and save it as CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"BZh", "packed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "packed with xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd: unpack it first"),
    (b"\x5d\x00\x00", "packed with LZMA, as Dukascopy's tick files (.bi5): export one-minute bars as CSV instead"),
    (b"SQLite format 3", "an SQLite database: export the candles as CSV or parquet"),
    (b"\x89HDF", "an HDF5 file: export the candles as CSV or parquet"),
    (b"ARROW1", "an Arrow (feather) file: write the candles as parquet"),
    (b"%PDF", "a PDF: export the candles as CSV"),
)
_TAR = (257, b"ustar")
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_JSON = re.compile(rb"\s*(?:\{\s*\"|\[\s*[\[{])")
# A method of compression that the library does not know is a NotImplementedError.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError)


class EmptyFileError(DataError):
    """A file without a single row: among others that have some, it can be left out."""


@dataclass(frozen=True)
class Content:
    """An open file's bytes, unpacked.

    Attributes
    ----------
    file : binary file
    share : callable
        Share of the whole that is read, 0 to 1.
    """

    file: IO[bytes]
    share: Callable[[], float]


def file_error(path: Path, error: OSError) -> DataError:
    """Return what to raise when the operating system does not give a file."""
    return DataError(f"{path} cannot be read ({error.strerror}): check the path.")


def inner_name(path: Path) -> str | None:
    """Return the name of the file inside a zip, None of a file that is none or that cannot be read."""
    try:
        with path.open("rb") as file:
            if not _is_zip(file.read(4)):
                return None
            with zipfile.ZipFile(file) as archive:
                return PurePosixPath(_member(path, archive).filename).name
    except (OSError, DataError, *_DAMAGED):
        # Whoever reads the file itself says what is wrong with it.
        return None


@contextlib.contextmanager
def open_content(path: Path) -> Iterator[Content]:
    """Open a file to read its bytes, unpacked.

    Raises
    ------
    DataError
        If it cannot be read, is packed in another way or cut short, or does not have one file of candles inside.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if _is_zip(start):
                with zipfile.ZipFile(file) as archive:
                    member = _member(path, archive)
                    with archive.open(member) as inside:
                        yield _unpacked(inside, lambda: inside.tell() / max(member.file_size, 1))
            else:
                size = os.fstat(file.fileno()).st_size
                packed = start.startswith(_GZIP)
                with gzip.GzipFile(fileobj=file) if packed else contextlib.nullcontext(file) as inside:
                    yield _unpacked(inside, lambda: file.tell() / size if size else 1.0)
    except _DAMAGED as error:
        reason = str(error).rstrip(".")
        raise DataError(f"{path} is packed, and damaged or cut short ({reason}): download it again.") from error
    except OSError as error:
        raise file_error(path, error) from error


def read_head(path: Path) -> bytes:
    """Return the first bytes, unpacked.

    Raises
    ------
    DataError
        As `open_content`, and if they are those of something that holds no table as text or parquet.
    """
    with open_content(path) as content:
        head = content.file.read(HEAD_BYTES)
    if other := _what_else(head):
        raise DataError(f"{path} is {other}.")
    return head


def is_packed(path: Path) -> bool:
    """Whether the file is a zip or a gzip."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise file_error(path, error) from error
    return _is_zip(start) or start.startswith(_GZIP)


def _unpacked(file: IO[bytes] | gzip.GzipFile, share: Callable[[], float]) -> Content:
    return Content(file, share)  # type: ignore[arg-type]


def _is_zip(start: bytes) -> bool:
    return start.startswith((_ZIP, _EMPTY_ZIP))


def _what_else(head: bytes) -> str | None:
    for magic, words in _OTHER:
        if head.startswith(magic):
            return words
    at, magic = _TAR
    if head[at : at + len(magic)] == magic:
        return "a tar archive: unpack it first"
    if _PAGE.match(head):
        return "a web page or XML, not a table: whatever was downloaded, it is not the file; download it again"
    if _JSON.match(head):
        return "JSON: write it as CSV or parquet with the columns time, open, high, low, close"
    return None


def _member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    # The one file of candles in an archive: what else lies there is a report, or what an operating system adds.
    names = archive.namelist()
    if "[Content_Types].xml" in names or "mimetype" in names:
        kind = "an Excel workbook" if any(name.startswith("xl/") for name in names) else "an office document"
        raise DataError(f"{path} is {kind}: open it, and save the sheet with the candles as CSV.")
    files = [item for item in archive.infolist() if not item.is_dir() and not _is_litter(item.filename)]
    if not files:
        raise EmptyFileError(f"{path} is an archive with nothing inside: download it again.")
    if locked := next((item.filename for item in files if item.flag_bits & 1), None):
        raise DataError(f"{path} is locked with a password ({locked}): unpack it first.")
    tables = files if len(files) == 1 else [item for item in files if not _is_report(archive, item)]
    if len(tables) != 1:
        listed = ", ".join(item.filename for item in (tables or files)[:5])
        more = f" and {len(tables) - 5} more" if len(tables) > 5 else ""
        what = f"{len(tables)} files" if tables else "no file of candles"
        raise DataError(f"{path} holds {what} ({listed}{more}): unpack it, and import the files with the candles.")
    return tables[0]


def _is_litter(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[0] == "__MACOSX" or path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def _is_report(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> bool:
    with archive.open(item) as file:
        return is_report(item.filename, file.read(4096))


def is_report(name: str, head: bytes) -> bool:
    """Whether a file of that name and those first bytes is words about data: of its lines, few begin with a number."""
    if PurePosixPath(name).suffix.lower() in (".md", ".pdf", ".html", ".htm", ".json", ".xml", ".url"):
        return True
    if head.startswith(b"PAR1") or b"\x00" in head:
        return False
    lines = [line for line in head.splitlines() if line.strip()]
    cells = [line for line in lines if sum(map(line.count, (b",", b";", b"\t"))) >= 3]
    return bool(lines) and 2 * len(cells) < len(lines)

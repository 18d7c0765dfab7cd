"""Which format a file of candles has, by what it holds: names of files lie, and all of HistData's end in `.csv`."""

import re
from pathlib import Path
from typing import Literal, get_args

from fx_pipeline.ingest import dukascopy, histdata, metatrader, named
from fx_pipeline.ingest.text import file_error
from fx_pipeline.market.errors import DataError

Format = Literal["parquet", "csv", "histdata", "metatrader", "dukascopy"]
FORMATS: tuple[Format, ...] = get_args(Format)

_HEAD_BYTES = 65_536
_LINES = 5
_ROWS: dict[Format, re.Pattern[str]] = {
    "histdata": re.compile(r"\d{8} \d{6};"),
    "metatrader": re.compile(r"\d{4}\.\d\d\.\d\d[,\t]\d?\d:\d\d(?::\d\d)?[,\t]"),
    "dukascopy": re.compile(r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d[^,]*,"),
}


def guess_format(path: Path) -> Format:
    """Return the format of a file by its first rows, whatever its suffix.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or holds none of the formats.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise file_error(path, error) from error
    if head.startswith(b"PAR1"):
        return "parquet"
    lines = _first_lines(head)
    if not lines and not head.strip():
        raise DataError(f"{path} is empty: export or download it again.")
    found = _by_lines(lines) if lines else None
    if found is None:
        raise DataError(
            f"{path} holds no format that is known. Known are parquet; csv with a header ({named.EXPECTED}); histdata "
            f"({histdata.EXPECTED}); metatrader ({metatrader.EXPECTED}); dukascopy ({dukascopy.EXPECTED}). Unpack it "
            f"if it is packed, or give --format ({', '.join(FORMATS)})."
        )
    return found


def _first_lines(head: bytes) -> list[str]:
    # None of a file that is not text.
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = head.decode(encoding, errors="replace")
    if "\x00" in text:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][:_LINES]


def _by_lines(lines: list[str]) -> Format | None:
    kinds = [next((kind for kind, row in _ROWS.items() if row.match(line)), None) for line in lines]
    if kinds[0]:
        return kinds[0]
    first = next((kind for kind in kinds if kind), None)
    names = [name.strip().strip('"').lower() for name in re.split(r"[,;\t]", lines[0])]
    if names[0] == "<date>":
        return "metatrader"
    if names[0] in ("gmt time", "local time") and (first == "dukascopy" or len(lines) == 1):
        return "dukascopy"
    # A header above MetaTrader's two columns for date and time; above others it is a named csv with such times.
    if first == "metatrader" and names[:2] == ["date", "time"]:
        return "metatrader"
    return "csv" if named.is_header(names) else first

"""Which format a file of candles has, by what it holds: names of files lie, and all of HistData's end in `.csv`."""

import re
from pathlib import Path
from typing import Literal, get_args

from fx_pipeline.ingest import dukascopy, histdata, metatrader, named
from fx_pipeline.ingest.columns import is_header, plain_names
from fx_pipeline.ingest.container import EmptyFileError, is_report, read_head
from fx_pipeline.ingest.header import is_remark, separator
from fx_pipeline.ingest.naming import instrument_of
from fx_pipeline.ingest.quotes import split_cells, usual_delimiter
from fx_pipeline.ingest.text import text_encoding
from fx_pipeline.market.errors import DataError

Format = Literal["parquet", "csv", "histdata", "metatrader", "dukascopy"]
FORMATS: tuple[Format, ...] = get_args(Format)

_LINES = 5
_ROWS: dict[Format, re.Pattern[str]] = {
    "histdata": re.compile(r"\d{8} \d{6};"),
    "metatrader": re.compile(r"\d{4}\.\d\d\.\d\d[,;\t]\d?\d:\d\d(?::\d\d)?[,;\t]"),
    "dukascopy": re.compile(r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d[^,]*,"),
}
#: A time with seconds and perhaps a fraction of one, in one cell or in two.
_MOMENT = re.compile(
    r"\d{8}[ T]\d{6}(\d{3})|\d{8}[ T]\d{6}(?: (\d{7}))?|"
    r"(?:\d{8}|\d{4}[-./]\d\d[-./]\d\d|\d\d\.\d\d\.\d{4})[ T]\d\d:\d\d:\d\d(?:\.(\d+))?"
)
_FEWEST_BAR_NUMBERS = 4


def guess_format(path: Path) -> Format:
    """Return the format of a file by its first rows, whatever its suffix, packed or not.

    Raises
    ------
    DataError
        If the file cannot be read, is empty, or holds none of the formats; where it shows, the message says what it
        holds instead.
    """
    head = read_head(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    lines = _first_lines(head)
    if not lines and not head.strip():
        raise EmptyFileError(f"{path} is empty: export or download it again.")
    if lines and all(_is_tick(line) for line in lines):
        raise DataError(
            f"{path}: these are ticks ({lines[0][:60]!r}): download the one-minute bars (M1) of the same publisher."
        )
    found = _by_lines(lines) if lines else None
    if found is not None:
        return found
    if lines and is_report(path.name, head):
        advice = f"It begins with {lines[0][:60]!r}, and is no table: import the file of candles that it came with"
    else:
        advice = "A table without a header needs one, like time,open,high,low,close,volume"
    raise DataError(
        f"{path} holds no format that is known. Known are {_known()} {advice}; or give --format ({', '.join(FORMATS)})."
    )


def _known() -> str:
    return (
        f"parquet; csv with a header ({named.EXPECTED}); histdata ({histdata.EXPECTED}); metatrader "
        f"({metatrader.EXPECTED}); dukascopy ({dukascopy.EXPECTED})."
    )


def _first_lines(head: bytes) -> list[str]:
    # None of a file that is not text.
    encoding = text_encoding(head)
    if encoding is None:
        return []
    lines = head.decode(encoding, errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and separator(line) is None and not is_remark(line)][:_LINES]


def _by_lines(lines: list[str]) -> Format | None:
    bare = [line.replace('"', "") for line in lines]
    kinds = [next((kind for kind, row in _ROWS.items() if row.match(line)), None) for line in bare]
    if kinds[0]:
        return kinds[0]
    first = next((kind for kind in kinds if kind), None)
    delimiter = usual_delimiter(lines[0])
    names = plain_names(split_cells(lines[0], delimiter))
    if names[0] == "date" and lines[0].lstrip('"').startswith("<"):
        return "metatrader"
    if names[1:] == ["open", "high", "low", "close", "volume"]:
        if names[0] in ("gmt time", "local time") and (first == "dukascopy" or len(lines) == 1):
            return "dukascopy"
        # JForex names the zone of its times.
        if re.fullmatch(r"time \([a-z]+\)", names[0]):
            return "dukascopy"
    # A header above MetaTrader's two columns for date and time; above others it is a named csv with such times.
    if {"date", "time"} <= set(names) and len(bare) > 1:
        cells = dict(zip(names, split_cells(lines[1], delimiter), strict=False))
        if _ROWS["metatrader"].match(f"{cells.get('date', '').strip()},{cells.get('time', '').strip()},"):
            return "metatrader"
    return "csv" if is_header(names) else first


def _is_tick(line: str) -> bool:
    # A moment and fewer numbers than a bar has prices.
    cells = [cell.strip() for cell in split_cells(line, usual_delimiter(line))]
    if instrument_of(cells[0]):
        cells = cells[1:]
    for moments in (1, 2):
        moment = _MOMENT.fullmatch(" ".join(cells[:moments]))
        if moment and len(cells) > moments:
            numbers = cells[moments:]
            few = len(numbers) < _FEWEST_BAR_NUMBERS or bool(int(moment[1] or moment[2] or moment[3] or 0))
            return few and all(re.fullmatch(r"\d+(?:\.\d+)?", cell) for cell in numbers)
    return False

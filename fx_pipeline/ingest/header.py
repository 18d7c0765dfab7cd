"""The first line of a text file in blocks: what it says, and the file from there on, or without it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fx_pipeline.ingest.container import EmptyFileError
from fx_pipeline.ingest.text import Block

_END = re.compile(rb"\r\n|\n|\r")
#: Between the names of a time and four prices.
_FEWEST_MARKS = 4
_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)


class First(NamedTuple):
    """The first line that says something.

    Attributes
    ----------
    text : str
        Trimmed.
    row : int
        Its number, from 1.
    delimiter : str or None
        As a line `sep=;` above it says, which Excel reads and writes.
    """

    text: str
    row: int
    delimiter: str | None


def is_remark(line: str) -> bool:
    """Whether a line above a table is a remark, and not the names of columns behind a mark."""
    return line.lstrip('\ufeff "').startswith(("#", "//")) and max(map(line.count, ",;\t|")) < _FEWEST_MARKS


def separator(line: str) -> str | None:
    """Return the delimiter that a line like `sep=;` tells, None of any other line."""
    found = _SEPARATOR.fullmatch(line.strip("\r\n \ufeff")) or _SEPARATOR.fullmatch(line.strip("\r\n\ufeff"))
    return found[1] if found else None


def first_line(path: Path, blocks: Iterator[Block]) -> tuple[First, Iterator[Block]]:
    """Return the first line that says something, and the blocks from that line on.

    Raises
    ------
    EmptyFileError
        If there is none.
    """
    delimiter: str | None = None
    row = 1
    for block in blocks:
        data = block.data
        while data:
            line, rest = _split(data)
            text = line.decode()
            if told := separator(text):
                delimiter = told
            elif text.strip() and not is_remark(text):
                return First(text.strip(), row, delimiter), chain([replace(block, data=data)], blocks)
            data = rest
            row += 1
    raise EmptyFileError(f"{path} holds a header and no rows: export or download it again.")


def skip_line(path: Path, blocks: Iterator[Block]) -> Iterator[Block]:
    """Return the blocks without the first line.

    Raises
    ------
    EmptyFileError
        If there is no other line.
    """
    first = next(blocks)
    rest = _split(first.data)[1]
    after = next(blocks, None)
    if not rest.strip() and after is None:
        raise EmptyFileError(f"{path} holds a header and no rows: export or download it again.")
    return chain([replace(first, data=rest)] if rest else [], [] if after is None else [after], blocks)


def _split(data: bytes) -> tuple[bytes, bytes]:
    # The line and what follows its end, which is that of Unix, Windows or an old Mac.
    end = _END.search(data)
    return (data[: end.start()], data[end.end() :]) if end else (data, b"")

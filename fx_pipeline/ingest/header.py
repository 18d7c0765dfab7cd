"""The first line of a text file in blocks: what it says, and the file without it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from fx_pipeline.ingest.text import Block
from fx_pipeline.market.errors import DataError


def first_line(blocks: Iterator[Block]) -> tuple[str, Iterator[Block]]:
    """Return the first line, trimmed, and the blocks with it still in them."""
    first = next(blocks)
    return _split(first.data)[0].decode().strip(), chain([first], blocks)


def skip_line(path: Path, blocks: Iterator[Block]) -> Iterator[Block]:
    """Return the blocks without the first line.

    Raises
    ------
    DataError
        If there is no other line.
    """
    first = next(blocks)
    rest = _split(first.data)[1]
    after = next(blocks, None)
    if not rest and after is None:
        raise DataError(f"{path} holds a header and no rows: export or download it again.")
    return chain([replace(first, data=rest)] if rest else [], [] if after is None else [after], blocks)


def _split(data: bytes) -> tuple[bytes, bytes]:
    # The line and what follows its end, which is that of Unix, Windows or an old Mac.
    line, end, rest = data.partition(b"\n")
    if not end:
        line, _, rest = data.partition(b"\r")
    return line, rest

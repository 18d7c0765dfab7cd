"""Quotes in delimited text: around cells, or around whole lines, as R, Excel and some loaders' sources have them."""

import csv

import numpy as np

#: Between the cells of text whose quoted cells hold the delimiter itself.
UNIT = "\x1f"
_QUOTE, _NEWLINE, _RETURN = (ord(character) for character in '"\n\r')


def unquoted(data: bytes, delimiter: str) -> tuple[bytes, str]:
    """Return the same lines without quotes, and what stands between their cells then.

    Parameters
    ----------
    data : bytes
        Whole lines.
    """
    characters = np.frombuffer(data, np.uint8)
    # Sums of bytes wrap round at 256, an even number.
    inside = np.cumsum(characters == _QUOTE, dtype=np.uint8) & 1 == 1
    ends = (characters == _NEWLINE) | (characters == _RETURN)
    balanced = not inside[ends].any() and not inside[-1]
    if balanced and not (inside & (characters == ord(delimiter))).any():
        return data.replace(b'"', b""), delimiter
    lines = data.splitlines()
    if all(not line or (line[:1] == line[-1:] == b'"' and line.count(b'"') == 2 and len(line) > 1) for line in lines):
        return b"".join(line[1:-1] + b"\n" for line in lines), delimiter
    cells = (UNIT.join(split_cells(line.decode(errors="replace"), delimiter)) + "\n" for line in lines)
    return "".join(cells).encode(), UNIT


def split_cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, of which each, or the whole line, may be quoted."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [""])
        if len(cells) == 1 and line.lstrip().startswith('"') and delimiter in cells[0]:
            return next(csv.reader([cells[0]], delimiter=delimiter), [""])
    except csv.Error:
        # A cell of more than 100,000 characters is none of candles: split as it stands, it is said to be wrong.
        return line.split(delimiter)
    return cells


def usual_delimiter(line: str) -> str:
    """Return what stands between the cells of a line: of comma, semicolon, tab and bar the one that occurs most."""
    counts = {mark: max(line.count(mark), len(split_cells(line, mark)) - 1) for mark in ",;\t|"}
    return max(counts, key=lambda mark: counts[mark])

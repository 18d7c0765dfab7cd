"""Delimited text files: blocks of whole lines, rows of cells with the number of every row, numbers and times."""

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from fx_pipeline.ingest.clock import NO_TIME
from fx_pipeline.ingest.container import Content, EmptyFileError, open_content
from fx_pipeline.market.errors import DataError

BLOCK_BYTES = 4 << 20
#: No line of candles is this long: what has no line end by then is not text.
_LONGEST_LINE = 64 << 20
_ONLY_BLANKS = re.compile(r"\s*")
_BLANK = b" \t\r\n\v\f"
#: What each letter of a form of times stands for, by the place of its value in `read_times`.
_PLACES = {letter: place for place, letter in enumerate("YMDhms")}


@dataclass(frozen=True)
class Block:
    """Whole lines of a text file.

    Attributes
    ----------
    data : bytes
        UTF-8.
    cut : bool
        Whether the file ends here without a line end: a file that was cut short does.
    done : float
        Share of the file that is read with this block.
    """

    data: bytes
    cut: bool
    done: float


@dataclass(frozen=True)
class TextRows:
    """Rows of a block of text.

    Attributes
    ----------
    columns : dict of str to Array
        Cells by column name: strings, or numbers where the column was read as such.
    row : (N,) int64
        Line of each row in the block, from 1. Blank lines are none.
    broken : dict of int to str
        Lines that do not have the right number of cells, by their line in the block.
    lines : int
        Lines of the block.
    """

    columns: dict[str, pa.Array]
    row: npt.NDArray[np.int64]
    broken: dict[int, str]
    lines: int


def text_encoding(head: bytes) -> str | None:
    """Return the encoding of a text file by its first bytes, None of what is no text.

    UTF-16 without a mark at its start, as some programs write it, shows in every other byte: it is zero.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = head[:4096]
    if b"\x00" not in head:
        return "utf-8-sig"
    even, odd = head[0::2], head[1::2]
    for name, zeros, letters in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if 10 * zeros.count(0) > 9 * len(zeros) and b"\x00" not in letters:
            return name
    return None


def read_blocks(path: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Yield a text file in blocks of whole lines, unpacked and as UTF-8.

    Parameters
    ----------
    block_bytes : int
        About the size of a block; a longer line makes a longer block.

    Raises
    ------
    DataError
        If the file is missing, empty, packed in a way that is not read, or not text.
    """
    with open_content(path) as content:
        yield from _blocks(path, content, block_bytes)


def split_rows(
    data: bytes, delimiter: str, names: Sequence[str], numbers: Sequence[str] = (), decimal: str = "."
) -> TextRows | None:
    """Split text into rows of named cells.

    Parameters
    ----------
    data : bytes
        Whole lines, UTF-8.
    names : sequence of str
        Column names.
    numbers : sequence of str
        Columns to read as float64 at once, which is several times faster than through strings.
    decimal : str
        The mark between a number's whole part and its decimals.

    Returns
    -------
    TextRows or None
        None if a cell of `numbers` is not a number: split again without.
    """
    broken: dict[int, str] = {}
    skipped: list[int] = []

    def on_broken(row: csv.InvalidRow) -> str:
        skipped.append(row.number)
        if not _ONLY_BLANKS.fullmatch(row.text):
            broken[row.number] = row.text
        return "skip"

    types = {name: pa.float64() if name in numbers else pa.string() for name in names}
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            # Row numbers are known to the handler only when one thread reads.
            read_options=csv.ReadOptions(column_names=list(names), use_threads=False, block_size=len(data) + 1),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=on_broken
            ),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False, decimal_point=decimal),
        )
    except pa.ArrowInvalid:
        if not numbers:
            raise
        return None
    lines = np.arange(1, 1 + len(table) + len(skipped), dtype=np.int64)
    row = np.setdiff1d(lines, np.array(skipped, dtype=np.int64)) if skipped else lines
    columns = {name: table[name].combine_chunks() for name in names}
    if numbers:
        return TextRows(columns, row, broken, len(lines))
    columns = {name: pc.utf8_trim_whitespace(column) for name, column in columns.items()}
    blank = np.all([pc.equal(column, "").to_numpy(zero_copy_only=False) for column in columns.values()], axis=0)
    if blank.any():
        columns = {name: column.filter(pa.array(~blank)) for name, column in columns.items()}
        row = row[~blank]
    return TextRows(columns, row, broken, len(lines))


def to_floats(cells: pa.Array, decimal: str = ".", grouped: str = r"\.\d+") -> npt.NDArray[np.float64]:
    """Return cells as numbers, NaN where a cell is not one.

    Parameters
    ----------
    decimal : str
        The mark before the decimals, point or comma; the other one may stand between groups of three digits.
    grouped : str
        What must follow such groups: "1,095" alone may be 1.095 as well.
    """
    try:
        if decimal == ".":
            return np.asarray(cells.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        pass
    if not pa.types.is_string(cells.type):
        return np.asarray(cells.to_numpy(zero_copy_only=False))
    texts = pd.Series(cells.to_pylist(), dtype=object)
    if decimal == ",":
        # A point is none of such a number's marks, but between groups of digits: it must not become its decimals.
        swapped = texts.str.translate(str.maketrans(".,", ",."))
        texts = texts.where(~texts.str.contains("[.,]"), swapped)
    groups = texts.str.fullmatch(rf"[+-]?\d{{1,3}}(?:,\d{{3}})+(?:{grouped})")
    texts = texts.where(~groups, texts.str.replace(",", ""))
    return pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)


def decimal_mark(*columns: pa.Array) -> str:
    """Return the mark before decimals: a comma where the cells of most rows have one in every column, else a point."""
    commas = [pc.match_substring_regex(column, r"^[+-]?[\d.]*\d,\d+$") for column in columns]
    told = [int(pc.sum(matches).as_py() or 0) for matches in commas]
    return "," if columns and 2 * min(told) > len(columns[0]) else "."


def read_times(cells: pa.StringArray, *forms: str) -> npt.NDArray[np.int64]:
    """Return wall-clock nanoseconds of cells of a fixed form, `NO_TIME` where a cell has none of the forms.

    Parameters
    ----------
    forms : str
        Like `YYYY-MM-DD hh:mm:ss`: these letters stand for digits, all else for itself. The forms must differ in
        length. What a form leaves out is 1970, January, the 1st, or 0.
    """
    if not len(cells):
        return np.empty(0, np.int64)
    offsets = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    content = cells.buffers()[2]
    data = np.frombuffer(content if content is not None else b"", np.uint8)
    lengths = np.diff(offsets)
    times = np.full(len(cells), NO_TIME)
    for form in forms:
        fits = lengths == len(form)
        if fits.all():
            return _fixed_times(data[offsets[0] : offsets[-1]].reshape(-1, len(form)), form)
        if fits.any():
            places = offsets[:-1][fits, np.newaxis] + np.arange(len(form), dtype=np.int32)
            times[fits] = _fixed_times(data[places], form)
    return times


def to_nanoseconds(values: npt.NDArray[np.int64], unit_ns: int) -> npt.NDArray[np.int64]:
    """Return times in units of `unit_ns` as nanoseconds, `NO_TIME` where 64 bits do not hold them (year 2924)."""
    # A margin of days, so that no clock moves a time out of range later.
    limit = (2**63 - 2**50) // unit_ns
    inside = (values > -limit) & (values < limit)
    return np.where(inside, np.where(inside, values, 0) * unit_ns, NO_TIME)


def _blocks(path: Path, content: Content, block_bytes: int) -> Iterator[Block]:
    decode: Callable[[bytes, bool], str] | None = None
    rest, first, blank = b"", True, True
    while True:
        chunk = content.file.read(block_bytes)
        ended = len(chunk) < block_bytes
        if first:
            encoding = text_encoding(chunk)
            if encoding is None:
                raise DataError(f"{path} is not a text file: check --format, or unpack it first.")
            if encoding.startswith("utf-16"):
                decode = codecs.getincrementaldecoder(encoding)().decode
        if decode is not None:
            try:
                chunk = decode(chunk, ended).encode()
            except UnicodeDecodeError as error:
                raise DataError(f"{path} is UTF-16 text that is cut short: export or download it again.") from error
        if first:
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        first = False
        data = rest + chunk if rest else chunk
        whole = len(data) if ended else _last_line_end(data)
        if not whole and len(data) > _LONGEST_LINE:
            raise DataError(f"{path} has a line of more than {len(data):,} bytes: it holds no candles.")
        rest, data = data[whole:], data[:whole]
        blank = blank and not data.strip(_BLANK)
        if data and not blank:
            if not data.isascii():
                data = data.decode(errors="replace").encode()
            yield Block(data, ended and not data.endswith((b"\n", b"\r")), min(content.share(), 1.0))
        elif data and not ended:
            # Rows are counted from the first line, blank or not.
            rest = data + rest
        if ended:
            break
    if blank:
        raise EmptyFileError(f"{path} is empty: export or download it again.")


def _last_line_end(data: bytes) -> int:
    found = data.rfind(b"\n") + 1
    # The last byte may be the first half of a Windows line end.
    return found or data.rfind(b"\r", 0, len(data) - 1) + 1


def _fixed_times(characters: npt.NDArray[np.uint8], form: str) -> npt.NDArray[np.int64]:
    # Column by column: each is one pass over contiguous bytes.
    columns = np.ascontiguousarray(characters.T)
    values = [np.zeros(columns.shape[1], np.int32) for _ in _PLACES]
    good = np.ones(columns.shape[1], bool)
    for letter, column in zip(form, columns, strict=True):
        if letter not in _PLACES:
            good &= column == ord(letter)
            continue
        # Bytes below the digits wrap round to large ones.
        digit = column - np.uint8(ord("0"))
        good &= digit < 10
        value = values[_PLACES[letter]]
        value *= 10
        value += digit
    year, month, day, hour, minute, second = values
    given = set(form)
    months = (year - 1970 if "Y" in given else year) * 12 + (month - 1 if "M" in given else month)
    days = day - 1 if "D" in given else day
    good &= (hour < 24) & (minute < 60) & (second < 60) & (days >= 0)
    if "M" in given:
        good &= (month >= 1) & (month <= 12)
    if not good.any():
        return np.full(len(good), NO_TIME)
    lowest, highest = int(months[good].min()), int(months[good].max())
    starts = np.arange(lowest, highest + 2).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    index = np.clip(months - lowest, 0, highest - lowest)
    good &= days < np.diff(starts)[index]
    seconds = (starts[index] + days) * 86_400 + (hour * 3_600 + minute * 60 + second)
    return np.where(good, to_nanoseconds(seconds, 1_000_000_000), NO_TIME)

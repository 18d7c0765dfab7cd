"""Rows of delimited text files: columns as strings, with the number of every row and those that cannot be split."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from fx_pipeline.ingest.clock import NO_TIME
from fx_pipeline.market.errors import DataError

_ONLY_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True)
class TextRows:
    """Rows of a text file.

    Attributes
    ----------
    columns : dict of str to StringArray
        Trimmed cells, by column name.
    row : (N,) int64
        Line number of each row, from 1.
    broken : dict of int to str
        Lines that do not have the right number of cells, by line number.
    cut : bool
        Whether the file ends without a line end: a file that was cut short does.
    """

    columns: dict[str, pa.StringArray]
    row: npt.NDArray[np.int64]
    broken: dict[int, str]
    cut: bool

    def text(self, index: int) -> str:
        """Return a row's cells, joined, for messages and the quarantine."""
        return ",".join(str(column[index]) for column in self.columns.values())


def file_error(path: Path, error: OSError) -> DataError:
    """Return what to raise when the operating system does not give a file."""
    return DataError(f"{path} cannot be read ({error.strerror}): check the path.")


def read_text(path: Path) -> bytes:
    """Return a text file's bytes as UTF-8.

    Raises
    ------
    DataError
        If the file is missing, empty or not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(path, error) from error
    if not data.strip():
        raise DataError(f"{path} is empty: export or download it again.")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is UTF-16 text that is cut short: export or download it again.") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in data[:4096]:
        raise DataError(f"{path} is not a text file: check --format, or unpack it first.")
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode(errors="replace").encode()
    return data


def split_rows(path: Path, data: bytes, delimiter: str, names: Sequence[str], skip_lines: int = 0) -> TextRows:
    """Split text into rows of named cells.

    Parameters
    ----------
    path : Path
        For messages.
    data : bytes
        As of `read_text`.
    names : sequence of str
        Column names.
    skip_lines : int
        Lines at the top that are not data.

    Raises
    ------
    DataError
        If there is no row at all.
    """
    if data.count(b"\n") < skip_lines:
        raise DataError(f"{path} holds a header and no rows: export or download it again.")
    broken: dict[int, str] = {}
    blank: set[int] = set()

    def on_broken(row: csv.InvalidRow) -> str:
        if _ONLY_BLANKS.fullmatch(row.text):
            blank.add(row.number)
        else:
            broken[row.number] = row.text
        return "skip"

    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            # Row numbers are known to the handler only when one thread reads.
            read_options=csv.ReadOptions(column_names=list(names), skip_rows=skip_lines, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter=delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=on_broken
            ),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} has no rows that can be read ({error}): check --format.") from error
    skipped = np.array(sorted(blank | broken.keys()), dtype=np.int64)
    lines = np.arange(1 + skip_lines, 1 + skip_lines + len(table) + len(skipped), dtype=np.int64)
    columns = {name: pc.utf8_trim_whitespace(table[name].combine_chunks()) for name in names}
    return TextRows(columns, np.setdiff1d(lines, skipped), broken, not data.endswith((b"\n", b"\r")))


def to_floats(cells: pa.StringArray) -> npt.NDArray[np.float64]:
    """Return cells as numbers, NaN where a cell is not one."""
    try:
        return np.asarray(cells.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return pd.to_numeric(pd.Series(cells.to_pylist(), dtype=object), errors="coerce").to_numpy(np.float64)


def to_times(cells: pa.StringArray, form: str) -> npt.NDArray[np.int64]:
    """Return wall-clock nanoseconds of cells in a strptime form, `NO_TIME` where a cell has another."""
    parsed = pc.strptime(cells, format=form, unit="s", error_is_null=True)
    seconds = parsed.cast(pa.int64())
    known = np.asarray(pc.is_valid(seconds).to_numpy(zero_copy_only=False))
    return to_nanoseconds(np.where(known, np.asarray(pc.fill_null(seconds, 0).to_numpy()), NO_TIME), 1_000_000_000)


def to_nanoseconds(values: npt.NDArray[np.int64], unit_ns: int) -> npt.NDArray[np.int64]:
    """Return times in units of `unit_ns` as nanoseconds, `NO_TIME` where 64 bits do not hold them (year 2924)."""
    # A margin of days, so that no clock moves a time out of range later.
    limit = (2**63 - 2**50) // unit_ns
    inside = (values > -limit) & (values < limit)
    return np.where(inside, np.where(inside, values, 0) * unit_ns, NO_TIME)

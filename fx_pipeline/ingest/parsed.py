"""What a block of every file format is read into, before it is checked and completed to candles."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.quotes import unquoted
from fx_pipeline.ingest.text import Block, TextRows, split_rows, to_floats

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass
class Parsed:
    """Rows of one block of a file.

    Attributes
    ----------
    row : (N,) int64
        Number of each row in the block, from 1.
    local_ns : (N,) int64
        Wall-clock nanoseconds, `NO_TIME` where unreadable.
    prices : dict of str to (N,) float64
        By `bid_o` .. `ask_c`; a file with one side of unknown kind has `one_o` .. `one_c`. NaN where unreadable.
    volume : (N,) float64
        0 where the file has none.
    lines : int
        Row numbers that the block takes, those of blank and broken lines among them.
    unreadable : dict of int to str
        Reason, by index of the row, of rows whose time or volume cannot be read.
    texts : dict of int to str
        Cells, by index of the row, of rows with a cell that cannot be read.
    broken : dict of int to str
        Lines that cannot be split into cells, by row number.
    without_tick : (N,) bool or None
        Rows that the publisher filled in for minutes in which nothing was quoted.
    quotes_modelled : (N,) bool or None
        As the file itself says.
    at_weekends : int
        Rows at FX weekends that were taken out of the block.
    said : dict of str to dict of str to int
        What the rows say of themselves, by column (`Source.tags` tells of what): every value, and its first row.
    """

    row: Int64
    local_ns: Int64
    prices: dict[str, Float64]
    volume: Float64
    lines: int
    unreadable: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    without_tick: npt.NDArray[np.bool_] | None = None
    quotes_modelled: npt.NDArray[np.bool_] | None = None
    at_weekends: int = 0
    said: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An open file: its blocks, and how each is parsed.

    Attributes
    ----------
    clock : Clock
        The clock that the format has by itself.
    blocks : iterator
        In order. Each has `cut` and `done`, as `Block` has.
    parse : callable
        A block's rows; may run in any thread, for several blocks at once.
    first_row : int
        Number of the first row; what lies above is a header.
    zoned : bool
        Whether the times carry a zone themselves.
    instrument : str or None
        OANDA name of the instrument that the file itself says it holds.
    side : str or None
        The only price side that its columns or rows say it holds: bid, mid or ask.
    clock_why : str
        What says which clock the times are on, where the file does.
    clock_needed : str
        Why the file cannot be read unless its clock is given; empty if it can.
    tags : dict of str to str
        Of columns that say what the rows are: what they tell (instrument, side, timeframe), by column name.
    assumptions : tuple of str
        What was taken for granted in reading it, a sentence each, with the evidence.
    """

    clock: Clock
    blocks: Iterator[Any]
    parse: Callable[[Any], Parsed]
    first_row: int = 1
    zoned: bool = False
    instrument: str | None = None
    side: str | None = None
    clock_why: str = ""
    clock_needed: str = ""
    tags: dict[str, Any] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextForm:
    """How the cells of a text file's rows are read.

    Attributes
    ----------
    delimiter : str
    names : tuple of str
        Column names, in order.
    times : callable
        Wall-clock nanoseconds of the columns, `NO_TIME` where unreadable.
    prices : dict of str to str
        Column name, by price name.
    volume : str or None
        Column name of the volume.
    decimal : str
        The mark before decimals.
    tags : tuple of str
        Columns that say what the rows are.
    """

    delimiter: str
    names: tuple[str, ...]
    times: Callable[[Mapping[str, pa.Array]], Int64]
    prices: dict[str, str]
    volume: str | None
    decimal: str = "."
    tags: tuple[str, ...] = ()

    def parse(self, block: Block) -> Parsed:
        """Read a block of text."""
        data, delimiter = unquoted(block.data, self.delimiter) if b'"' in block.data else (block.data, self.delimiter)
        numbers = [*self.prices.values(), *([self.volume] if self.volume else [])]
        rows = split_rows(data, delimiter, self.names, numbers, self.decimal)
        if rows is not None:
            parsed = self._parsed(rows)
            if not parsed.unreadable and not any(np.isnan(array).any() for array in parsed.prices.values()):
                return parsed if not parsed.broken else self._shown(block, parsed)
        # Something is wrong in the block: cells as they stand, for the quarantine to show.
        rows = split_rows(data, delimiter, self.names)
        assert rows is not None
        return self._shown(block, self._parsed(rows))

    def _shown(self, block: Block, parsed: Parsed) -> Parsed:
        # With the lines, as they stand in the file, of what cannot be read.
        lines = block.data.splitlines()
        odd = np.any([np.isnan(array) for array in parsed.prices.values()], axis=0)
        for index in {*parsed.unreadable, *np.flatnonzero(odd).tolist()}:
            parsed.texts[index] = lines[parsed.row[index] - 1].decode().strip()
        parsed.broken = {line: lines[line - 1].decode().strip() for line in parsed.broken}
        return parsed

    def _parsed(self, rows: TextRows) -> Parsed:
        local_ns = self.times(rows.columns)
        prices = {name: to_floats(rows.columns[column], self.decimal) for name, column in self.prices.items()}
        volume = np.zeros(len(local_ns))
        if self.volume:
            volume = to_floats(rows.columns[self.volume], self.decimal, grouped=r"\.\d+|")
        said = {column: first_rows(rows.columns[column], rows.row) for column in self.tags}
        parsed = Parsed(rows.row, local_ns, prices, volume, rows.lines, broken=rows.broken, said=said)
        parsed.unreadable = unreadable_rows(parsed)
        return parsed


def first_rows(cells: pa.Array, row: Int64) -> dict[str, int]:
    """Return every value of a column, trimmed, and the number of the first row that has it."""
    found: dict[str, int] = {}
    encoded = cells.dictionary_encode()
    values, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
    for value, first in zip(values, np.unique(codes, return_index=True)[1].tolist(), strict=True):
        found.setdefault("" if value is None else str(value).strip(), int(row[first]))
    return found


def unreadable_rows(parsed: Parsed) -> dict[int, str]:
    """Return the reason, by index, for rows without a readable time or volume."""
    no_time = parsed.local_ns == NO_TIME
    no_volume = ~np.isfinite(parsed.volume)
    reasons = {int(index): "time cannot be read" for index in np.flatnonzero(no_time)}
    return reasons | {int(index): "volume cannot be read" for index in np.flatnonzero(no_volume & ~no_time)}


def unreadable_cells(parsed: Parsed) -> dict[int, tuple[str, str]]:
    """Return what stands there, and why it cannot be read, by row number of the block."""
    found = {row: (text, "wrong number of cells") for row, text in parsed.broken.items()}
    for name, array in parsed.prices.items():
        if name.endswith("_o"):
            odd = np.flatnonzero(np.isnan(array)).tolist()
            reason = "a price is not a number"
            found |= {int(parsed.row[index]): (parsed.texts.get(index, ""), reason) for index in odd}
    for index, reason in parsed.unreadable.items():
        found[int(parsed.row[index])] = (parsed.texts.get(index, ""), reason)
    return found

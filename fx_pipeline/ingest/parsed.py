"""What a block of every file format is read into, before it is checked and completed to candles."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.clock import NO_TIME, Clock
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
        The price side that the file itself, or its name, says it holds: bid, mid or ask.
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
    """

    delimiter: str
    names: tuple[str, ...]
    times: Callable[[Mapping[str, pa.Array]], Int64]
    prices: dict[str, str]
    volume: str | None

    def parse(self, block: Block) -> Parsed:
        """Read a block of text."""
        numbers = [*self.prices.values(), *([self.volume] if self.volume else [])]
        rows = split_rows(block.data, self.delimiter, self.names, numbers)
        if rows is not None:
            parsed = self._parsed(rows)
            if not parsed.unreadable and not any(np.isnan(array).any() for array in parsed.prices.values()):
                return parsed
        # Something is wrong in the block: cells as they stand, for the quarantine to show.
        rows = split_rows(block.data, self.delimiter, self.names)
        assert rows is not None
        parsed = self._parsed(rows)
        odd = np.any([np.isnan(array) for array in parsed.prices.values()], axis=0)
        parsed.texts = {index: rows.text(index) for index in {*parsed.unreadable, *np.flatnonzero(odd).tolist()}}
        return parsed

    def _parsed(self, rows: TextRows) -> Parsed:
        local_ns = self.times(rows.columns)
        prices = {name: to_floats(rows.columns[column]) for name, column in self.prices.items()}
        volume = to_floats(rows.columns[self.volume]) if self.volume else np.zeros(len(local_ns))
        parsed = Parsed(rows.row, local_ns, prices, volume, rows.lines, broken=rows.broken)
        parsed.unreadable = unreadable_rows(parsed)
        return parsed


def unreadable_rows(parsed: Parsed) -> dict[int, str]:
    """Return the reason, by index, for rows without a readable time or volume."""
    no_time = parsed.local_ns == NO_TIME
    no_volume = ~np.isfinite(parsed.volume)
    reasons = {int(index): "time cannot be read" for index in np.flatnonzero(no_time)}
    return reasons | {int(index): "volume cannot be read" for index in np.flatnonzero(no_volume & ~no_time)}


def unreadable_cells(parsed: Parsed) -> dict[int, str]:
    """Return what stands there, by row number of the block, in rows that cannot be split or have an unreadable cell."""
    found = dict(parsed.broken)
    for name, array in parsed.prices.items():
        if name.endswith("_o"):
            odd = np.flatnonzero(np.isnan(array)).tolist()
            found |= {int(parsed.row[index]): parsed.texts.get(index, "a price is not a number") for index in odd}
    for index, reason in parsed.unreadable.items():
        found[int(parsed.row[index])] = parsed.texts.get(index, reason)
    return found

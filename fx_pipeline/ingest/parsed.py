"""What every file format is read into, before it is checked and completed to candles."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.clock import Clock
from fx_pipeline.ingest.text import TextRows, to_floats


@dataclass
class Parsed:
    """Rows of one file.

    Attributes
    ----------
    row : (N,) int64
        Number of each row in the file, from 1.
    local_ns : (N,) int64
        Wall-clock nanoseconds, `NO_TIME` where unreadable.
    prices : dict of str to (N,) float64
        By `bid_o` .. `ask_c`; a file with one side of unknown kind has `one_o` .. `one_c`. NaN where unreadable.
    volume : (N,) float64
        0 where the file has none.
    clock : Clock
        The clock that the format has by itself.
    unreadable : dict of int to str
        Reason, by index of the row, of rows whose cells cannot be read.
    texts : dict of int to str
        The rows' text, by index, for those.
    broken : dict of int to str
        Text of lines that could not even be split into cells, by line number.
    cut : bool
        Whether the file ends in the middle of a line.
    without_tick : (N,) bool
        Rows that the publisher filled in for minutes in which nothing was quoted.
    quotes_modelled : (N,) bool or None
        As the file itself says.
    """

    row: npt.NDArray[np.int64]
    local_ns: npt.NDArray[np.int64]
    prices: dict[str, npt.NDArray[np.float64]]
    volume: npt.NDArray[np.float64]
    clock: Clock
    unreadable: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    cut: bool = False
    without_tick: npt.NDArray[np.bool_] | None = None
    quotes_modelled: npt.NDArray[np.bool_] | None = None


def parsed_text(
    rows: TextRows, local_ns: npt.NDArray[np.int64], cells: dict[str, str], volume: str | None, clock: Clock
) -> Parsed:
    """Build `Parsed` from text rows.

    Parameters
    ----------
    local_ns : (N,) int64
        The rows' times.
    cells : dict of str to str
        Column name in the file, by price name.
    volume : str or None
        Column name of the volume.
    """
    prices = {name: to_floats(rows.columns[column]) for name, column in cells.items()}
    ticks = to_floats(rows.columns[volume]) if volume else np.zeros(len(local_ns))
    parsed = Parsed(rows.row, local_ns, prices, ticks, clock, broken=rows.broken, cut=rows.cut)
    parsed.unreadable = unreadable_rows(parsed)
    parsed.texts = {index: rows.text(index) for index in parsed.unreadable}
    return parsed


def unreadable_rows(parsed: Parsed) -> dict[int, str]:
    """Return the reason, by index, for rows without a readable time or volume."""
    no_time = parsed.local_ns == np.iinfo(np.int64).min
    no_volume = ~np.isfinite(parsed.volume)
    reasons = {int(index): "time cannot be read" for index in np.flatnonzero(no_time)}
    return reasons | {int(index): "volume cannot be read" for index in np.flatnonzero(no_volume & ~no_time)}

"""MetaTrader CSV: `2016.04.22,19:53,open,high,low,close,volume` (4), or `<DATE>` .. `<SPREAD>` between tabs (5).

With a header the columns are what it names, and without one those of MetaTrader.

The times are on the broker's clock, which the file does not name: the user must.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.columns import is_header, plain_names
from fx_pipeline.ingest.header import first_line
from fx_pipeline.ingest.named import open_csv
from fx_pipeline.ingest.parsed import Source, TextForm
from fx_pipeline.ingest.quotes import split_cells, usual_delimiter
from fx_pipeline.ingest.text import read_blocks, read_times

EXPECTED = "2016.04.22,19:53,160.532,160.536,160.512,160.516,115"
_NAMES = ("date", "clock", "open", "high", "low", "close", "volume")
_NAMES_5 = (*_NAMES, "real_volume", "spread")


def open_file(path: Path) -> Source:
    """Open a MetaTrader 4 or 5 M1 export; the clock is left at UTC for the caller to replace.

    Raises
    ------
    DataError
        If there is a header and nothing else.
    """
    first, blocks = first_line(path, read_blocks(path))
    delimiter = first.delimiter or usual_delimiter(first.text)
    cells = split_cells(first.text, delimiter)
    if is_header(plain_names(cells)):
        return open_csv(path)
    form = TextForm(
        delimiter=delimiter,
        names=_NAMES_5 if len(cells) == len(_NAMES_5) else _NAMES,
        times=_times,
        prices={f"one_{name[0]}": name for name in _NAMES[2:6]},
        volume="volume",
    )
    return Source(UTC, blocks, form.parse, first_row=first.row)


def _times(columns: Mapping[str, pa.Array]) -> npt.NDArray[np.int64]:
    days = read_times(columns["date"], "YYYY.MM.DD")
    clocks = read_times(columns["clock"], "hh:mm", "hh:mm:ss", "h:mm", "h:mm:ss")
    known = (days != NO_TIME) & (clocks != NO_TIME)
    return np.where(known, np.where(known, days, 0) + clocks, NO_TIME)

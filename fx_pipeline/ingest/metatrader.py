"""MetaTrader CSV: `2016.04.22,19:53,open,high,low,close,volume` (4), or `<DATE>` .. `<SPREAD>` between tabs (5).

The times are on the broker's clock, which the file does not name: the user must.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.header import first_line, skip_line
from fx_pipeline.ingest.parsed import Source, TextForm
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
    first, blocks = first_line(read_blocks(path))
    header = first.lower().startswith(("<date>", "date"))
    delimiter = "\t" if "\t" in first else ","
    form = TextForm(
        delimiter=delimiter,
        names=_NAMES_5 if first.count(delimiter) + 1 == len(_NAMES_5) else _NAMES,
        times=_times,
        prices={f"one_{name[0]}": name for name in _NAMES[2:6]},
        volume="volume",
    )
    return Source(UTC, skip_line(path, blocks) if header else blocks, form.parse, first_row=2 if header else 1)


def _times(columns: Mapping[str, pa.Array]) -> npt.NDArray[np.int64]:
    days = read_times(columns["date"], "YYYY.MM.DD")
    clocks = read_times(columns["clock"], "hh:mm", "hh:mm:ss", "h:mm", "h:mm:ss")
    known = (days != NO_TIME) & (clocks != NO_TIME)
    return np.where(known, np.where(known, days, 0) + clocks, NO_TIME)

"""MetaTrader CSV: `2016.04.22,19:53,open,high,low,close,volume` (4), or `<DATE>` .. `<SPREAD>` between tabs (5).

The times are on the broker's clock, which the file does not name: the user must.
"""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.parsed import Parsed, parsed_text
from fx_pipeline.ingest.text import read_text, split_rows, to_times

EXPECTED = "2016.04.22,19:53,160.532,160.536,160.512,160.516,115"
_NAMES = ("date", "clock", "open", "high", "low", "close", "volume")
_NAMES_5 = (*_NAMES, "real_volume", "spread")


def read(path: Path) -> Parsed:
    """Read a MetaTrader 4 or 5 M1 export; the clock is left at UTC for the caller to replace."""
    data = read_text(path)
    header = data.startswith(b"<DATE>")
    first = data.split(b"\n", 1)[0]
    delimiter = "\t" if b"\t" in first else ","
    names = _NAMES_5 if first.count(delimiter.encode()) + 1 == len(_NAMES_5) else _NAMES
    rows = split_rows(path, data, delimiter, names, int(header))
    moments = pc.binary_join_element_wise(rows.columns["date"], rows.columns["clock"], " ")
    minutes, seconds = (to_times(moments, form) for form in ("%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S"))
    times = np.where(minutes == NO_TIME, seconds, minutes)
    return parsed_text(rows, times, {f"one_{name[0]}": name for name in _NAMES[2:6]}, "volume", UTC)

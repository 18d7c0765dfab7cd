"""MetaTrader CSV: `2016.04.22,19:53,open,high,low,close,volume` (4), or tab-separated with a `<DATE>` header (5).

The times are on the broker's clock, which the file does not name: the user must.
"""

from pathlib import Path

import pyarrow.compute as pc

from fx_pipeline.ingest.clock import UTC
from fx_pipeline.ingest.parsed import Parsed, parsed_text
from fx_pipeline.ingest.text import read_text, split_rows, to_times

EXPECTED = "2016.04.22,19:53,160.532,160.536,160.512,160.516,115"
_NAMES = ("date", "clock", "open", "high", "low", "close", "volume")
_NAMES_5 = (*_NAMES, "real_volume", "spread")


def read(path: Path) -> Parsed:
    """Read a MetaTrader 4 or 5 M1 export; the clock is left at UTC for the caller to replace."""
    data = read_text(path)
    fifth = data.startswith(b"<DATE>")
    rows = split_rows(path, data, "\t" if fifth else ",", _NAMES_5 if fifth else _NAMES, int(fifth))
    moments = pc.binary_join_element_wise(rows.columns["date"], rows.columns["clock"], " ")
    times = to_times(moments, "%Y.%m.%d %H:%M:%S" if fifth else "%Y.%m.%d %H:%M")
    return parsed_text(rows, times, {f"one_{name[0]}": name for name in _NAMES[2:6]}, "volume", UTC)

"""HistData ASCII M1: `20170102 020000;open;high;low;close;volume`.

The times are New York local time WITH daylight saving, although the publisher's documentation says "EST without":
under that reading the Friday close would move by an hour every summer, and it does not. Prices are bids.
"""

from pathlib import Path

from fx_pipeline.ingest.clock import NEW_YORK
from fx_pipeline.ingest.parsed import Parsed, parsed_text
from fx_pipeline.ingest.text import read_text, split_rows, to_times

EXPECTED = "20170102 020000;1.05155;1.05197;1.05155;1.05190;0"
_NAMES = ("time", "open", "high", "low", "close", "volume")


def read(path: Path) -> Parsed:
    """Read a HistData ASCII M1 file."""
    rows = split_rows(path, read_text(path), ";", _NAMES)
    times = to_times(rows.columns["time"], "%Y%m%d %H%M%S")
    return parsed_text(rows, times, {f"one_{name[0]}": name for name in _NAMES[1:5]}, "volume", NEW_YORK)

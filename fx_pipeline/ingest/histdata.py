"""HistData ASCII M1: `20170102 020000;open;high;low;close;volume`.

The times are New York local time WITH daylight saving, although the publisher's documentation says "EST without":
under that reading the Friday close would move by an hour every summer, and it does not. Prices are bids.
"""

from pathlib import Path

import numpy as np

from fx_pipeline.ingest.clock import NEW_YORK
from fx_pipeline.ingest.header import first_line
from fx_pipeline.ingest.lines import read_lines
from fx_pipeline.ingest.parsed import Parsed, Source, TextForm
from fx_pipeline.ingest.text import Block, read_blocks, read_times

EXPECTED = "20170102 020000;1.05155;1.05197;1.05155;1.05190;0"
_NAMES = ("time", "open", "high", "low", "close", "volume")
_FORM = TextForm(
    delimiter=";",
    names=_NAMES,
    times=lambda columns: read_times(columns["time"], "YYYYMMDD hhmmss"),
    prices={f"one_{name[0]}": name for name in _NAMES[1:5]},
    volume="volume",
)


def open_file(path: Path) -> Source:
    """Open a HistData ASCII M1 file."""
    first, blocks = first_line(path, read_blocks(path))
    return Source(NEW_YORK, blocks, _parse, first_row=first.row)


def _parse(block: Block) -> Parsed:
    found = read_lines(block.data)
    if found is None:
        return _FORM.parse(block)
    local_ns, prices, volume = found
    rows = len(local_ns)
    return Parsed(np.arange(1, rows + 1), local_ns, dict(zip(_FORM.prices, prices, strict=True)), volume, rows)

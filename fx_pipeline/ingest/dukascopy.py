"""Dukascopy CSV: `Gmt time,Open,High,Low,Close,Volume`, times like `22.04.2016 16:53:00.000`, one price side.

The publisher fills minutes without a tick with flat bars of volume 0; they are no candles and are left out.
"""

import re
from pathlib import Path

import numpy as np

from fx_pipeline.ingest.clock import UTC
from fx_pipeline.ingest.header import first_line, skip_line
from fx_pipeline.ingest.parsed import Parsed, Source, TextForm
from fx_pipeline.ingest.text import Block, read_blocks, read_times
from fx_pipeline.market.errors import DataError

EXPECTED = "22.04.2016 16:53:00.000,160.532,160.536,160.512,160.516,115.3"
_TIME = re.compile(r"\d\d\.\d\d\.\d{4} ")
_NAMES = ("time", "open", "high", "low", "close", "volume")
_FORM = TextForm(
    delimiter=",",
    names=_NAMES,
    times=lambda columns: read_times(columns["time"], "DD.MM.YYYY hh:mm:ss.000", "DD.MM.YYYY hh:mm:ss"),
    prices={f"one_{name[0]}": name for name in _NAMES[1:5]},
    volume="volume",
)


def open_file(path: Path) -> Source:
    """Open a Dukascopy M1 export, with its header or without.

    Raises
    ------
    DataError
        If the header is not that of an export in GMT, or there is nothing else.
    """
    header, blocks = first_line(read_blocks(path))
    if _TIME.match(header):
        return Source(UTC, blocks, _parse)
    names = [name.strip().lower() for name in header.split(",")]
    if names != ["gmt time", *_NAMES[1:]]:
        hint = " Export it again with GMT times." if names[0] == "local time" else ""
        raise DataError(f"{path}, row 1: the columns are {header!r}, not 'Gmt time,Open,High,Low,Close,Volume'.{hint}")
    return Source(UTC, skip_line(path, blocks), _parse, first_row=2)


def _parse(block: Block) -> Parsed:
    parsed = _FORM.parse(block)
    flat = parsed.prices["one_h"] == parsed.prices["one_l"]
    parsed.without_tick = flat & (parsed.volume == 0)
    # The volume is in millions of units: a quiet minute with a tick must not round to none.
    parsed.volume = np.ceil(parsed.volume)
    return parsed

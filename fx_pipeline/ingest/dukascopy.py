"""Dukascopy CSV: `Gmt time,Open,High,Low,Close,Volume`, times like `22.04.2016 16:53:00.000`, one price side.

The publisher fills minutes without a tick with flat bars of volume 0; they are no candles and are left out.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fx_pipeline.ingest.clock import NO_TIME, UTC
from fx_pipeline.ingest.parsed import Parsed, parsed_text
from fx_pipeline.ingest.text import read_text, split_rows, to_times
from fx_pipeline.market.errors import DataError

EXPECTED = "22.04.2016 16:53:00.000,160.532,160.536,160.512,160.516,115.3"
_TIME = re.compile(r"\d\d\.\d\d\.\d{4} ")
_NAMES = ("time", "open", "high", "low", "close", "volume")


def read(path: Path) -> Parsed:
    """Read a Dukascopy M1 export, with its header or without.

    Raises
    ------
    DataError
        If the header is not that of an export in GMT.
    """
    data = read_text(path)
    header = data.split(b"\n", 1)[0].decode().strip()
    names = [name.strip().lower() for name in header.split(",")]
    headless = _TIME.match(header) is not None
    if not headless and names != ["gmt time", *_NAMES[1:]]:
        hint = " Export it again with GMT times." if names[0] == "local time" else ""
        raise DataError(f"{path}, row 1: the columns are {header!r}, not 'Gmt time,Open,High,Low,Close,Volume'.{hint}")
    rows = split_rows(path, data, ",", _NAMES, skip_lines=0 if headless else 1)
    cells = rows.columns["time"]
    seconds, rest = pc.utf8_slice_codeunits(cells, 0, 19), pc.utf8_slice_codeunits(cells, 19)
    whole = pc.is_in(rest, value_set=pa.array(["", ".000"])).to_numpy(zero_copy_only=False)
    times = np.where(whole, to_times(seconds, "%d.%m.%Y %H:%M:%S"), NO_TIME)
    parsed = parsed_text(rows, times, {f"one_{name[0]}": name for name in _NAMES[1:5]}, "volume", UTC)
    flat = parsed.prices["one_h"] == parsed.prices["one_l"]
    parsed.without_tick = flat & (parsed.volume == 0)
    # The volume is in millions of units: a quiet minute with a tick must not round to none.
    parsed.volume = np.ceil(parsed.volume)
    return parsed

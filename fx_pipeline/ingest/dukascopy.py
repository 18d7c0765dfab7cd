"""Dukascopy CSV: `Gmt time,Open,High,Low,Close,Volume`, times like `22.04.2016 16:53:00.000`, one price side.

With `Local time` each row names its offset, and JForex writes `Time (EET)` and the year first.

The publisher fills minutes without a tick with flat bars of volume 0; they are no candles and are left out.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from fx_pipeline.ingest.clock import UTC
from fx_pipeline.ingest.columns import is_header, plain_names
from fx_pipeline.ingest.container import EmptyFileError
from fx_pipeline.ingest.header import first_line
from fx_pipeline.ingest.named import open_csv
from fx_pipeline.ingest.parsed import Parsed, Source, TextForm
from fx_pipeline.ingest.quotes import split_cells, usual_delimiter
from fx_pipeline.ingest.text import read_blocks, read_times
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
        If the columns are not those of an export, or there is nothing else than a header.
    """
    first, blocks = first_line(path, read_blocks(path))
    if _TIME.match(first.text):
        return Source(UTC, blocks, lambda block: _quoted_volume(_FORM.parse(block)), first_row=first.row)
    names = plain_names(split_cells(first.text, first.delimiter or usual_delimiter(first.text)))
    if names[1:] != list(_NAMES[1:]) or not is_header(names[:1]):
        raise DataError(
            f"{path}, row {first.row}: the columns are {first.text!r}, not 'Gmt time,Open,High,Low,Close,Volume'."
        )
    try:
        source = open_csv(path)
    except EmptyFileError as error:
        raise EmptyFileError(
            f"{path} holds a header and no rows: export or download it again, with GMT times."
        ) from error
    return replace(source, parse=lambda block: _quoted_volume(source.parse(block)))


def _quoted_volume(parsed: Parsed) -> Parsed:
    flat = parsed.prices["one_h"] == parsed.prices["one_l"]
    parsed.without_tick = flat & (parsed.volume == 0)
    # The volume is in millions of units: a quiet minute with a tick must not round to none.
    parsed.volume = np.ceil(parsed.volume)
    return parsed

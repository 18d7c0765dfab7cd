"""The file of a month of the lake, as every room reads it: candles of an instrument, sorted and unique on time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from fx_pipeline.market.candles import CANDLE_SCHEMA
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.files import decode_table
from fx_pipeline.market.timeframe import TIMEFRAMES


def read_lake_month(path: Path, columns: Sequence[str] = tuple(CANDLE_SCHEMA.names)) -> pa.Table:
    """Return columns of a month of the lake, `{timeframe}/{instrument}/{month}.parquet`.

    Raises
    ------
    DataError
        If the file cannot be read, has no bar, or its times do not rise.
    """
    return decode_lake_month(read_stored(path, rebuild(path)), path, columns)


def decode_lake_month(data: bytes, path: Path, columns: Sequence[str] = tuple(CANDLE_SCHEMA.names)) -> pa.Table:
    """Return columns of a month of the lake from the bytes of its file; errors as of `read_lake_month`."""
    wanted = pa.schema([CANDLE_SCHEMA.field(name) for name in dict.fromkeys(("time", *columns))])
    table = decode_table(data, path, wanted, rebuild(path))
    if not len(table):
        raise DataError(f"{path} is damaged (it has no bar): {rebuild(path)}")
    if np.any(np.diff(table["time"].cast(pa.int64()).to_numpy()) <= 0):
        raise DataError(f"{path} is damaged (its times do not rise): {rebuild(path)}")
    return table.select(list(columns))


def rebuild(path: Path) -> str:
    """Say how a month of the lake is made again."""
    below = [part.name for part in path.parents][:3]
    asset = next((f"{name}_candles" for name in below if name.upper() in TIMEFRAMES), "m1_candles")
    return f"materialise {asset} of {path.parent.name} {path.stem} again; raw pages are kept, no network is needed."

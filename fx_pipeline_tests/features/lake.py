"""Months of a lake of made-up candles of any timeframe."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.table import Month
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS
from fx_pipeline.market.months import month_of
from fx_pipeline.market.timeframe import Timeframe
from fx_pipeline_tests.features.markets import made_up_bars


def candle_table(bars: Bars) -> pa.Table:
    """The bars as candles, quoted as far apart at all times of a bar as at its close."""
    half = bars.ask_close - bars.close
    columns: dict[str, pa.Array] = {"time": pa.array(bars.time, pa.timestamp("ns", tz="UTC"))}
    prices = {"o": bars.open, "h": bars.high, "l": bars.low, "c": bars.close}
    for name in PRICE_COLUMNS:
        columns[name] = pa.array(prices[name[-1]] + {"bid": -half, "mid": 0.0 * half, "ask": half}[name[:3]])
    columns["volume"] = pa.array(np.ones(len(bars), np.int64))
    columns["quotes_modelled"] = pa.array([True] * len(bars))
    columns["source"] = pa.array(["imported"] * len(bars))
    return pa.table(columns, schema=CANDLE_SCHEMA)


def write_lake(folder: Path, timeframe: Timeframe, count: int, seed: int = 0) -> list[Month]:
    """Write `count` bars by month."""
    table = candle_table(made_up_bars(timeframe, count, seed))
    keys = np.array([month_of(time) for time in table["time"].cast(pa.int64()).to_pylist()])
    months = []
    for key in sorted(set(keys.tolist())):
        path = folder / f"{timeframe.slug}-{key}.parquet"
        pq.write_table(table.filter(pa.array(keys == key)), path)
        months.append(Month(key, path, hashlib.sha256(path.read_bytes()).hexdigest(), "imported"))
    return months

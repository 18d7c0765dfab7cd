"""Made-up candles for tests of what a file is: a seeded walk over open minutes, as a frame or as a CSV file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, week_minutes

FIELDS = ["open", "high", "low", "close"]


def ns(text: str) -> int:
    return pd.Timestamp(text, tz="UTC").as_unit("ns").value


def fx_minutes(start: str, end: str) -> np.ndarray:
    """Open minutes of currency pairs."""
    return open_minutes(ns(start), ns(end))


def metal_minutes(start: str, end: str) -> np.ndarray:
    """Open minutes of metals: from 18:00 to 17:00 New York."""
    times = fx_minutes(start, end)
    return times[week_minutes(times) % 1_440 >= 60]


def walk(times: np.ndarray, price: float = 1.1, step: float = 5e-5, decimals: int = 5, seed: int = 1) -> pd.DataFrame:
    """Bars that move at every minute."""
    generator = np.random.default_rng(seed)
    close = price + np.cumsum(generator.normal(0, step, len(times)))
    open_ = np.append(price, close[:-1]) + generator.normal(0, step / 4, len(times))
    reach = np.abs(generator.normal(0, step / 2, (2, len(times)))) + 10.0**-decimals
    frame = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(times.astype("datetime64[ns]"), tz="UTC"),
            "open": open_,
            "high": np.maximum(open_, close) + reach[0],
            "low": np.minimum(open_, close) - reach[1],
            "close": close,
        }
    )
    frame[FIELDS] = frame[FIELDS].round(decimals)
    return frame.assign(volume=generator.integers(5, 90, len(times)))


def fill(frame: pd.DataFrame, wanted: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    """Bars with the minutes between them that are `wanted` filled in as exporters do: flat, the close before, 0."""
    times = frame["time"].to_numpy("datetime64[ns]").astype(np.int64)
    minutes = np.arange(times[0], times[-1] + 1, MINUTE_NS)
    minutes = minutes[wanted(minutes) | np.isin(minutes, times)]
    index = pd.DatetimeIndex(minutes.astype("datetime64[ns]"), tz="UTC")
    filled = frame.set_index("time").reindex(index)
    last = filled["close"].ffill()
    for name in FIELDS:
        filled[name] = filled[name].fillna(last)
    return filled.assign(volume=filled["volume"].fillna(0).astype(int)).rename_axis("time").reset_index()


def write_csv(frame: pd.DataFrame, path: Path, later: str = "0min") -> Path:
    """Write a frame with naive UTC times, all of them moved by so much."""
    times = (frame["time"] + pd.Timedelta(later)).dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.assign(time=times).to_csv(path, index=False)
    return path

"""Made-up bars for the proofs that every feature set has to pass."""

import numpy as np

from fx_pipeline.features.feature_set import Bars
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes
from fx_pipeline.market.timeframe import Timeframe

START = int(np.datetime64("2020-01-05T22:00", "ns").astype(np.int64))


def made_up_bars(timeframe: Timeframe, count: int, seed: int = 0) -> Bars:
    """Bars of the trading week with missing ones, flat stretches, wide candles, and a spread at most times."""
    rng = np.random.default_rng([seed, timeframe.minutes])
    # Days begin at 17:00 New York: minutes of the trading week are counted from there, for every timeframe.
    weeks = 2 + count * timeframe.minutes // 7_000
    minutes = open_minutes(START, START + weeks * 10_080 * MINUTE_NS)
    time = minutes[:: timeframe.minutes]
    time = time[rng.random(len(time)) < 0.98][:count]
    assert len(time) == count
    change = np.where(rng.random(count) < 0.2, 0.0, rng.normal(0.0, 0.03, count))
    flat = slice(count // 3, count // 3 + 80)
    change[flat] = 0.0
    close = np.round(187.0 + np.cumsum(change), 3)
    open_ = np.round(np.concatenate(([close[0]], close[:-1])) + rng.normal(0.0, 0.005, count), 3)
    high = np.maximum(open_, close) + np.round(rng.exponential(0.01, count), 3)
    low = np.minimum(open_, close) - np.round(rng.exponential(0.01, count), 3)
    half = np.where(rng.random(count) < 0.1, 0.0, np.round(rng.exponential(0.01, count), 3))
    return Bars("GBP_JPY", timeframe, 0.01, time, open_, high, low, close, close - half, close + half)


def upside_down(bars: Bars, axis: float = 374.0) -> Bars:
    """The bars as they would have been, had every price moved the other way."""
    return Bars(
        bars.instrument,
        bars.timeframe,
        bars.unit,
        bars.time,
        axis - bars.open,
        axis - bars.low,
        axis - bars.high,
        axis - bars.close,
        axis - bars.ask_close,
        axis - bars.bid_close,
    )

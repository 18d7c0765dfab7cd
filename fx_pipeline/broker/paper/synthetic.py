"""A synthetic market, for an instrument of which nothing is imported. It is labelled as such wherever it goes.

The price is a pure function of (instrument, minute, seed), computed a trading week at a time: the log price at week
boundaries is a slow autoregression of hashed innovations; inside the week it is a Brownian bridge between them with
an intraday shape of volatility, plus a mild mean-reverting component. Any range gives the same bars in any order.
"""

import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.signal import lfilter

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    TRADING_WEEK_MINUTES,
    trading_day_start,
    trading_week,
)
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.levels import typical_price
from fx_pipeline.market.spreads import modelled_spread_pips

#: The default span, [start, end): two and a half months, with the spring change of New York's clocks inside it.
SPAN_NS = (
    int(np.datetime64("2024-01-01", "ns").astype(np.int64)),
    int(np.datetime64("2024-03-16", "ns").astype(np.int64)),
)
SEED = 1
#: Changes whenever the same arguments would give other bars.
REVISION = "synthetic-3"

_MINUTE_SIGMA = 1.0e-4
# Volatility by hours since 17:00 New York: quiet after the rollover, Tokyo, then London and New York.
_HOURLY_SHAPE = np.array(
    [
        *(0.35, 0.4, 0.6, 0.8, 0.8, 0.75, 0.65, 0.6, 0.65, 0.9, 1.3, 1.35),
        *(1.2, 1.1, 1.05, 1.25, 1.5, 1.5, 1.35, 1.1, 0.9, 0.75, 0.6, 0.45),
    ]
)
_WEEKLY_SIGMA, _WEEKLY_PHI, _WEEKS_REMEMBERED = 0.008, 0.9, 64
_REVERTING_SIGMA, _REVERTING_PHI = 2.5e-4, 0.97
_MISSING, _MISSING_IN_ROLLOVER_HOUR = 0.009, 0.12


def synthetic_candles(
    name: str, start_ns: int, end_ns: int, seed: int = SEED, span_ns: tuple[int, int] = SPAN_NS
) -> pa.Table:
    """Return the synthetic market's candles that open in [start, end) and in the span.

    Returns
    -------
    Table
        `CANDLE_SCHEMA`; `source` is "synthetic" and `quotes_modelled` true. Prices have display precision.
    """
    return synthetic_bars(name, start_ns, end_ns, seed, span_ns).table("synthetic")


def synthetic_bars(name: str, start_ns: int, end_ns: int, seed: int = SEED, span_ns: tuple[int, int] = SPAN_NS) -> Bars:
    """Return the same as `synthetic_candles`, as arrays."""
    start_ns, end_ns = max(start_ns, span_ns[0]), min(end_ns, span_ns[1])
    if end_ns <= start_ns:
        return Bars.empty()
    first, last = trading_week([start_ns, end_ns - 1]).tolist()
    weeks = [synthetic_week(name, week, seed).between(start_ns, end_ns) for week in range(first, last + 1)]
    return Bars.concatenate(weeks)


@lru_cache(maxsize=64)
def synthetic_week(name: str, week: int, seed: int = SEED) -> Bars:
    """Return all bars of one trading week (numbered as by `trading_week`), in minutes of the instrument's calendar."""
    pair, calendar = find_instrument(name), instrument_calendar(name)
    start = trading_day_start(7 * week - 3)
    # With a weekend the clocks may change in it.
    count = (trading_day_start(7 * week + 4) - start) // MINUTE_NS if calendar.weekends else TRADING_WEEK_MINUTES
    minute = np.arange(count, dtype=np.int64)
    time = start + MINUTE_NS * minute
    draw = _generator(name, seed, week, stream=1)
    sigma = _MINUTE_SIGMA * _HOURLY_SHAPE[minute // 60 % 24]
    # Days differ in how lively they are.
    days = np.exp(0.25 * draw.standard_normal(-(-count // DAY_MINUTES)))
    sigma = sigma * days[minute // DAY_MINUTES]
    boundaries = typical_price(name) * np.exp(_mid_path(name, seed, week, sigma, draw))
    opens, closes = boundaries[:-1], boundaries[1:]
    # Extremes of a Brownian bridge between the open and the close, inverted from their distribution.
    reach = -2.0 * (sigma * opens) ** 2 * np.log(1.0 - draw.random((2, count)))
    move = (closes - opens) ** 2
    high = (opens + closes + np.sqrt(move + reach[0])) / 2
    low = (opens + closes - np.sqrt(move + reach[1])) / 2
    mid = np.stack([opens, high, low, closes], axis=1)
    half_spread = modelled_spread_pips(name, time, opens)[:, None] * pair.pip / 2
    prices = np.round(np.concatenate([mid - half_spread, mid, mid + half_spread], axis=1), pair.display_precision)
    volume = np.maximum(draw.poisson(40.0 * sigma / _MINUTE_SIGMA), 1).astype(np.int64)
    in_rollover_hour = minute % DAY_MINUTES < 60
    missing = draw.random(count) < np.where(in_rollover_hour, _MISSING_IN_ROLLOVER_HOUR, _MISSING)
    # The draws are for every minute of the week: a week is the same whatever the calendar leaves out of it.
    kept = ~missing & calendar.is_expected(time)
    return Bars(time[kept], prices[kept], volume[kept], np.ones(int(kept.sum()), dtype=bool))


def _mid_path(
    name: str, seed: int, week: int, sigma: npt.NDArray[np.float64], draw: np.random.Generator
) -> npt.NDArray[np.float64]:
    # Log price relative to the typical one at the minute boundaries of the week, one more than its minutes.
    variance = np.concatenate([[0.0], np.cumsum(sigma**2)])
    elapsed = variance / variance[-1]
    walk = np.concatenate([[0.0], np.cumsum(sigma * draw.standard_normal(len(sigma)))])
    first, last = _week_level(name, seed, week), _week_level(name, seed, week + 1)
    bridge = first + (last - first) * elapsed + walk - elapsed * walk[-1]
    innovations = _REVERTING_SIGMA * np.sqrt(1 - _REVERTING_PHI**2) * draw.standard_normal(len(sigma) + 1)
    reverting = lfilter([1.0], [1.0, -_REVERTING_PHI], innovations)
    return np.asarray(bridge + reverting, dtype=np.float64)


@lru_cache(maxsize=1024)
def _week_level(name: str, seed: int, week: int) -> float:
    weeks = range(week - _WEEKS_REMEMBERED, week + 1)
    shocks = np.array([_generator(name, seed, past, stream=0).standard_normal() for past in weeks])
    return float(_WEEKLY_SIGMA * np.sum(shocks * _WEEKLY_PHI ** np.arange(_WEEKS_REMEMBERED, -1, -1)))


def _generator(name: str, seed: int, week: int, stream: int) -> np.random.Generator:
    # 4,096 keeps the entropy non-negative for weeks before 1970.
    return np.random.default_rng([seed, zlib.crc32(name.encode()), week + 4096, stream])

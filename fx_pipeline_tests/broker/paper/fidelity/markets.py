"""Markets made to order: prices that swing like a sine, so that every stop and target is met within hours."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.instrument import instrument as find_instrument

HOUR_NS = 60 * MINUTE_NS
#: Mid price, amplitude and spread in pips, period in minutes.
SWINGS = {
    "EUR_USD": (1.1, 30.0, 1.2, 240),
    "USD_JPY": (148.0, 20.0, 1.6, 300),
    "GBP_JPY": (187.5, 40.0, 2.6, 200),
}


def moment(text: str) -> int:
    """Return an RFC 3339 time without zone as UTC nanoseconds."""
    return int(np.datetime64(text, "ns").astype(np.int64))


def swinging_bars(name: str, start_ns: int, minutes: npt.NDArray[np.int64]) -> Bars:
    """Return bars of the given minutes (numbers since `start_ns`) of an instrument of `SWINGS`."""
    level, amplitude_pips, spread_pips, period = SWINGS[name]
    pair = find_instrument(name)

    def mid(minute: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return level + amplitude_pips * pair.pip * np.sin(2 * np.pi * minute / period)

    opens, closes = mid(minutes), mid(minutes + 1)
    reach = 0.4 * pair.pip
    candle = np.stack([opens, np.maximum(opens, closes) + reach, np.minimum(opens, closes) - reach, closes], axis=1)
    half = spread_pips * pair.pip / 2
    prices = np.round(np.concatenate([candle - half, candle, candle + half], axis=1), pair.display_precision)
    return Bars(
        start_ns + MINUTE_NS * minutes, prices, np.full(len(minutes), 4, np.int64), np.zeros(len(minutes), np.bool_)
    )


def swinging_store(folder: Path, start_ns: int, hours: int) -> Path:
    """Fill a candle store with all `SWINGS` from `start_ns` on; a bar for every minute, also where none is traded."""
    for name in SWINGS:
        bars = swinging_bars(name, start_ns, np.arange(60 * hours))
        candle_store.upsert(folder, name, bars.table("imported"))
    return folder

"""Bars into candles of OANDA's longer granularities, minutes also into shorter ones."""

import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.granularity import Granularity
from fx_pipeline.broker.paper.ticks import TICK_STEP_NS, TICKS_IN_BAR
from fx_pipeline.market.candles import PRICE_COLUMNS

_HIGHS, _LOWS, _OPENS, _CLOSES = (
    [number for number, name in enumerate(PRICE_COLUMNS) if name.endswith(field)] for field in ("_h", "_l", "_o", "_c")
)


def aggregate(bars: Bars, granularity: Granularity) -> Bars:
    """Return the candles of a granularity that bars of a finer one make, in order; `time` is the candle's start.

    Aggregating the joined results of two parts gives the same as aggregating the parts joined.
    """
    if not len(bars.time):
        return bars
    starts = granularity.starts(bars.time)
    first = np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))
    if len(first) == len(starts):
        return bars._replace(time=starts)
    last = np.append(first[1:], len(starts)) - 1
    prices = np.empty((len(first), len(PRICE_COLUMNS)))
    prices[:, _OPENS] = bars.prices[first][:, _OPENS]
    prices[:, _HIGHS] = np.maximum.reduceat(bars.prices[:, _HIGHS], first)
    prices[:, _LOWS] = np.minimum.reduceat(bars.prices[:, _LOWS], first)
    prices[:, _CLOSES] = bars.prices[last][:, _CLOSES]
    volume = np.add.reduceat(bars.volume, first)
    return Bars(starts[first], prices, volume, np.logical_or.reduceat(bars.quotes_modelled, first))


def smooth(candles: Bars, previous_close: npt.NDArray[np.float64] | None) -> Bars:
    """Return candles that open at the close of the one before; highs and lows take the new open in.

    Parameters
    ----------
    previous_close : (3,) float64 or None
        Closes of bid, mid and ask before the first candle; it keeps its open when absent.
    """
    prices = candles.prices.copy()
    opens = np.concatenate(
        [prices[:1, _OPENS] if previous_close is None else previous_close[None], prices[:-1, _CLOSES]]
    )
    prices[:, _OPENS] = opens
    prices[:, _HIGHS] = np.maximum(prices[:, _HIGHS], opens)
    prices[:, _LOWS] = np.minimum(prices[:, _LOWS], opens)
    return candles._replace(prices=prices)


def closes(bars: Bars) -> npt.NDArray[np.float64] | None:
    """Return the last closes of bid, mid and ask; (3,) float64, or None without bars."""
    return bars.prices[-1, _CLOSES] if len(bars.time) else None


def ticks(bars: Bars, decimals: int) -> Bars:
    """Return the ticks of M1 bars as the exchange has them (`ticks.bar_ticks`), each as a bar that lasts an instant.

    Volumes add up to the bar's, but no tick has none.

    Parameters
    ----------
    decimals : int
        Displayed decimals.
    """
    count = len(bars.time)
    sides = bars.prices.reshape(count, 3, 4)
    opens, highs, lows, closing = (sides[:, :, field] for field in range(4))
    points = np.rint(sides[:, 1] * 10.0**decimals)
    high_first = (points[:, 1] - points[:, 0] <= points[:, 0] - points[:, 2])[:, None]
    path = np.stack([opens, np.where(high_first, highs, lows), np.where(high_first, lows, highs), closing], axis=1)
    path[:, :, 2] = np.maximum(path[:, :, 2], path[:, :, 0])
    so_far = bars.volume[:, None] * np.arange(TICKS_IN_BAR + 1) // TICKS_IN_BAR
    return Bars(
        (bars.time[:, None] + TICK_STEP_NS * np.arange(TICKS_IN_BAR)).ravel(),
        np.repeat(path.reshape(TICKS_IN_BAR * count, 3), 4, axis=1),
        np.maximum(np.diff(so_far, axis=1), 1).ravel(),
        np.repeat(bars.quotes_modelled, TICKS_IN_BAR),
    )

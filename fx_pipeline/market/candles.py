"""The candle: its schema, and the reasons for which a bar is quarantined."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fx_pipeline.market.alignment import on_grid
from fx_pipeline.market.timeframe import M1, Timeframe

SIDES = ("bid", "mid", "ask")
PRICE_COLUMNS = tuple(f"{side}_{field}" for side in SIDES for field in "ohlc")
CROSSED = "ask below bid"
SOURCES = ("imported", "synthetic", "practice", "live")

#: Candles: `time` is the bar's open; `quotes_modelled` says that bid and ask come from the cost model.
CANDLE_SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in PRICE_COLUMNS),
        pa.field("volume", pa.int64(), nullable=False),
        pa.field("quotes_modelled", pa.bool_(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)

#: Candles of the lake that are longer than a minute: `minutes` is how many M1 bars each was made of, where it was.
BAR_SCHEMA = CANDLE_SCHEMA.append(pa.field("minutes", pa.int32()))

#: Rows that were refused, as they came, with the reason.
QUARANTINE_SCHEMA = pa.schema([*CANDLE_SCHEMA, pa.field("reason", pa.string(), nullable=False)])


def off_grid(timeframe: Timeframe) -> str:
    """Return the reason for which a bar is refused that begins where none of the timeframe does."""
    return "time off the minute" if timeframe == M1 else f"time off the {timeframe} bars"


def bad_bar_reasons(
    candles: pd.DataFrame, now_ns: int | None = None, timeframe: Timeframe = M1
) -> npt.NDArray[np.object_]:
    """Say for each row why it is impossible, or give an empty string.

    Parameters
    ----------
    candles : DataFrame
        `time` (datetime64[ns, UTC]) and any of the price sides of `CANDLE_SCHEMA`.
    now_ns : int, optional
        UTC nanoseconds; a bar that opens at or after it lies in the future. Not checked when absent.
    timeframe : Timeframe
        Of the bars.

    Returns
    -------
    (T,) object
        The first reason that applies: "not finite", "not positive", "high below low", "open or close outside the
        range", "ask below bid", "time off the minute" (`off_grid`), "time in the future", "duplicate time with other
        prices".

    Notes
    -----
    A bar's bid high may exceed its ask low (they occur at different instants), so sides are compared only at the
    open and the close.
    """
    sides = [side for side in SIDES if f"{side}_o" in candles.columns]
    columns = [f"{side}_{field}" for side in sides for field in "ohlc"]
    prices = candles[columns].to_numpy(dtype=np.float64)
    # Indexes come in any resolution (pandas 3 keeps the source's); nanoseconds are the house's unit.
    time_ns = pd.DatetimeIndex(candles["time"]).as_unit("ns").asi8
    reasons: npt.NDArray[np.object_] = np.full(len(candles), "", dtype=object)

    def mark(bad: npt.NDArray[np.bool_], reason: str) -> None:
        reasons[bad & (reasons == "")] = reason

    mark(np.asarray(~np.isfinite(prices).all(axis=1)), "not finite")
    with np.errstate(invalid="ignore"):
        mark(np.asarray((prices <= 0).any(axis=1)), "not positive")
        for number in range(len(sides)):
            open_, high, low, close = prices[:, 4 * number : 4 * number + 4].T
            mark(high < low, "high below low")
            mark((open_ > high) | (open_ < low) | (close > high) | (close < low), "open or close outside the range")
        if "bid" in sides and "ask" in sides:
            ask, bid = 4 * sides.index("ask"), 4 * sides.index("bid")
            mark((prices[:, ask] < prices[:, bid]) | (prices[:, ask + 3] < prices[:, bid + 3]), CROSSED)
    mark(~on_grid(time_ns, timeframe), off_grid(timeframe))
    if now_ns is not None:
        mark(time_ns >= now_ns, "time in the future")
    frame = candles[["time", *columns]]
    conflicting = frame["time"].duplicated(keep=False) & ~frame.duplicated(keep=False)
    # Two equal rows are one bar said twice; rows that differ contradict each other, and none of them is trusted.
    mixed = frame["time"].isin(frame.loc[conflicting, "time"])
    mark(np.asarray(mixed), "duplicate time with other prices")
    return reasons

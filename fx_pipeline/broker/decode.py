"""Bodies of candle replies to arrays: all that a pager needs, or everything.

Pages in the usual form are read by `scan`; others, and those in which something is wrong, by a general decoder.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.scan import scan_page
from fx_pipeline.market.candles import PRICE_COLUMNS, SIDES
from fx_pipeline.market.errors import DataError

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class Candles(NamedTuple):
    """Candles of a reply, in its order.

    Attributes
    ----------
    time : (T,) int64
        UTC nanoseconds.
    complete : (T,) bool
    volume : (T,) int64
    prices : (T, 12) float64
        Columns as in `PRICE_COLUMNS`; NaN where the reply has no number.
    """

    time: Int64
    complete: Bool
    volume: Int64
    prices: Float64


class _Outline(msgspec.Struct, gc=False):
    time: str
    complete: bool = False


class _OutlinePage(msgspec.Struct, gc=False):
    instrument: str
    granularity: str
    candles: list[_Outline]


class _Candle(msgspec.Struct, gc=False):
    time: str
    volume: int
    complete: bool = False
    bid: Any = None
    mid: Any = None
    ask: Any = None


class _CandlePage(msgspec.Struct, gc=False):
    candles: list[_Candle]


_OUTLINE = msgspec.json.Decoder(_OutlinePage)
_CANDLES = msgspec.json.Decoder(_CandlePage)


def read_outline(body: bytes, instrument: str, granularity: str = "M1") -> tuple[Int64, Bool]:
    """Return the times of a page of candles, and which of them are complete.

    Parameters
    ----------
    instrument, granularity : str
        What the page must be of.

    Returns
    -------
    (T,) int64, (T,) bool

    Raises
    ------
    DataError
        If the body is not whole, or is a page of something else.
    """
    scanned = scan_page(body)
    if scanned is not None:
        name, held, time, complete = scanned[:4]
    else:
        try:
            page = _OUTLINE.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"not a page of candles ({error})") from error
        name, held, candles = page.instrument, page.granularity, page.candles
        time = read_times([candle.time for candle in candles])
        complete = np.fromiter((candle.complete for candle in candles), np.bool_, len(candles))
    if (name, held) != (instrument, granularity):
        raise DataError(f"a page of {name} {held}, not of {instrument} {granularity}")
    return time, complete


def read_candles(body: bytes) -> Candles:
    """Return all that a page of candles says.

    Raises
    ------
    DataError
        If the body is not whole, or a candle has no readable time or volume.
    """
    scanned = scan_page(body)
    if scanned is not None:
        return Candles(*scanned[2:])
    try:
        candles = _CANDLES.decode(body).candles
        volume = np.array([candle.volume for candle in candles], dtype=np.int64)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"not a page of candles ({error})") from error
    prices = [[_price(getattr(candle, side), field) for side in SIDES for field in "ohlc"] for candle in candles]
    return Candles(
        read_times([candle.time for candle in candles]),
        np.array([candle.complete for candle in candles], dtype=np.bool_),
        volume,
        np.array(prices, dtype=np.float64).reshape(-1, len(PRICE_COLUMNS)),
    )


def read_times(texts: list[str]) -> Int64:
    """Return UTC nanoseconds of RFC 3339 times in UTC; (T,) int64.

    Raises
    ------
    DataError
        If one is something else.
    """
    try:
        if not all(text.endswith("Z") for text in texts):
            raise ValueError("a time is not in UTC")
        return np.array([text[:-1] for text in texts], dtype="datetime64[ns]").astype(np.int64)
    except ValueError as error:
        raise DataError(f"a candle has no readable time ({error})") from error


def _price(side: Any, field: str) -> float:
    # A price that is absent or no number is quarantined as "not finite".
    text = side.get(field) if isinstance(side, dict) else None
    try:
        return float(text) if isinstance(text, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")

"""OANDA v20's wire format of candles: query parameters in, JSON out. No HTTP and no clock in here."""

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.encode import encode_candles
from fx_pipeline.broker.paper.granularity import GRANULARITIES, WEEKDAYS, Alignment, Granularity
from fx_pipeline.market.instrument import instrument as find_instrument

DEFAULT_COUNT, MAXIMUM_COUNT = 500, 5000
_SIDE_NAMES = {"B": "bid", "M": "mid", "A": "ask"}
_SIDES = "BMA"
_UNITS = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_UNIX = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?", re.ASCII)
# An unescaped "+" of an offset arrives as a space.
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+ -])(\d\d):(\d\d))", re.ASCII)


class WireError(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status : int
        HTTP status.
    message : str
        `errorMessage` of the body.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class CandleQuery:
    """A checked candles request. Times are UTC nanoseconds.

    Attributes
    ----------
    sides : str
        Letters of "BMA" in that order.
    granularity : Granularity
    start_ns, end_ns : int or None
        Candles that start in [start, end) are asked for.
    count : int or None
        Most candles in the reply; None when `from` and `to` bound it.
    smooth : bool
        Whether candles open at the close of the one before.
    """

    sides: str
    granularity: Granularity
    start_ns: int | None
    end_ns: int | None
    count: int | None
    smooth: bool


def parse_time(text: str) -> int:
    """Return UTC nanoseconds of an RFC 3339 or UNIX-seconds time, as OANDA takes them.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if found := _UNIX.fullmatch(text):
        return int(found[1]) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is neither an RFC 3339 nor a UNIX time")
    seconds = int(np.datetime64(f"{found[1]}T{found[2]}", "s").astype(np.int64))
    if found[4]:
        offset = 3600 * int(found[5]) + 60 * int(found[6])
        seconds += offset if found[4] == "-" else -offset
    return seconds * 1_000_000_000 + int((found[3] or "0").ljust(9, "0"))


def format_times(time_ns: np.ndarray, unix: bool = False) -> list[str]:
    """Return times as RFC 3339 with nine decimals, or as UNIX seconds with nine decimals."""
    if unix:
        return [f"{time // 1_000_000_000}.{time % 1_000_000_000:09d}" for time in time_ns.tolist()]
    texts = np.datetime_as_string(time_ns.astype("datetime64[ns]"), unit="ns")
    return [f"{text}Z" for text in texts.tolist()]


def parse_candle_query(parameters: Mapping[str, str], now_ns: int) -> CandleQuery:
    """Check the query parameters of a candles request.

    Raises
    ------
    WireError
        With OANDA's status and text where it is known.
    """
    price = parameters.get("price", "M").upper()
    if not price or set(price) - set(_SIDES) or len(set(price)) != len(price):
        raise _invalid("price")
    granularity = _granularity(parameters)
    start_ns, end_ns = _time(parameters, "from", now_ns), _time(parameters, "to", now_ns)
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        raise _invalid("to", ". Time is before 'from'")
    ranged = start_ns is not None and end_ns is not None
    count: int | None = None if ranged else DEFAULT_COUNT
    if "count" in parameters:
        if ranged:
            raise WireError(400, "'count' cannot be specified when 'to' and 'from' parameters are set")
        count = _number(parameters, "count", 1, 2**31)
        if count > MAXIMUM_COUNT:
            raise _too_many()
    if "units" in parameters and not _UNITS.fullmatch(parameters["units"]):
        raise _invalid("units")
    include_first, smooth = _flag(parameters, "includeFirst", True), _flag(parameters, "smooth", False)
    if start_ns is not None:
        # A time inside a candle asks for the candle that covers it.
        start_ns = granularity.start(start_ns)
        if end_ns is not None and -(-(end_ns - start_ns) // granularity.length_ns) > MAXIMUM_COUNT:
            raise _too_many()
        if not include_first:
            start_ns = granularity.end(start_ns)
    sides = "".join(side for side in _SIDES if side in price)
    return CandleQuery(sides, granularity, start_ns, end_ns, count, smooth)


def candles_body(
    name: str, granularity: str, candles: Bars, complete: npt.NDArray[np.bool_], sides: str, unix: bool = False
) -> bytes:
    """Return the JSON body of a candles reply.

    Parameters
    ----------
    name : str
        The instrument; its display precision gives the decimals.
    complete : (T,) bool
        Of each candle.
    sides : str
        Letters of "BMA", in that order.
    unix : bool
        UNIX times in place of RFC 3339.

    Raises
    ------
    DataError
        If a price cannot be sent.
    """
    prices = candles.prices.reshape(-1, 3, 4)
    if sides != _SIDES:
        prices = prices[:, [_SIDES.index(side) for side in sides]]
    return encode_candles(
        candles.time,
        candles.volume,
        complete,
        np.ascontiguousarray(prices),
        tuple(_SIDE_NAMES[side] for side in sides),
        find_instrument(name).display_precision,
        unix,
        b'{"instrument":"%b","granularity":"%b","candles":[' % (name.encode(), granularity.encode()),
        b"]}",
    )


def _granularity(parameters: Mapping[str, str]) -> Granularity:
    name = parameters.get("granularity", "S5")
    if name not in GRANULARITIES:
        raise _invalid("granularity")
    timezone = parameters.get("alignmentTimezone", Alignment().timezone)
    if timezone not in _timezones():
        raise _invalid("alignmentTimezone")
    weekday = parameters.get("weeklyAlignment", WEEKDAYS[Alignment().weekday])
    if weekday not in WEEKDAYS:
        raise _invalid("weeklyAlignment")
    hour = _number(parameters, "dailyAlignment", 0, 23) if "dailyAlignment" in parameters else Alignment().hour
    return Granularity(name, Alignment(hour, timezone, WEEKDAYS.index(weekday)))


@cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _invalid(parameter: str, detail: str = "") -> WireError:
    return WireError(400, f"Invalid value specified for '{parameter}'{detail}")


def _too_many() -> WireError:
    return WireError(400, "Maximum value for 'count' exceeded")


def _number(parameters: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = parameters[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and least <= int(text) <= most):
        raise _invalid(name)
    return int(text)


def _time(parameters: Mapping[str, str], name: str, now_ns: int) -> int | None:
    if name not in parameters:
        return None
    try:
        time = parse_time(parameters[name])
    except ValueError as error:
        raise _invalid(name) from error
    if time > now_ns:
        raise _invalid(name, ". Time is in the future")
    # No candle is older than UNIX time.
    return max(time, 0)


def _flag(parameters: Mapping[str, str], name: str, default: bool) -> bool:
    text = parameters.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise _invalid(name)
    return text == "true"

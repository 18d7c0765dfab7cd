"""OANDA v20's wire format of candles: query parameters in, JSON out. No HTTP and no clock in here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS
from fx_pipeline.market.instrument import instrument as find_instrument

DEFAULT_COUNT, MAXIMUM_COUNT = 500, 5000
GRANULARITIES = (
    *("S5", "S10", "S15", "S30", "M1", "M2", "M4", "M5", "M10", "M15", "M30"),
    *("H1", "H2", "H3", "H4", "H6", "H8", "H12", "D", "W", "M"),
)
_SIDE_NAMES = {"B": "bid", "M": "mid", "A": "ask"}
_UNIX = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
# An unescaped "+" of an offset arrives as a space.
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+ -])(\d\d):(\d\d))")


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
    start_ns, end_ns : int or None
        Bars that open in [start, end) are asked for.
    count : int or None
        Most bars in the reply; None when `from` and `to` bound it.
    """

    sides: str
    start_ns: int | None
    end_ns: int | None
    count: int | None


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
    if not price or set(price) - set(_SIDE_NAMES) or len(set(price)) != len(price):
        raise _invalid("price")
    granularity = parameters.get("granularity", "S5")
    if granularity not in GRANULARITIES:
        raise _invalid("granularity")
    if granularity != "M1":
        raise _invalid("granularity", f". The paper server has M1 candles only, not {granularity}")
    if _flag(parameters, "smooth", False):
        raise _invalid("smooth", ". The paper server has no smoothed candles")
    start_ns, end_ns = _time(parameters, "from", now_ns), _time(parameters, "to", now_ns)
    if start_ns is not None and end_ns is not None and end_ns < start_ns:
        raise _invalid("to", ". Time is before 'from'")
    ranged = start_ns is not None and end_ns is not None
    count: int | None = None if ranged else DEFAULT_COUNT
    if "count" in parameters:
        if ranged:
            raise WireError(400, "'count' cannot be specified when 'to' and 'from' parameters are set")
        if not parameters["count"].isdecimal() or int(parameters["count"]) == 0:
            raise _invalid("count")
        count = int(parameters["count"])
    if start_ns is not None:
        # A time inside a candle asks for the candle that covers it.
        start_ns -= start_ns % MINUTE_NS
        if ranged and end_ns is not None and -(-(end_ns - start_ns) // MINUTE_NS) > MAXIMUM_COUNT:
            raise WireError(400, "Maximum value for 'count' exceeded")
    if count is not None and count > MAXIMUM_COUNT:
        raise WireError(400, "Maximum value for 'count' exceeded")
    if not _flag(parameters, "includeFirst", True) and start_ns is not None:
        start_ns += MINUTE_NS
    return CandleQuery("".join(side for side in "BMA" if side in price), start_ns, end_ns, count)


def candles_body(name: str, bars: Bars, sides: str, now_ns: int, unix: bool = False) -> bytes:
    """Return the JSON body of a candles reply.

    Parameters
    ----------
    name : str
        The instrument; its display precision gives the decimals.
    sides : str
        Letters of "BMA".
    now_ns : int
        A bar whose minute has not ended by then is not `complete`.
    unix : bool
        UNIX times in place of RFC 3339.
    """
    decimals = find_instrument(name).display_precision
    prices = ",".join(
        f'"{_SIDE_NAMES[side]}":{{' + ",".join(f'"{field}":"%.{decimals}f"' for field in "ohlc") + "}" for side in sides
    )
    # One format operation a candle: building and serialising dictionaries takes several times as long.
    template = '{"complete":%s,"volume":%d,"time":"%s",' + prices + "}"
    complete = np.where(bars.time + MINUTE_NS <= now_ns, "true", "false").tolist()
    columns = [PRICE_COLUMNS.index(f"{_SIDE_NAMES[side]}_{field}") for side in sides for field in "ohlc"]
    values = (bars.prices[:, column].tolist() for column in columns)
    rows = zip(complete, bars.volume.tolist(), format_times(bars.time, unix), *values, strict=True)
    candles = ",".join(map(template.__mod__, rows))
    return f'{{"instrument":"{name}","granularity":"M1","candles":[{candles}]}}'.encode()


def _invalid(parameter: str, detail: str = "") -> WireError:
    return WireError(400, f"Invalid value specified for '{parameter}'{detail}")


def _time(parameters: Mapping[str, str], name: str, now_ns: int) -> int | None:
    if name not in parameters:
        return None
    try:
        time = parse_time(parameters[name])
    except ValueError as error:
        raise _invalid(name) from error
    if time > now_ns:
        raise _invalid(name, ". Time is in the future")
    return time


def _flag(parameters: Mapping[str, str], name: str, default: bool) -> bool:
    text = parameters.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise _invalid(name)
    return text == "true"

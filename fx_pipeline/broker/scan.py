"""A compiled reader of candle pages in the form in which OANDA writes them: no blanks, prices and times as strings.

It reads that form, or says that the page has another one: then a general decoder must look at it. What it reads is to
the bit what `float` makes of the same text: up to 15 digits and a power of ten up to 10^15 are exact doubles, and their
quotient is rounded once.
"""

import re
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_HEAD = re.compile(rb'\{"instrument":"([A-Z0-9_]{1,32})","granularity":"([A-Z0-9]{1,3})","candles":\[')
# Shorter than any candle with bid, mid and ask.
_SHORTEST = 120
_OTHER = -1
_MOST_DIGITS = 15
_POWERS = 10.0 ** np.arange(_MOST_DIGITS + 1)
_MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_SECOND_NS = 1_000_000_000


def scan_page(body: bytes) -> tuple[str, str, Int64, Bool, Int64, Float64] | None:
    """Return instrument, granularity, times, `complete`, volumes and prices of a page, or None if its form is another.

    Returns
    -------
    str, str, (T,) int64, (T,) bool, (T,) int64, (T, 12) float64
        Times in UTC nanoseconds; bid, mid and ask, each open, high, low, close.
    """
    head = _HEAD.match(body)
    if head is None:
        return None
    capacity = len(body) // _SHORTEST + 1
    time, volume = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    complete, prices = np.empty(capacity, np.bool_), np.empty((capacity, 12))
    count = _scan(np.frombuffer(body, np.uint8), head.end(), time, complete, volume, prices)
    if count == _OTHER:
        return None
    return head[1].decode(), head[2].decode(), time[:count], complete[:count], volume[:count], prices[:count]


def _text(text: str) -> Any:
    return tuple(text.encode())


_COMPLETE, _VOLUME, _TIME = _text('complete":'), _text('volume":'), _text('time":"')
_BID, _MID, _ASK = _text('bid":{'), _text('mid":{'), _text('ask":{')
_TRUE, _FALSE, _END = _text("true"), _text("false"), _text("]}")
_OPEN, _CLOSE, _COMMA, _MARK, _POINT, _ZERO = (ord(character) for character in '{},".0')
_O, _H, _L, _C, _COLON, _DASH, _T, _Z, _BRACKET = (ord(character) for character in "ohlc:-TZ]")
_ALL_KEYS = 63


@numba.njit(cache=True, nogil=True)
def _scan(body: Bytes, at: int, time: Int64, complete: Bool, volume: Int64, prices: Float64) -> int:
    size = len(body)
    count = 0
    if at < size and body[at] != _BRACKET:
        while True:
            if count >= len(time):
                return _OTHER
            at = _candle(body, at, time, complete, volume, prices, count)
            if at == _OTHER or at >= size:
                return _OTHER
            count += 1
            if body[at] != _COMMA:
                break
            at += 1
    if at + 2 != size or not _is(body, at, _END):
        return _OTHER
    return count


@numba.njit(cache=True, nogil=True)
def _candle(body: Bytes, at: int, time: Int64, complete: Bool, volume: Int64, prices: Float64, row: int) -> int:
    size = len(body)
    seen = 0
    separator = _OPEN
    while True:
        if at + 2 >= size or body[at] != separator or body[at + 1] != _MARK:
            return _OTHER
        at += 2
        separator = _COMMA
        if _is(body, at, _COMPLETE):
            at += 10
            seen |= 1
            complete[row] = _is(body, at, _TRUE)
            if not complete[row] and not _is(body, at, _FALSE):
                return _OTHER
            at += 4 if complete[row] else 5
        elif _is(body, at, _VOLUME):
            seen |= 2
            first = at + 8
            at, volume[row] = _digits(body, first)
            if at - first > _MOST_DIGITS or at == first or (body[first] == _ZERO and at > first + 1):
                return _OTHER
        elif _is(body, at, _TIME):
            seen |= 4
            at = _time(body, at + 7, time, row)
        elif _is(body, at, _BID):
            seen |= 8
            at = _side(body, at + 6, prices, row, 0)
        elif _is(body, at, _MID):
            seen |= 16
            at = _side(body, at + 6, prices, row, 4)
        elif _is(body, at, _ASK):
            seen |= 32
            at = _side(body, at + 6, prices, row, 8)
        else:
            return _OTHER
        if at == _OTHER or at >= size:
            return _OTHER
        if body[at] == _CLOSE:
            return at + 1 if seen == _ALL_KEYS else _OTHER


@numba.njit(cache=True, nogil=True)
def _side(body: Bytes, at: int, prices: Float64, row: int, column: int) -> int:
    seen = 0
    while True:
        # "o":"1.23456"
        if at + 6 >= len(body) or body[at] != _MARK or body[at + 2] != _MARK:
            return _OTHER
        if body[at + 3] != _COLON or body[at + 4] != _MARK:
            return _OTHER
        key = body[at + 1]
        if key == _O:
            field = 0
        elif key == _H:
            field = 1
        elif key == _L:
            field = 2
        elif key == _C:
            field = 3
        else:
            return _OTHER
        seen |= 1 << field
        first = at + 5
        at, number = _digits(body, first)
        digits = at - first
        decimals = 0
        if digits == 0 or digits > _MOST_DIGITS or at >= len(body):
            return _OTHER
        if body[at] == _POINT:
            first = at + 1
            at, fraction = _digits(body, first)
            decimals = at - first
            if decimals == 0 or digits + decimals > _MOST_DIGITS:
                return _OTHER
            number = number * np.int64(_POWERS[decimals]) + fraction
        if at + 1 >= len(body) or body[at] != _MARK:
            return _OTHER
        prices[row, column + field] = number / _POWERS[decimals]
        at += 1
        if body[at] == _CLOSE:
            return at + 1 if seen == 15 else _OTHER
        if body[at] != _COMMA:
            return _OTHER
        at += 1


@numba.njit(cache=True, nogil=True)
def _digits(body: Bytes, at: int) -> tuple[int, int]:
    # Longer numbers than can be used overflow, and are refused by their length.
    number = 0
    while at < len(body):
        digit = int(body[at]) - _ZERO
        if digit < 0 or digit > 9:
            break
        number = number * 10 + digit
        at += 1
    return at, number


@numba.njit(cache=True, nogil=True)
def _time(body: Bytes, at: int, time: Int64, row: int) -> int:
    # 2024-01-08T00:00:00.000000000Z"
    if at + 31 >= len(body):
        return _OTHER
    if not (body[at + 4] == _DASH and body[at + 7] == _DASH and body[at + 10] == _T and body[at + 13] == _COLON):
        return _OTHER
    if not (body[at + 16] == _COLON and body[at + 19] == _POINT and body[at + 29] == _Z and body[at + 30] == _MARK):
        return _OTHER
    year_end, year = _digits(body, at)
    fraction_end, fraction = _digits(body, at + 20)
    if year_end != at + 4 or fraction_end != at + 29:
        return _OTHER
    month, day = _pair(body, at + 5), _pair(body, at + 8)
    hour, minute, second = _pair(body, at + 11), _pair(body, at + 14), _pair(body, at + 17)
    if year < 1970 or year > 2200 or month < 1 or month > 12 or day < 1 or day > _MONTH_DAYS[month]:
        return _OTHER
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        (month == 2 and day == 29 and not leap)
        or min(hour, minute, second) < 0
        or hour > 23
        or minute > 59
        or second > 59
    ):
        return _OTHER
    # The civil date to days, in years that begin on 1 March (Hinnant).
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469
    seconds = 86_400 * days + 3_600 * hour + 60 * minute + second
    time[row] = seconds * _SECOND_NS + fraction
    return at + 31


@numba.njit(cache=True, nogil=True)
def _pair(body: Bytes, at: int) -> int:
    # Two digits, or a negative number.
    tens, ones = int(body[at]) - _ZERO, int(body[at + 1]) - _ZERO
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else _OTHER


@numba.njit(cache=True, nogil=True)
def _is(body: Bytes, at: int, text: Any) -> bool:
    if at + len(text) > len(body):
        return False
    for position in range(len(text)):  # noqa: SIM110 - a generator does not compile
        if body[at + position] != text[position]:
            return False
    return True

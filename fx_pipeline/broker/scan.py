"""A compiled reader of candle pages in the form in which OANDA writes them: no blanks, prices and times as strings.

It reads that form, or says that the page has another one: then a general decoder must look at it. What it reads is to
the bit what `float` makes of the same text: up to 15 digits and a power of ten up to 10^15 are exact doubles, and their
quotient is rounded once.

A candle of the usual shape (OANDA's order of the fields, complete, prices as long as the page's first) is read eight
bytes at a time. Any other is read byte by byte, so that the shape decides nothing but the speed.
"""

import re
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.words import OTHER, as_word, civil_day, load_word, price_shape, word_price

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_HEAD = re.compile(rb'\{"instrument":"([A-Z0-9_]{1,32})","granularity":"([A-Z0-9]{1,3})","candles":\[')
# Shorter than any candle with bid, mid and ask.
_SHORTEST = 120
# Longer than any candle of the usual shape, and the word that is read last.
_LONGEST_USUAL = 400
_PRICE = re.compile(rb'"[ohlc]":"(\d+)\.(\d+)"')
_MOST_DIGITS = 15
_POWERS = 10.0 ** np.arange(_MOST_DIGITS + 1)
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
    # Each price column in one piece, as a table wants it.
    complete, prices = np.empty(capacity, np.bool_), np.empty((12, capacity))
    characters = np.frombuffer(body, np.uint8)
    count = _scan(characters, head.end(), time, complete, volume, prices, *_shape(body, head.end()))
    if count == OTHER:
        return None
    return head[1].decode(), head[2].decode(), time[:count], complete[:count], volume[:count], prices[:, :count].T


def _shape(body: bytes, at: int) -> tuple[Words, float, Words]:
    # The usual price and its divisor, and room for the day that was read last.
    found = _PRICE.search(body, at, at + _LONGEST_USUAL)
    shape, divisor = price_shape(len(found[1]), len(found[2])) if found else price_shape(0, 0)
    return shape, divisor, np.zeros(3, np.uint64)


def _text(text: str) -> Any:
    return tuple(text.encode())


_COMPLETE, _VOLUME, _TIME = _text('complete":'), _text('volume":'), _text('time":"')
_BID, _MID, _ASK = _text('bid":{'), _text('mid":{'), _text('ask":{')
_TRUE, _FALSE, _END = _text("true"), _text("false"), _text("]}")
_OPEN, _CLOSE, _COMMA, _MARK, _POINT, _ZERO = (ord(character) for character in '{},".0')
_O, _H, _L, _C, _COLON, _DASH, _T, _Z, _BRACKET = (ord(character) for character in "ohlc:-TZ]")
_ALL_KEYS = 63


_HEADER = np.array([as_word('{"comple'), as_word('te":true'), as_word(',"volume')])
_TO_VOLUME, _TO_TIME, _TO_OPEN = as_word('":'), as_word(',"time":'), as_word('o":"')
_SIDES = np.array([as_word(f'"{side}":{{"') for side in ("bid", "mid", "ask")])
_AFTER_PRICE = np.array([as_word(f'","{field}":"') for field in "hlc"])
_AFTER_SIDE = np.array([as_word('"},'), as_word('"},'), as_word('"}}')])
_MINUTE_END, _TIME_END = as_word(":00.0000"), as_word('00000Z",')
_BYTES_2, _BYTES_3, _BYTES_4, _BYTES_7 = (np.uint64(2 ** (8 * count) - 1) for count in (2, 3, 4, 7))


@numba.njit(cache=True, nogil=True)
def _scan(
    body: Bytes,
    at: int,
    time: Int64,
    complete: Bool,
    volume: Int64,
    prices: Float64,
    shape: Words,
    divisor: float,
    day: Words,
) -> int:
    size = len(body)
    count = 0
    if at < size and body[at] != _BRACKET:
        while True:
            if count >= len(time):
                return OTHER
            start, at = at, OTHER
            if shape[0] and start + _LONGEST_USUAL <= size:
                at = _usual_candle(body, start, time, complete, volume, prices, count, shape, divisor, day)
            if at == OTHER:
                at = _candle(body, start, time, complete, volume, prices, count)
            if at == OTHER or at >= size:
                return OTHER
            count += 1
            if body[at] != _COMMA:
                break
            at += 1
    if at + 2 != size or not _is(body, at, _END):
        return OTHER
    return count


@numba.njit(cache=True, nogil=True)
def _usual_candle(
    body: Bytes,
    at: int,
    time: Int64,
    complete: Bool,
    volume: Int64,
    prices: Float64,
    row: int,
    shape: Words,
    divisor: float,
    day: Words,
) -> int:
    if (
        load_word(body, at) != _HEADER[0]
        or load_word(body, at + 8) != _HEADER[1]
        or load_word(body, at + 16) != _HEADER[2]
    ):
        return OTHER
    complete[row] = True
    if load_word(body, at + 24) & _BYTES_2 != _TO_VOLUME:
        return OTHER
    first = at + 26
    at, volume[row] = _digits(body, first)
    if at - first > _MOST_DIGITS or at == first or (body[first] == _ZERO and at > first + 1):
        return OTHER
    if load_word(body, at) != _TO_TIME or body[at + 8] != _MARK:
        return OTHER
    at = _usual_time(body, at + 9, time, row, day)
    if at == OTHER or body[at] != _COMMA:
        return OTHER
    at += 1
    length: Any = np.int64(shape[0])
    for side in range(3):
        if load_word(body, at) != _SIDES[side] or load_word(body, at + 8) & _BYTES_4 != _TO_OPEN:
            return OTHER
        at += 12
        for field in range(4):
            number = word_price(load_word(body, at), shape)
            if number < 0:
                return OTHER
            prices[4 * side + field, row] = number / divisor
            at += length
            if field < 3:
                if load_word(body, at) & _BYTES_7 != _AFTER_PRICE[field]:
                    return OTHER
                at += 7
        if load_word(body, at) & _BYTES_3 != _AFTER_SIDE[side]:
            return OTHER
        at += 3
    return at


@numba.njit(cache=True, nogil=True)
def _usual_time(body: Bytes, at: int, time: Int64, row: int, day: Words) -> int:
    # A whole minute of the day that was read last; of another day, the general way, which is then remembered.
    date, clock = load_word(body, at), load_word(body, at + 8)
    hour, minute = _pair(body, at + 11), _pair(body, at + 14)
    if (
        date == day[0]
        and clock & _BYTES_3 == day[1]
        and body[at + 13] == _COLON
        and load_word(body, at + 16) == _MINUTE_END
        and load_word(body, at + 24) == _TIME_END
        and 0 <= hour <= 23
        and 0 <= minute <= 59
    ):
        time[row] = (np.int64(day[2]) + 3_600 * hour + 60 * minute) * _SECOND_NS
        return at + 31
    end = _time(body, at, time, row)
    if end != OTHER:
        day[0], day[1] = date, clock & _BYTES_3
        day[2] = np.uint64(time[row] // _SECOND_NS // 86_400 * 86_400)
    return end


@numba.njit(cache=True, nogil=True)
def _candle(body: Bytes, at: int, time: Int64, complete: Bool, volume: Int64, prices: Float64, row: int) -> int:
    size = len(body)
    seen = 0
    separator = _OPEN
    while True:
        if at + 2 >= size or body[at] != separator or body[at + 1] != _MARK:
            return OTHER
        at += 2
        separator = _COMMA
        if _is(body, at, _COMPLETE):
            at += 10
            seen |= 1
            complete[row] = _is(body, at, _TRUE)
            if not complete[row] and not _is(body, at, _FALSE):
                return OTHER
            at += 4 if complete[row] else 5
        elif _is(body, at, _VOLUME):
            seen |= 2
            first = at + 8
            at, volume[row] = _digits(body, first)
            if at - first > _MOST_DIGITS or at == first or (body[first] == _ZERO and at > first + 1):
                return OTHER
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
            return OTHER
        if at == OTHER or at >= size:
            return OTHER
        if body[at] == _CLOSE:
            return at + 1 if seen == _ALL_KEYS else OTHER


@numba.njit(cache=True, nogil=True)
def _side(body: Bytes, at: int, prices: Float64, row: int, column: int) -> int:
    seen = 0
    while True:
        # "o":"1.23456"
        if at + 6 >= len(body) or body[at] != _MARK or body[at + 2] != _MARK:
            return OTHER
        if body[at + 3] != _COLON or body[at + 4] != _MARK:
            return OTHER
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
            return OTHER
        seen |= 1 << field
        first = at + 5
        at, number = _digits(body, first)
        digits = at - first
        decimals = 0
        if digits == 0 or digits > _MOST_DIGITS or at >= len(body):
            return OTHER
        if body[at] == _POINT:
            first = at + 1
            at, fraction = _digits(body, first)
            decimals = at - first
            if decimals == 0 or digits + decimals > _MOST_DIGITS:
                return OTHER
            number = number * np.int64(_POWERS[decimals]) + fraction
        if at + 1 >= len(body) or body[at] != _MARK:
            return OTHER
        prices[column + field, row] = number / _POWERS[decimals]
        at += 1
        if body[at] == _CLOSE:
            return at + 1 if seen == 15 else OTHER
        if body[at] != _COMMA:
            return OTHER
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
        return OTHER
    if not (body[at + 4] == _DASH and body[at + 7] == _DASH and body[at + 10] == _T and body[at + 13] == _COLON):
        return OTHER
    if not (body[at + 16] == _COLON and body[at + 19] == _POINT and body[at + 29] == _Z and body[at + 30] == _MARK):
        return OTHER
    year_end, year = _digits(body, at)
    fraction_end, fraction = _digits(body, at + 20)
    if year_end != at + 4 or fraction_end != at + 29:
        return OTHER
    month, day = _pair(body, at + 5), _pair(body, at + 8)
    hour, minute, second = _pair(body, at + 11), _pair(body, at + 14), _pair(body, at + 17)
    days = civil_day(year, month, day)
    if days < 0 or min(hour, minute, second) < 0 or hour > 23 or minute > 59 or second > 59:
        return OTHER
    seconds = 86_400 * days + 3_600 * hour + 60 * minute + second
    time[row] = seconds * _SECOND_NS + fraction
    return at + 31


@numba.njit(cache=True, nogil=True)
def _pair(body: Bytes, at: int) -> int:
    # Two digits, or a negative number.
    tens, ones = int(body[at]) - _ZERO, int(body[at + 1]) - _ZERO
    return 10 * tens + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else OTHER


@numba.njit(cache=True, nogil=True)
def _is(body: Bytes, at: int, text: Any) -> bool:
    if at + len(text) > len(body):
        return False
    for position in range(len(text)):  # noqa: SIM110 - a generator does not compile
        if body[at + position] != text[position]:
            return False
    return True

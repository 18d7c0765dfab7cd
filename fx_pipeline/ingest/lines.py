"""A compiled reader of HistData's lines in the form in which nearly all of them are.

It reads a block in which every line has that form, or says that one has not: then the general reader must look at the
block, and tells what is wrong with it. Numbers are to the bit what the general reader makes of them.
"""

import re
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.words import OTHER, WORD_BYTES, civil_day, load_word, price_shape, word_digits, word_price

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

# A longer block is not in the form; a block of the form begins with it.
_FIRST = re.compile(rb"\d{8} \d{6};(\d+)\.(\d+);")
_MOST_DIGITS = 15
_POWERS = 10.0 ** np.arange(_MOST_DIGITS + 1)
_SECOND_NS = 1_000_000_000
_BLANK, _DELIMITER, _POINT, _ZERO, _RETURN, _END = (ord(character) for character in " ;.0\r\n")


def read_lines(data: bytes) -> tuple[Int64, Float64, Float64] | None:
    """Read `YYYYMMDD hhmmss;open;high;low;close;volume` lines, or return None if one has another form.

    Returns
    -------
    (N,) int64, (4, N) float64, (N,) float64
        Wall-clock nanoseconds; open, high, low and close; volumes.
    """
    first = _FIRST.match(data)
    if first is None or not data.endswith(b"\n"):
        return None
    rows = data.count(b"\n")
    time, prices, volume = np.empty(rows, np.int64), np.empty((4, rows)), np.empty(rows)
    shape, divisor = price_shape(len(first[1]), len(first[2]))
    if _read(np.frombuffer(data, np.uint8), time, prices, volume, shape, divisor) != rows:
        return None
    return time, prices, volume


@numba.njit(cache=True, nogil=True)
def _read(data: Bytes, time: Int64, prices: Float64, volume: Float64, shape: Any, divisor: float) -> int:
    at = row = day = 0
    date = np.uint64(0)
    while at < len(data):
        if at + 2 * WORD_BYTES > len(data):
            return OTHER
        word, clock = load_word(data, at), load_word(data, at + WORD_BYTES)
        if word != date:
            number = word_digits(word)
            day = civil_day(number // 10_000, number // 100 % 100, number % 100)
            if number < 0 or day < 0:
                return OTHER
            date = word
        second = _second(clock)
        if second < 0:
            return OTHER
        time[row] = (86_400 * day + second) * _SECOND_NS
        at += 2 * WORD_BYTES
        for field in range(4):
            at = _price(data, at, prices, field, row, shape, divisor)
            if at < 0:
                return OTHER
        first = at
        at, number = _digits(data, at)
        if not 0 < at - first <= _MOST_DIGITS:
            return OTHER
        volume[row] = number
        if at < len(data) and data[at] == _RETURN:
            at += 1
        if at >= len(data) or data[at] != _END:
            return OTHER
        at += 1
        row += 1
    return row


@numba.njit(cache=True, nogil=True)
def _second(clock: Any) -> int:
    # " hhmmss;" to the second of the day.
    if clock & np.uint64(255) != np.uint64(_BLANK) or clock >> np.uint64(56) != np.uint64(_DELIMITER):
        return OTHER
    digits = ((clock >> np.uint64(8)) & np.uint64(0xFFFFFFFFFFFF)) << np.uint64(16)
    number = word_digits(digits | np.uint64(0x3030))
    hour, minute, second = number // 10_000, number // 100 % 100, number % 100
    if number < 0 or hour > 23 or minute > 59 or second > 59:
        return OTHER
    return 3_600 * hour + 60 * minute + second


@numba.njit(cache=True, nogil=True)
def _price(data: Bytes, at: int, prices: Float64, field: int, row: int, shape: Any, divisor: float) -> int:
    # A price and the delimiter behind it: of the block's usual shape, else digit by digit.
    end: Any = at + np.int64(shape[0])
    if end > at and at + WORD_BYTES <= len(data) and data[end] == _DELIMITER:
        number = word_price(load_word(data, at), shape)
        if number >= 0:
            prices[field, row] = number / divisor
            return end + 1
    first = at
    at, number = _digits(data, first)
    digits = at - first
    decimals = 0
    if not 0 < digits <= _MOST_DIGITS or at >= len(data):
        return OTHER
    if data[at] == _POINT:
        first = at + 1
        at, fraction = _digits(data, first)
        decimals = at - first
        if decimals == 0 or digits + decimals > _MOST_DIGITS:
            return OTHER
        number = number * int(_POWERS[decimals]) + fraction
    if at >= len(data) or data[at] != _DELIMITER:
        return OTHER
    prices[field, row] = number / _POWERS[decimals]
    return at + 1


@numba.njit(cache=True, nogil=True)
def _digits(data: Bytes, at: int) -> tuple[int, int]:
    # Longer numbers than can be used overflow, and are refused by their length.
    number = 0
    while at < len(data):
        digit = int(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            break
        number = number * 10 + digit
        at += 1
    return at, number

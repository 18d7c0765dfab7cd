"""Candles as JSON text, written into one buffer by a compiled loop.

Prices are rounded exactly as `"%.5f" % price` rounds them: to the nearest decimal of the double's true value, and a
tie to the even one.
"""

import threading
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import DataError
from fx_pipeline.market.words import WORD_BYTES, digits_word, load_word, store_word

Bytes = npt.NDArray[np.uint8]

_SECOND_NS = 1_000_000_000
#: Above it, a price times ten to the decimals has no exact integer part.
_LARGEST = 2.0**52
_TENS, _ONES = (ord("0") + digits.astype(np.uint8) for digits in np.divmod(np.arange(100), 10))
_TIME_LENGTH = 30
_POINT, _DASH, _COLON, _T, _Z = (ord(character) for character in ".-:TZ")
_POWERS = np.array([10**exponent for exponent in range(20)], np.uint64)
# Splits a double into two halves of 26 bits, whose products are exact (Dekker, 1971).
_SPLITTER = 2.0**27 + 1.0
_kept = threading.local()


def encode_candles(
    time_ns: npt.NDArray[np.int64],
    volume: npt.NDArray[np.int64],
    complete: npt.NDArray[np.bool_],
    prices: npt.NDArray[np.float64],
    sides: tuple[str, ...],
    decimals: int,
    unix: bool,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Return candles as the elements of a JSON array, joined by commas, without the brackets.

    Parameters
    ----------
    time_ns : (T,) int64
        UTC nanoseconds, from 1970 on.
    volume : (T,) int64
        Not negative.
    complete : (T,) bool
    prices : (T, S, 4) float64
        Open, high, low and close of each side, positive.
    sides : tuple of str
        Names of the S sides.
    decimals : int
        Of a price.
    unix : bool
        UNIX seconds in place of RFC 3339.
    before, after : bytes
        What the text begins and ends with.

    Raises
    ------
    DataError
        If a price is not positive, not finite, or too large for so many decimals.
    """
    if not len(time_ns):
        return before + after
    # Of prices one of which is NaN, that is the least and the largest.
    if not (prices.min() > 0.0 and prices.max() < _LARGEST / 10.0**decimals):
        raise DataError("a stored candle has a price that cannot be sent: import the candles again.")
    text, offsets = _literals(sides)
    columns = prices.reshape(len(time_ns), 4 * len(sides))
    width = len(text) + 5 + 20 + 30 + columns.shape[1] * 20
    # Words reach a little over what they are to write.
    buffer = _room(len(before) + len(time_ns) * width + WORD_BYTES + len(after))
    begin = len(before)
    buffer[:begin] = np.frombuffer(before, np.uint8)
    end = _encode(buffer, begin, time_ns, volume, complete, columns, text, offsets, decimals, unix)
    buffer[end : end + len(after)] = np.frombuffer(after, np.uint8)
    return buffer[: end + len(after)].tobytes()


def warm_up() -> None:
    """Compile or load what encodes candles: the first time on a machine, that takes longer than clients wait."""
    one = np.ones(1, np.int64)
    encode_candles(one, one, one.astype(np.bool_), np.ones((1, 1, 4)), ("mid",), 5, False)


def _literals(sides: tuple[str, ...]) -> tuple[Bytes, npt.NDArray[np.int64]]:
    # The constant texts around the values of a candle, joined, and where each begins and ends.
    pieces = ['{"complete":', ',"volume":', ',"time":"']
    for number, side in enumerate(sides):
        pieces += [f'"{"}" if number else ""},"{side}":{{"o":"', *(f'","{field}":"' for field in "hlc")]
    pieces.append('"}},')
    offsets = np.cumsum([0, *map(len, pieces)])
    padding = "\0" * WORD_BYTES
    return np.frombuffer("".join([*pieces, padding]).encode(), np.uint8), offsets.astype(np.int64)


def _room(size: int) -> Bytes:
    # Each thread keeps its buffer: the system clears every page of memory that is new.
    buffer: Bytes | None = getattr(_kept, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _kept.buffer = np.empty(size, np.uint8)
    return buffer


@numba.njit(cache=True, nogil=True)
def _encode(
    out: Bytes,
    at: int,
    time_ns: npt.NDArray[np.int64],
    volume: npt.NDArray[np.int64],
    complete: npt.NDArray[np.bool_],
    prices: npt.NDArray[np.float64],
    text: Bytes,
    offsets: npt.NDArray[np.int64],
    decimals: int,
    unix: bool,
) -> int:
    before = 0
    scale = 10.0**decimals
    for row in range(len(time_ns)):
        at = _copy(out, at, text, offsets, 0)
        if complete[row]:
            word = (116, 114, 117, 101, 0)
            length = 4
        else:
            word = (102, 97, 108, 115, 101)
            length = 5
        for position in range(length):
            out[at + position] = word[position]
        at = _copy(out, at + length, text, offsets, 1)
        at = _integer(out, at, volume[row], 1)
        at = _copy(out, at, text, offsets, 2)
        if row and not unix and _on_the_same_day(time_ns[row - 1], time_ns[row]):
            begin, at = at, _time_of_day(out, at, before, time_ns[row])
        else:
            begin, at = at, _time(out, at, time_ns[row], unix)
        before = begin
        for column in range(prices.shape[1]):
            at = _copy(out, at, text, offsets, 3 + column)
            at = _price(out, at, prices[row, column], scale, decimals)
        at = _copy(out, at, text, offsets, 3 + prices.shape[1])
    return at - 1


@numba.njit(cache=True, nogil=True)
def _copy(out: Bytes, at: int, text: Bytes, offsets: npt.NDArray[np.int64], piece: int) -> int:
    length = offsets[piece + 1] - offsets[piece]
    for position in range(0, length, WORD_BYTES):
        store_word(out, at + position, load_word(text, offsets[piece] + position))
    return at + length


@numba.njit(cache=True, nogil=True)
def _integer(out: Bytes, at: int, value: int, least_digits: int) -> int:
    # Unsigned, because a signed division rounds and checks more.
    rest = np.uint64(value)
    return _write(out, at, rest, _digits(rest, least_digits))


@numba.njit(cache=True, nogil=True)
def _digits(value: Any, least_digits: int) -> int:
    digits = least_digits
    while digits < 19 and value >= _POWERS[digits]:
        digits += 1
    return digits


@numba.njit(cache=True, nogil=True)
def _write(out: Bytes, at: int, value: Any, digits: int) -> int:
    if digits <= WORD_BYTES:
        store_word(out, at, digits_word(value) >> np.uint64(8 * (WORD_BYTES - digits)))
        return at + digits
    position = at + digits
    while position > at + 1:
        quotient = value // np.uint64(100)
        pair = np.int64(value - np.uint64(100) * quotient)
        position -= 2
        out[position] = _TENS[pair]
        out[position + 1] = _ONES[pair]
        value = quotient
    if position > at:
        out[at] = _ONES[np.int64(value - value // np.uint64(100) * np.uint64(100))]
    return at + digits


@numba.njit(cache=True, nogil=True)
def _price(out: Bytes, at: int, price: float, scale: float, decimals: int) -> int:
    number = np.uint64(_rounded(price, scale))
    if decimals == 0:
        return _write(out, at, number, _digits(number, 1))
    digits = _digits(number, decimals + 1)
    if digits <= WORD_BYTES:
        # All digits from one word, written twice: in front of the point, and behind it.
        word = digits_word(number) >> np.uint64(8 * (WORD_BYTES - digits))
        whole_digits = digits - decimals
        store_word(out, at, word)
        store_word(out, at + whole_digits + 1, word >> np.uint64(8 * whole_digits))
        out[at + whole_digits] = _POINT
        return at + digits + 1
    unit = np.uint64(scale)
    whole = number // unit
    at = _write(out, at, whole, _digits(whole, 1))
    out[at] = _POINT
    return _write(out, at + 1, number - whole * unit, decimals)


@numba.njit(cache=True, nogil=True)
def _rounded(price: float, scale: float) -> int:
    product = price * scale
    nearest = np.rint(product)
    # Far from a half, the error of the product does not matter.
    if abs(product - nearest) < 0.25:
        return int(nearest)
    # Else the product as the sum of two doubles without an error, so that the comparison with a half is exact.
    high = _SPLITTER * price - (_SPLITTER * price - price)
    low = price - high
    scale_high = _SPLITTER * scale - (_SPLITTER * scale - scale)
    scale_low = scale - scale_high
    error = ((high * scale_high - product) + high * scale_low + low * scale_high) + low * scale_low
    whole = int(np.floor(product))
    above_half = (product - whole - 0.5) + error
    if above_half > 0.0 or (above_half == 0.0 and whole % 2 == 1):
        whole += 1
    return whole


@numba.njit(cache=True, nogil=True)
def _on_the_same_day(before_ns: int, time_ns: int) -> bool:
    # And on the same fraction of a second.
    same_fraction = (time_ns - before_ns) % _SECOND_NS == 0
    return same_fraction and before_ns // (86_400 * _SECOND_NS) == time_ns // (86_400 * _SECOND_NS)


@numba.njit(cache=True, nogil=True)
def _time_of_day(out: Bytes, at: int, before: int, time_ns: int) -> int:
    # The text that stands at `before`, with another hour, minute and second.
    for position in range(0, _TIME_LENGTH, WORD_BYTES):
        store_word(out, at + position, load_word(out, before + position))
    second = time_ns // _SECOND_NS % 86_400
    pair = second // 3_600
    out[at + 11], out[at + 12] = _TENS[pair], _ONES[pair]
    pair = second // 60 % 60
    out[at + 14], out[at + 15] = _TENS[pair], _ONES[pair]
    pair = second % 60
    out[at + 17], out[at + 18] = _TENS[pair], _ONES[pair]
    return at + _TIME_LENGTH


@numba.njit(cache=True, nogil=True)
def _time(out: Bytes, at: int, time_ns: int, unix: bool) -> int:
    seconds = time_ns // _SECOND_NS
    fraction = time_ns % _SECOND_NS
    if unix:
        at = _integer(out, at, seconds, 1)
        out[at] = _POINT
        return _integer(out, at + 1, fraction, 9)
    # Days to the civil date, in years that begin on 1 March (Hinnant, "chrono-compatible low-level date algorithms").
    days = seconds // 86_400 + 719_468
    second = seconds % 86_400
    era_day = days % 146_097
    era_year = (era_day - era_day // 1_460 + era_day // 36_524 - era_day // 146_096) // 365
    year_day = era_day - (365 * era_year + era_year // 4 - era_year // 100)
    month_number = (5 * year_day + 2) // 153
    day = year_day - (153 * month_number + 2) // 5 + 1
    month = month_number + 3 if month_number < 10 else month_number - 9
    year = era_year + days // 146_097 * 400 + (1 if month <= 2 else 0)
    at = _integer(out, at, year, 4)
    at = _separated(out, at, _DASH, month, 2)
    at = _separated(out, at, _DASH, day, 2)
    at = _separated(out, at, _T, second // 3_600, 2)
    at = _separated(out, at, _COLON, second // 60 % 60, 2)
    at = _separated(out, at, _COLON, second % 60, 2)
    at = _separated(out, at, _POINT, fraction, 9)
    out[at] = _Z
    return at + 1


@numba.njit(cache=True, nogil=True)
def _separated(out: Bytes, at: int, separator: int, value: int, digits: int) -> int:
    out[at] = separator
    return _integer(out, at + 1, value, digits)

"""Parts of compiled readers and writers of text: eight bytes at a time, decimals in them, and dates.

A price is read from one word when it has the shape that is expected: so many digits before the point, so many behind
it. What is read is to the bit what `float` makes of the same text: the digits are exact, and divided once.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Words = npt.NDArray[np.uint64]

WORD_BYTES = 8
#: What readers return when a text has another form than they read.
OTHER = -1
_ZEROS = 0x3030303030303030
_ASCII_ZEROS, _TO_HIGH_BIT, _HIGH_BITS = (np.uint64(word) for word in (_ZEROS, 0x7676767676767676, 0x8080808080808080))
_POINT = np.uint64(ord("."))
_MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def as_word(text: str) -> np.uint64:
    """Return up to eight ASCII characters as the word that they are in memory."""
    return np.uint64(int.from_bytes(text.encode(), "little"))


def price_shape(whole: int, decimals: int) -> tuple[Words, float]:
    """Return what `word_price` needs to know of a price with so many digits before and behind the point.

    Returns
    -------
    (7,) uint64, float
        Length of the price, masks and shifts; and the divisor. A length of 0 says that no such price fits a word.
    """
    length = whole + 1 + decimals
    if not 0 < whole < length - 1 < WORD_BYTES - 1:
        return np.zeros(7, np.uint64), 1.0
    unused = 8 * (WORD_BYTES + 1 - length)
    masks = [2 ** (8 * whole) - 1, 2 ** (8 * decimals) - 1, _ZEROS & (2**unused - 1)]
    return np.array([length, *masks, 8 * whole, 8 * (whole + 1), unused], np.uint64), 10.0**decimals


@intrinsic
def load_word(typingctx, data, at):  # type: ignore[no-untyped-def]
    """Eight bytes of an array of bytes from `at` on, the first one lowest; the caller knows that they are there."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), codegen


@intrinsic
def store_word(typingctx, data, at, word):  # type: ignore[no-untyped-def]
    """Put a word's eight bytes into an array of bytes from `at` on; the caller knows that there is room."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), codegen


@numba.njit(cache=True, nogil=True)
def word_price(word: Any, shape: Words) -> int:
    """Return the digits of the price at the start of a word as one number, or `OTHER` if it has another shape."""
    whole_bits = shape[4]
    if (word >> whole_bits) & np.uint64(255) != _POINT:
        return OTHER
    digits = (word & shape[1]) | (((word >> shape[5]) & shape[2]) << whole_bits)
    # Digits stand at the end of the word, behind zeros.
    return word_digits((digits << shape[6]) | shape[3])


@numba.njit(cache=True, nogil=True)
def word_digits(word: Any) -> int:
    """Return the number that eight characters say, or `OTHER` if one of them is no digit."""
    digits = word ^ _ASCII_ZEROS
    if ((digits + _TO_HIGH_BIT) | digits) & _HIGH_BITS:
        return OTHER
    # Neighbours are joined three times.
    digits = (digits * np.uint64(2_561)) >> np.uint64(8)
    digits = ((digits & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6_553_601)) >> np.uint64(16)
    digits = (digits & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42_949_672_960_001)
    number: Any = np.int64(digits >> np.uint64(32))
    return number


@numba.njit(cache=True, nogil=True)
def digits_word(number: Any) -> Any:
    """Return the eight decimal digits of a uint64 below 10^8 as characters, the first one lowest."""
    # Halves, quarters and digits are told apart by multiplication, each in its own lane.
    high = number // np.uint64(10_000)
    halves = high | ((number - high * np.uint64(10_000)) << np.uint64(32))
    tops = ((halves * np.uint64(10_486)) >> np.uint64(20)) & np.uint64(0x0000007F0000007F)
    quarters = ((halves - np.uint64(100) * tops) << np.uint64(16)) + tops
    tens = ((quarters * np.uint64(103)) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    return (((quarters - np.uint64(10) * tens) << np.uint64(8)) + tens) | _ASCII_ZEROS


@numba.njit(cache=True, nogil=True)
def civil_day(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date up to 2200, or `OTHER` if there is no such date."""
    if year < 1970 or year > 2200 or month < 1 or month > 12 or day < 1 or day > _MONTH_DAYS[month]:
        return OTHER
    if month == 2 and day == 29 and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        return OTHER
    # The civil date to days, in years that begin on 1 March (Hinnant).
    if month <= 2:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469

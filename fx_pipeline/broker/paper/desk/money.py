"""Decimal money, prices and units: rounding, wire text and parsing."""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

ZERO = Decimal(0)
ONE = Decimal(1)
TWO = Decimal(2)
#: No amount, as it is shown.
NOTHING = Decimal("0.0000")
#: OANDA shows amounts of the account with four decimals.
MONEY_STEP = Decimal("0.0001")
_FINE_STEP = Decimal("0.00000000000001")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})")


def money(amount: Decimal) -> Decimal:
    """Round an amount of the account to four decimals, half to even; a negative zero becomes a positive one."""
    return amount.quantize(MONEY_STEP, ROUND_HALF_EVEN) + ZERO


def money_text(amount: Decimal) -> str:
    """Return an amount of the account as OANDA shows it: four decimals."""
    return str(money(amount))


def fine_text(amount: Decimal) -> str:
    """Return an amount with the fourteen decimals of OANDA's base-currency fields."""
    return f"{amount.quantize(_FINE_STEP, ROUND_HALF_EVEN) + ZERO:f}"


def plain_text(number: Decimal) -> str:
    """Return a number without exponent and without trailing zeros."""
    return f"{number.normalize():f}" if number else "0"


def decimal_of(value: Any) -> Decimal | None:
    """Read a decimal number of a request: a plain decimal string or a JSON number.

    Returns
    -------
    Decimal or None
        None where the value is no such number: a boolean, an exponent, words, more digits than prices have.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = value if isinstance(value, str) else repr(value)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def decimals_of(number: Decimal) -> int:
    """Return how many decimals a number needs: 1.2300 needs two."""
    return len(f"{number:f}".partition(".")[2].rstrip("0"))

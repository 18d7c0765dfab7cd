"""A quote: what the market side of the paper broker tells the desk and the price streams."""

from decimal import Decimal
from typing import NamedTuple


class Quote(NamedTuple):
    """Top of the book of one instrument at one instant.

    Attributes
    ----------
    instrument : str
        OANDA's name.
    time_ns : int
        UTC nanoseconds of the market's clock.
    bid, ask : Decimal
        With the instrument's display precision; `ask >= bid`.
    tradeable : bool
        Whether orders fill now: false in the weekend, the daily break, on holidays and while halted.
    """

    instrument: str
    time_ns: int
    bid: Decimal
    ask: Decimal
    tradeable: bool

"""Instruments under their OANDA names: what they are, and the precision of their prices and units."""

import difflib
from dataclasses import dataclass
from typing import Literal

from fx_pipeline.market.errors import DataError

# Every currency pair and metal of OANDA's v20 instrument list that this project can trade.
_PAIRS = """
AUD_CAD AUD_CHF AUD_HKD AUD_JPY AUD_NZD AUD_SGD AUD_USD CAD_CHF CAD_HKD CAD_JPY CAD_SGD CHF_HKD CHF_JPY CHF_ZAR
EUR_AUD EUR_CAD EUR_CHF EUR_CZK EUR_DKK EUR_GBP EUR_HKD EUR_HUF EUR_JPY EUR_NOK EUR_NZD EUR_PLN EUR_SEK EUR_SGD
EUR_TRY EUR_USD EUR_ZAR GBP_AUD GBP_CAD GBP_CHF GBP_HKD GBP_JPY GBP_NZD GBP_PLN GBP_SGD GBP_USD GBP_ZAR HKD_JPY
NZD_CAD NZD_CHF NZD_HKD NZD_JPY NZD_SGD NZD_USD SGD_CHF SGD_HKD SGD_JPY TRY_JPY USD_CAD USD_CHF USD_CNH USD_CZK
USD_DKK USD_HKD USD_HUF USD_INR USD_JPY USD_MXN USD_NOK USD_PLN USD_SAR USD_SEK USD_SGD USD_THB USD_TRY USD_ZAR
ZAR_JPY XAU_USD XAG_USD BTC_USD
""".split()

# (pip location, display precision) by quote currency, then by exception.
_BY_QUOTE = {"JPY": (-2, 3), "HUF": (-2, 3), "THB": (-2, 3), "INR": (-2, 3)}
_EXCEPTIONS = {"XAU_USD": (-2, 3), "XAG_USD": (-4, 5), "BTC_USD": (0, 1), "HKD_JPY": (-4, 5)}
_METALS = frozenset(("XAU", "XAG", "XPT", "XPD"))
_CRYPTO = frozenset(("BTC", "BCH", "ETH", "LTC"))
# OANDA has taken bitcoin in steps of 0.01 since August 2021; currencies and ounces come whole.
_CRYPTO_UNITS_PRECISION = 2

Kind = Literal["currency", "metal", "crypto"]


@dataclass(frozen=True)
class Instrument:
    """A tradeable instrument.

    Attributes
    ----------
    name : str
        OANDA's name, base and quote currency joined by an underscore.
    pip_location : int
        Power of ten of one pip.
    display_precision : int
        Decimals of a price on the wire.
    """

    name: str
    pip_location: int
    display_precision: int

    @property
    def pip(self) -> float:
        """Size of one pip in units of the quote currency."""
        return 10.0**self.pip_location

    @property
    def kind(self) -> Kind:
        """What is traded: a currency pair, a metal, or a crypto currency."""
        if self.base in _METALS:
            return "metal"
        return "crypto" if self.base in _CRYPTO else "currency"

    @property
    def units_precision(self) -> int:
        """Decimals of an order's units; the smallest order is one of the last decimal."""
        return _CRYPTO_UNITS_PRECISION if self.kind == "crypto" else 0

    @property
    def base(self) -> str:
        """Base currency."""
        return self.name.split("_")[0]

    @property
    def quote(self) -> str:
        """Quote currency."""
        return self.name.split("_")[1]


def _build(name: str) -> Instrument:
    location, precision = _EXCEPTIONS.get(name) or _BY_QUOTE.get(name.split("_")[1], (-4, 5))
    return Instrument(name, location, precision)


_INSTRUMENTS = {name: _build(name) for name in _PAIRS}


def known_instruments() -> tuple[str, ...]:
    """Return the names of all known instruments, sorted."""
    return tuple(sorted(_INSTRUMENTS))


def instrument(name: str) -> Instrument:
    """Return the instrument of that OANDA name.

    Raises
    ------
    DataError
        If the name is unknown; near matches are offered.
    """
    found = _INSTRUMENTS.get(name)
    if found is None:
        guess = name.upper().replace("/", "_").replace("-", "_")
        if len(guess) == 6 and "_" not in guess:
            guess = f"{guess[:3]}_{guess[3:]}"
        near = difflib.get_close_matches(guess, _INSTRUMENTS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "names look like GBP_JPY."
        raise DataError(f"unknown instrument {name!r}: {hint}")
    return found

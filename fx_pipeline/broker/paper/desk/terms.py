"""Terms of trade by instrument: precision, sizes, margin and financing."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk.money import TWO, plain_text
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.market.financing import interest_percent
from fx_pipeline.market.instrument import instrument

DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
# Trades settle two days later, so what is held over Wednesday 17:00 pays for the weekend.
_DAYS_CHARGED = (1, 1, 3, 1, 1, 0, 0)
_MAJORS = frozenset(("EUR_USD", "GBP_USD", "USD_JPY", "USD_CHF", "USD_CAD", "AUD_USD", "NZD_USD"))
# As OANDA has them: majors 50:1, other pairs and gold 20:1, other metals 10:1, crypto 2:1, the lira 4:1; rand and peso
# as a practice account had them in September 2026.
_MAJOR_MARGIN = Decimal("0.02")
_MARGIN = Decimal("0.05")
_MARGIN_BY_KIND = {"metal": Decimal("0.1"), "crypto": Decimal("0.5")}
_MARGIN_BY_CURRENCY = {"XAU": _MARGIN, "TRY": Decimal("0.25"), "MXN": Decimal("0.1"), "ZAR": Decimal("0.07")}
#: What the broker keeps of the interest differential, a year, on either side.
_FINANCING_MARKUP = Decimal("0.01")
_NAMES = {"XAU_USD": "Gold", "XAG_USD": "Silver", "BTC_USD": "Bitcoin"}
_TYPES = {"currency": "CURRENCY", "metal": "METAL", "crypto": "CFD"}
_TRAILING_PIPS = (Decimal(5), Decimal(10_000))


@dataclass(frozen=True)
class InstrumentTerms:
    """What the desk must know of an instrument.

    Attributes
    ----------
    name, base, quote : str
        OANDA's name and its two currencies.
    kind : str
        CURRENCY, METAL or CFD.
    pip_location, display_precision : int
        Power of ten of a pip; decimals of a price.
    step : Decimal
        Smallest price step that is shown.
    margin_rate : Decimal
        Margin as a share of the position's value.
    financing_long, financing_short : Decimal
        Annual rates on the position's value; positive pays the account.
    trailing_minimum, trailing_maximum : Decimal
        Bounds of a trailing stop's distance, in price units.
    units_precision : int
        Decimals of units, in orders and in closes of a part.
    units_maximum : Decimal
        Largest order, in units of the base currency.
    """

    name: str
    base: str
    quote: str
    kind: str
    pip_location: int
    display_precision: int
    step: Decimal
    margin_rate: Decimal
    financing_long: Decimal
    financing_short: Decimal
    trailing_minimum: Decimal
    trailing_maximum: Decimal
    units_precision: int = 0
    units_maximum: Decimal = Decimal(100_000_000)

    @property
    def units_minimum(self) -> Decimal:
        """Smallest order, and the step of all."""
        return Decimal(1).scaleb(-self.units_precision)

    def price(self, price: Decimal) -> Decimal:
        """Round a price to the precision that is shown."""
        return price.quantize(self.step, ROUND_HALF_EVEN)

    def price_text(self, price: Decimal) -> str:
        """Return a price as a decimal string of the wire."""
        return f"{price.quantize(self.step, ROUND_HALF_EVEN):f}"

    def mid(self, quote: Quote) -> Decimal:
        """Return the middle of a quote, at the precision that OANDA's conversion factors show."""
        return ((quote.bid + quote.ask) / TWO).quantize(self.step, ROUND_HALF_EVEN)

    def days_charged(self, weekday: int) -> int:
        """Return for how many days the rollover of that weekday (Monday is 0) charges."""
        return _DAYS_CHARGED[weekday]

    def body(self, margin_rate: Decimal) -> dict[str, Any]:
        """Return the instrument as GET /instruments shows it."""
        return {
            "name": self.name,
            "type": self.kind,
            "displayName": _NAMES.get(self.name, self.name.replace("_", "/")),
            "pipLocation": self.pip_location,
            "displayPrecision": self.display_precision,
            "tradeUnitsPrecision": self.units_precision,
            "minimumTradeSize": f"{self.units_minimum:f}",
            "maximumTrailingStopDistance": self.price_text(self.trailing_maximum),
            "minimumTrailingStopDistance": self.price_text(self.trailing_minimum),
            "maximumPositionSize": "0",
            "maximumOrderUnits": plain_text(self.units_maximum),
            "marginRate": plain_text(margin_rate),
            "guaranteedStopLossOrderMode": "DISABLED",
            "tags": [{"type": "ASSET_CLASS", "name": self.kind}],
            "financing": {
                "longRate": plain_text(self.financing_long),
                "shortRate": plain_text(self.financing_short),
                "financingDaysOfWeek": [
                    {"dayOfWeek": name, "daysCharged": days} for name, days in zip(DAYS, _DAYS_CHARGED, strict=True)
                ],
            },
        }


def instrument_terms(name: str, config: AccountConfig) -> InstrumentTerms:
    """Return the terms of an instrument for an account.

    Raises
    ------
    DataError
        If the name is unknown.
    """
    pair = instrument(name)
    step = Decimal(1).scaleb(-pair.display_precision)
    pip = Decimal(1).scaleb(pair.pip_location)
    margin = next(
        (_MARGIN_BY_CURRENCY[currency] for currency in (pair.base, pair.quote) if currency in _MARGIN_BY_CURRENCY), None
    )
    margin = margin or _MARGIN_BY_KIND.get(pair.kind) or (_MAJOR_MARGIN if name in _MAJORS else _MARGIN)
    differential = (interest_percent(pair.base) - interest_percent(pair.quote)) / 100
    return InstrumentTerms(
        name=name,
        base=pair.base,
        quote=pair.quote,
        kind=_TYPES[pair.kind],
        pip_location=pair.pip_location,
        display_precision=pair.display_precision,
        step=step,
        margin_rate=config.margin_rate or margin,
        financing_long=config.financing_long.get(name, differential - _FINANCING_MARKUP),
        financing_short=config.financing_short.get(name, -differential - _FINANCING_MARKUP),
        trailing_minimum=_TRAILING_PIPS[0] * pip,
        trailing_maximum=_TRAILING_PIPS[1] * pip,
        units_precision=pair.units_precision,
    )

"""The newest quotes, and conversion between an instrument's currencies and the home currency."""

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import NamedTuple

from fx_pipeline.broker.paper.desk.money import ONE, ZERO, plain_text
from fx_pipeline.broker.paper.desk.terms import InstrumentTerms
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.levels import typical_price

#: Significant digits of a rate that is computed and not quoted.
_RATE_DIGITS = Context(prec=10)


class Factors(NamedTuple):
    """Home-currency value of one unit of a currency.

    Attributes
    ----------
    mid : Decimal
        For values of positions and margins.
    gain, loss : Decimal
        For gains and losses: worse than `mid` by the conversion charge, except for the home currency.
    gain_text, loss_text : str
        On the wire.
    """

    mid: Decimal
    gain: Decimal
    loss: Decimal
    gain_text: str
    loss_text: str

    def of(self, amount: Decimal) -> Decimal:
        """Convert a gain or a loss."""
        return amount * (self.loss if amount < ZERO else self.gain)


class Book:
    """Newest quote of every instrument, and conversion at the mid rates of the quotes.

    A currency is converted over its direct or inverse pair, else over the fewest quoted pairs (ties by name), else at a
    level of early 2024, which `assumed` then names.
    """

    def __init__(self, terms: Iterable[InstrumentTerms], home: str, charge: Decimal) -> None:
        self.terms = {item.name: item for item in terms}
        self.home = home
        self.quotes: dict[str, Quote] = {}
        self.assumed: dict[str, Decimal] = {}
        self._charge = charge
        self._factors: dict[str, Factors] = {home: Factors(ONE, ONE, ONE, "1", "1")}
        self._paths: dict[str, list[tuple[str, bool]] | None] = {home: []}
        self._used: dict[str, set[str]] = {}

    def put(self, quote: Quote) -> None:
        """Take a quote as the newest of its instrument."""
        name = quote.instrument
        first = name not in self.quotes
        self.quotes[name] = quote
        if first:
            # A new pair may open a shorter way to the home currency.
            self._factors = {self.home: self._factors[self.home]}
            self._paths = {self.home: []}
            self._used = {}
            self.assumed = {}
        for currency in self._used.get(name, ()):
            self._factors.pop(currency, None)

    def converts_with(self, name: str) -> bool:
        """Whether a rate in use depends on that instrument's quotes."""
        return name in self._used

    def mid(self, name: str) -> Decimal | None:
        """Return the mid price of an instrument, None before its first quote."""
        quote = self.quotes.get(name)
        return None if quote is None else self.terms[name].mid(quote)

    def factors(self, currency: str) -> Factors:
        """Return what one unit of a currency is worth in the home currency."""
        found = self._factors.get(currency)
        if found is None:
            mid = self._rate(currency)
            gain, loss = mid * (ONE - self._charge), mid * (ONE + self._charge)
            found = self._factors[currency] = Factors(mid, gain, loss, plain_text(gain), plain_text(loss))
        return found

    def route(self, currency: str) -> list[str]:
        """Return the instruments over which a currency is converted; none where a level has to be assumed."""
        return [name for name, _ in self._path(currency) or ()]

    def _rate(self, currency: str) -> Decimal:
        path = self._path(currency)
        if path is None:
            return self.assumed.setdefault(f"{currency}_{self.home}", _typical_rate(currency, self.home))
        rate = ONE
        for name, inverse in path:
            mid = self.terms[name].mid(self.quotes[name])
            rate = _RATE_DIGITS.divide(rate, mid) if inverse else rate * mid
        return rate if len(path) == 1 else _RATE_DIGITS.plus(rate)

    def _path(self, currency: str) -> list[tuple[str, bool]] | None:
        if currency not in self._paths:
            path = self._paths[currency] = self._search(currency)
            for name, _ in path or ():
                self._used.setdefault(name, set()).add(currency)
        return self._paths[currency]

    def _search(self, currency: str) -> list[tuple[str, bool]] | None:
        reached: dict[str, list[tuple[str, bool]]] = {currency: []}
        frontier = [currency]
        while frontier and self.home not in reached:
            following = []
            for name in sorted(self.quotes):
                terms = self.terms[name]
                for start, end, inverse in ((terms.base, terms.quote, False), (terms.quote, terms.base, True)):
                    if start in frontier and end not in reached:
                        reached[end] = [*reached[start], (name, inverse)]
                        following.append(end)
            frontier = following
        return reached.get(self.home)


def _typical_rate(currency: str, home: str) -> Decimal:
    known = known_instruments()
    if f"{currency}_{home}" in known:
        return Decimal(f"{typical_price(f'{currency}_{home}'):.6g}") + ZERO
    if f"{home}_{currency}" in known:
        return _RATE_DIGITS.divide(ONE, Decimal(f"{typical_price(f'{home}_{currency}'):.6g}"))
    return _RATE_DIGITS.multiply(_typical_rate(currency, "USD"), _typical_rate("USD", home))

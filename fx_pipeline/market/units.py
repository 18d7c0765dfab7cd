"""In which unit a network sees changes of price: about as many of them a day for every kind of instrument.

A pip is one for currency pairs. For metals and coins it is so small that `tanh(change / pip / 10)` is 1 in most minutes
and a value support of 300 pips holds few sessions: there a unit is many pips. Costs, rewards and reports stay in pips.

The table is fixed beforehand, and nothing is fitted on the data that it is used on: price of early 2024
(`levels.typical_price`) times a usual volatility a year, over the square root of the days that it is traded, over the
80 pips that a currency pair moves a day (the standard deviation of EUR_USD at 8 percent a year is 55, of GBP_JPY at 10
percent 117), to the next of 1, 2, 5 times a power of ten. The volatilities are round long-run figures of the field, of
no single publisher: gold 15 percent, silver 28, bitcoin 65; half or twice as much moves a unit by one step at most.
Prices and volatilities move by factors over decades, so a check shows how well a unit fits the data at hand.
"""

from functools import cache

from fx_pipeline.market.instrument import instrument, known_instruments

#: Pips of a unit by base; one of those that are not named.
_UNIT_PIPS = {"XAU": 20.0, "XAG": 50.0, "BTC": 20.0}
#: A price change of so many units is where `price_change_pips` has used up three quarters of its range (tanh 1).
CHANGE_UNITS = 10.0
#: The same of the position features.
POSITION_UNITS = 100.0


@cache
def unit_pips(name: str) -> float:
    """Return how many pips a unit of an instrument has; 1 for currency pairs and for made-up markets."""
    return _UNIT_PIPS.get(instrument(name).base, 1.0) if name in known_instruments() else 1.0


def price_unit(name: str) -> float:
    """Return the size of a unit in the quote currency.

    Raises
    ------
    DataError
        If the instrument is unknown.
    """
    return instrument(name).pip * unit_pips(name)

"""What holding a position over 17:00 New York costs, by instrument.

A broker pays the base currency's interest on a long position and takes the quote currency's, and keeps a fee on either
side. Which side gains has changed with the policy rates, and a model may be judged on any year: a judge charges the
whole difference, and the fee, to both sides. `docs/costs.md` has the table, with sources and dates.
"""

from decimal import Decimal

from fx_pipeline.market.instrument import instrument as find_instrument

DAYS_A_YEAR = 365
#: Policy rates of early 2024 in percent; metals and bitcoin pay none.
INTEREST_PERCENT = {
    "USD": "5.4", "EUR": "4.0", "GBP": "5.25", "JPY": "-0.1", "AUD": "4.35", "NZD": "5.5", "CAD": "5.0", "CHF": "1.75",
    "HKD": "5.75", "SGD": "3.7", "ZAR": "8.25", "TRY": "45", "MXN": "11.25", "NOK": "4.5", "SEK": "4.0", "DKK": "3.6",
    "PLN": "5.75", "HUF": "10", "CZK": "6.25", "CNH": "3.45", "THB": "2.5", "INR": "6.5", "SAR": "6.0",
}  # fmt: skip
#: What a broker keeps a year, in percent of the position: assumed for currencies; OANDA's admin fee of what it does not
#: take from currency swaps; the fee of other brokers' bitcoin CFDs.
FEE_PERCENT = {"currency": "1.0", "metal": "2.5", "crypto": "22.5"}


def interest_percent(currency: str) -> Decimal:
    """Return the policy rate of a currency, percent a year; 0 for what pays none."""
    return Decimal(INTEREST_PERCENT.get(currency, "0"))


def financing_rate(name: str) -> float:
    """Return what a judge charges a year for holding an instrument on either side, as a share of the position.

    Raises
    ------
    DataError
        If the name is unknown.
    """
    pair = find_instrument(name)
    difference = abs(interest_percent(pair.base) - interest_percent(pair.quote))
    return float((difference + Decimal(FEE_PERCENT[pair.kind])) / 100)

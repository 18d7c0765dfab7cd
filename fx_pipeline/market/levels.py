"""Rough price levels: where a synthetic market stands, and which level no data of an instrument can have."""

from fx_pipeline.market.instrument import instrument

# What one unit was worth in US dollars in early 2024, to two digits.
_USD_VALUE = {
    "USD": 1.0, "EUR": 1.09, "GBP": 1.27, "AUD": 0.66, "NZD": 0.61, "CAD": 0.74, "CHF": 1.14, "JPY": 0.0068,
    "HKD": 0.128, "SGD": 0.745, "ZAR": 0.053, "TRY": 0.032, "MXN": 0.058, "NOK": 0.095, "SEK": 0.096, "DKK": 0.146,
    "PLN": 0.25, "HUF": 0.0028, "CZK": 0.044, "CNH": 0.139, "THB": 0.028, "INR": 0.012, "SAR": 0.267,
    "XAU": 2050.0, "XAG": 23.5, "BTC": 45000.0,
}  # fmt: skip
#: How far from that value a unit may have been since 2000, as a factor.
_USUAL_FACTOR = 2.5
_FACTOR = {"USD": 1.0, "TRY": 60.0, "ZAR": 4.0, "XAU": 9.0, "XAG": 10.0, "BTC": 1e7}
#: The same upwards, where it is another: ten times the price is another scale.
_RISE = {"XAU": 6.0}


def typical_price(name: str) -> float:
    """Return the price of an instrument in early 2024, to about two digits."""
    pair = instrument(name)
    return _USD_VALUE[pair.base] / _USD_VALUE[pair.quote]


def plausible_range(name: str) -> tuple[float, float]:
    """Return the lowest and highest price that data of an instrument can have had since 2000, generously."""
    pair = instrument(name)
    base, quote = (_FACTOR.get(currency, _USUAL_FACTOR) for currency in (pair.base, pair.quote))
    return typical_price(name) / (base * quote), typical_price(name) * _RISE.get(pair.base, base) * quote

"""What it costs to cross the book, by instrument: the spread where no quotes are stored.

A spread is known in pips for majors and most crosses, and as a share of the price where that is what scales: metals,
crypto, and currencies whose level moves. It is that of the London session; a shape by hours since 17:00 New York widens
it around the rollover. Each figure names its source and the date of the quotes; `docs/costs.md` has the table. Where
quotes of an instrument are stored, the asset check `spread_model_fits` compares.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import DAY_MINUTES, week_minutes
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.instrument import known_instruments
from fx_pipeline.market.levels import plausible_range, typical_price

Float64 = npt.NDArray[np.float64]
Certainty = Literal["quoted", "approximate", "unknown"]

#: By hours since 17:00 New York (0 = 17:00-18:00), as multiples of the London session's spread: the shape of quoted
#: GBP_JPY spreads, wide around the daily rollover and a little wider in Asia.
SPREAD_SHAPE = np.array([5.0, 1.6, *[1.2] * 7, *[1.0] * 12, 1.3, 1.8, 1.8])
#: The same of OANDA's gold quotes of 2010 to 2015: mean of the medians at open and close of each hour.
METAL_SHAPE = np.array([3.8, 2.2, 1.3, 1.1, 1.06, 1.04, *[1.02] * 3, *[1.0] * 13, 1.04, 1.3])
#: Crypto is traded around the clock, and its quoted spread hardly depends on the hour.
FLAT_SHAPE = np.ones(24)

#: A typical London spread in pips; majors are quoted tighter than crosses.
LONDON_SPREAD_PIPS = {
    "EUR_USD": 1.2, "USD_JPY": 1.4, "GBP_USD": 1.6, "AUD_USD": 1.4, "USD_CAD": 1.8, "USD_CHF": 1.7, "NZD_USD": 1.6,
    "EUR_GBP": 1.3, "EUR_CHF": 1.4, "SGD_CHF": 1.6, "GBP_SGD": 3.8, "AUD_NZD": 3.8, "NZD_CHF": 4.0, "GBP_AUD": 4.2,
    "GBP_CAD": 4.5, "NZD_CAD": 4.7, "EUR_NZD": 6.3, "GBP_NZD": 9.2,
}  # fmt: skip
DEFAULT_LONDON_SPREAD_PIPS = 2.5
#: What entering costs by default under the fixed cost model, where a spread is not wider than a cross's.
FIXED_PIPS = 4.0
# That is 1.6 spreads of a cross, and so it stays for wider ones.
_FIXED_SPREADS = FIXED_PIPS / DEFAULT_LONDON_SPREAD_PIPS

_PRICING = (
    "OANDA's page 'Our pricing', one week of its hourly quotes (w-m-complete.pages.dev, spread hours) and quotes of "
    "its practice accounts in public repositories"
)
_RECORDED = "OANDA quotes recorded on a practice account (github.com/shaggyga/tradez, weekly recap)"
_WEEK = "31 August to 4 September 2026"
_GOLD = "OANDA's hourly bid and ask of gold (QuantConnect LEAN's sample data)"
_SILVER = (
    "one OANDA v20 pricing reply, 22.655 / 22.673, kept in a public trading bot's source; before 2024 the narrowest "
    "that other brokers published"
)
_BITCOIN = "help pages of other bitcoin CFD brokers, 3 (IUX) to 24 (SimpleFX) basis points; before 2022 FXCM's averages"
_LIRA = "FXCM's published averages; since 2022 OANDA's TRY_JPY, " + _RECORDED + ", less the yen's part"
_ASSUMED = "no published figure found: that of other emerging currencies"


@dataclass(frozen=True)
class SpreadModel:
    """The modelled spread of an instrument.

    Attributes
    ----------
    instrument : str
    unit : str
        "pips", or "share" of the price.
    values : tuple of (int, float)
        Spread of the London session from each New York year on, in order; the first year is the beginning of time.
    shape : (24,) float64
        Multiples of it by hours since 17:00 New York.
    certainty : str
        "quoted" when it rests on quotes of OANDA's, "approximate" when on others' published figures, else "unknown".
    source, quoted : str
        Where the figure comes from, and when those quotes were made.
    """

    instrument: str
    unit: Literal["pips", "share"]
    values: tuple[tuple[int, float], ...]
    shape: Float64
    certainty: Certainty
    source: str
    quoted: str

    def levels(self, time_ns: npt.NDArray[np.int64]) -> Float64:
        """Spread by time, in pips or as a share of the price.

        Parameters
        ----------
        time_ns : (T,) int64
            UTC nanoseconds.

        Returns
        -------
        (T,) float64
        """
        hours = (week_minutes(time_ns) % DAY_MINUTES) // 60
        if len(self.values) == 1:
            return np.asarray(self.values[0][1] * self.shape[hours])
        years = np.asarray(time_ns).astype("datetime64[ns]").astype("datetime64[Y]").astype(int) + 1970
        starts = [year for year, _ in self.values[1:]]
        eras = np.array([value for _, value in self.values])
        return np.asarray(eras[np.searchsorted(starts, years, side="right")] * self.shape[hours])

    def pips(self, time_ns: npt.NDArray[np.int64], price: npt.ArrayLike | None = None) -> Float64:
        """Spread in pips at prices.

        Parameters
        ----------
        time_ns : (T,) int64
        price : (T,) array-like, optional
            Needed where the spread is a share of it.

        Returns
        -------
        (T,) float64

        Raises
        ------
        DataError
            If the price is needed and absent.
        """
        levels = self.levels(time_ns)
        if self.unit == "pips":
            return levels
        if price is None:
            raise DataError(f"the spread of {self.instrument} is a share of its price: give the price as well.")
        return np.asarray(levels * np.asarray(price, dtype=np.float64) / find_instrument(self.instrument).pip)

    @property
    def london(self) -> float:
        """The newest spread of the London session, in pips or as a share of the price."""
        return self.values[-1][1]

    def describe(self) -> str:
        """Say the figure, its source and its date in one line."""
        if self.unit == "pips":
            figure = f"{self.london:g} pips"
        else:
            figure = f"{self.london * 1e4:g} basis points of the price"
        if len(self.values) > 1 and self.unit == "share":
            ends = [year - 1 for year, _ in self.values[1:]]
            eras = [f"{value * 1e4:g} to {end}" for (_, value), end in zip(self.values, ends, strict=False)]
            figure += f" since {self.values[-1][0]} ({', '.join(eras)})"
        return f"{figure} in the London session ({self.certainty}: {self.source}; {self.quoted})"


_BP = 1e-4
# Markets of the proofs, which no broker has: they cost what a currency cross does.
_MADE_UP = "SYNTHETIC_"
_Eras = tuple[tuple[int, float], ...]
# Those of the lira, silver and bitcoin were not what they are: FXCM's averages of 2018 to 2021 and, of silver, the
# narrowest of other brokers (two cents at 16.5 dollars), whose gold was as wide as OANDA's then.
_LIRA_ERAS: _Eras = ((0, 14.0), (2022, 32.0))
_SILVER_ERAS: _Eras = ((0, 12.0), (2024, 7.9))
_BITCOIN_ERAS: _Eras = ((0, 49.0), (2019, 24.0), (2021, 14.0), (2022, 9.0))
# Shares of the price, by pair where a pair was quoted on its own, else by the currency that makes it dear; either one
# for all years or, by the New York year from which each holds, several.
_SHARES: dict[str, tuple[float | _Eras, Certainty, str, str]] = {
    "ZAR_JPY": (22.0, "quoted", _RECORDED, _WEEK),
    "TRY_JPY": (34.0, "quoted", _RECORDED, _WEEK),
    "EUR_HUF": (5.7, "quoted", _RECORDED, _WEEK),
    "USD_HUF": (6.3, "quoted", _RECORDED, _WEEK),
    "USD_MXN": (2.4, "quoted", _RECORDED, _WEEK),
    "TRY": (_LIRA_ERAS, "approximate", _LIRA, f"2018 to 2021, and {_WEEK}"),
    "HUF": (6.0, "quoted", _RECORDED, _WEEK),
    "THB": (5.7, "quoted", _RECORDED, _WEEK),
    "ZAR": (4.9, "quoted", _RECORDED, _WEEK),
    "MXN": (2.4, "quoted", _RECORDED, _WEEK),
    "PLN": (3.9, "quoted", _RECORDED, _WEEK),
    "NOK": (3.1, "quoted", _RECORDED, _WEEK),
    "SEK": (3.1, "quoted", _RECORDED, _WEEK),
    "DKK": (2.3, "quoted", _RECORDED, _WEEK),
    "HKD": (2.0, "quoted", _RECORDED, _WEEK),
    "CZK": (4.0, "unknown", _ASSUMED, "none"),
    "CNH": (4.0, "unknown", _ASSUMED, "none"),
    "INR": (4.0, "unknown", _ASSUMED, "none"),
    "SAR": (4.0, "unknown", _ASSUMED, "none"),
    "XAG": (_SILVER_ERAS, "quoted", _SILVER, "1 February 2024"),
    "BTC": (_BITCOIN_ERAS, "approximate", _BITCOIN, "2016 to 2025"),
}  # fmt: skip
# The medians of OANDA's gold quotes by year, which fell for years and have stood since 2010.
_GOLD_SHARES = ((0, 12.6 * _BP), (2007, 6.6 * _BP), (2009, 5.0 * _BP), (2010, 2.4 * _BP))


def spread_model(name: str) -> SpreadModel:
    """Return the spread model of an instrument.

    Raises
    ------
    DataError
        If the name is unknown.
    """
    if name.startswith(_MADE_UP):
        return SpreadModel(
            name, "pips", ((0, DEFAULT_LONDON_SPREAD_PIPS),), SPREAD_SHAPE, "unknown", "a made-up market", "none"
        )
    pair = find_instrument(name)
    shape = {"metal": METAL_SHAPE, "crypto": FLAT_SHAPE, "currency": SPREAD_SHAPE}[pair.kind]
    if pair.base == "XAU":
        return SpreadModel(name, "share", _GOLD_SHARES, shape, "quoted", _GOLD, "March 2006 to September 2015")
    # In the order of the table: the dearer currency of the two decides.
    key = name if name in _SHARES else next((key for key in _SHARES if key in (pair.base, pair.quote)), None)
    if key is not None:
        share, certainty, source, quoted = _SHARES[key]
        eras = ((0, share),) if isinstance(share, float) else share
        values = tuple((year, value * _BP) for year, value in eras)
        return SpreadModel(name, "share", values, shape, certainty, source, quoted)
    if pair.kind != "currency":
        raise DataError(f"no spread of {name} is known: import bid and ask of it.")
    pips = LONDON_SPREAD_PIPS.get(name, DEFAULT_LONDON_SPREAD_PIPS)
    source = _PRICING if name in LONDON_SPREAD_PIPS else f"{_PRICING}, as of other crosses"
    return SpreadModel(name, "pips", ((0, pips),), shape, "quoted", source, f"2026, and {_WEEK}")


def modelled_spread_pips(
    instrument: str, time_ns: npt.NDArray[np.int64], price: npt.ArrayLike | None = None
) -> Float64:
    """Spread in pips by New York hour, for instruments and times without quotes.

    Parameters
    ----------
    instrument : str
        OANDA name.
    time_ns : (T,) int64
        UTC nanoseconds.
    price : (T,) array-like, optional
        Needed where the spread is a share of the price.

    Returns
    -------
    (T,) float64

    Raises
    ------
    DataError
        If the instrument is unknown, or the price is needed and absent.
    """
    return spread_model(instrument).pips(time_ns, price)


def least_spread_pips(instrument: str) -> float:
    """Return a spread in pips below which the model of an instrument is at no time and at no plausible price."""
    model = spread_model(instrument)
    least = min(value for _, value in model.values) * float(model.shape.min())
    return least if model.unit == "pips" else least * plausible_range(instrument)[0] / find_instrument(instrument).pip


def default_fixed_pips(instrument: str) -> float:
    """Return what entering a position costs by default under the fixed cost model.

    Four pips for pairs that are quoted like a cross or tighter; as many spreads for the others, at the price of early
    2024, to two digits.

    Raises
    ------
    ConfigurationError
        If nothing is known of the instrument's spread.
    """
    require_known_spread(instrument)
    return _fixed_pips(instrument)


def cost_scale(instrument: str) -> float:
    """Return how many times dearer than a currency cross an instrument is, in pips: 1 or more, and 1 for a made-up one.

    Slippage, financing and spreads that a report tries out are multiplied by it: a pip of gold is a cent.
    """
    return _fixed_pips(instrument) / FIXED_PIPS if instrument in known_instruments() else 1.0


def _fixed_pips(instrument: str) -> float:
    model = spread_model(instrument)
    pips = model.london
    if model.unit == "share":
        pips *= typical_price(instrument) / find_instrument(instrument).pip
    return FIXED_PIPS if pips <= DEFAULT_LONDON_SPREAD_PIPS else float(f"{_FIXED_SPREADS * pips:.2g}")


def require_known_spread(instrument: str) -> None:
    """Refuse an instrument whose modelled spread rests on nothing.

    Raises
    ------
    ConfigurationError
    """
    model = spread_model(instrument)
    if model.certainty == "unknown":
        raise ConfigurationError(
            f"what trading {instrument} costs is not known ({model.source}): set FX_COST_KIND=fixed and "
            "FX_COST_FIXED_PIPS to what entering costs in pips, or import bid and ask and set FX_COST_KIND=quoted."
        )

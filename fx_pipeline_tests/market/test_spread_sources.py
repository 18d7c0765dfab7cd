"""Modelled spreads against figures of others: docs/costs.md names each with its source ("Held against")."""

import numpy as np
import pytest

from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.spread_fit import MAX_FACTOR
from fx_pipeline.market.spreads import modelled_spread_pips

BP = 1e-4


def by_hour(day: str) -> np.ndarray:
    """The 24 hours of a day, (24,) int64 nanoseconds."""
    return np.datetime64(day, "ns").astype(np.int64) + 3_600_000_000_000 * np.arange(24)


def modelled(name: str, day: str, price: float) -> float:
    """The model's median over a Wednesday's hours, as a share of the price in basis points."""
    pips = np.median(modelled_spread_pips(name, by_hour(day), np.full(24, price)))
    return float(pips) * instrument(name).pip / price / BP


def london(name: str, day: str, price: float) -> float:
    """The model at 10:00 New York."""
    return float(modelled_spread_pips(name, by_hour(day)[15:16], [price])[0]) * instrument(name).pip / price / BP


@pytest.mark.parametrize(
    ("name", "day", "price", "quoted"),
    [
        # OANDA, medians over all hours of 13 to 27 July 2026 as shares of the price (B-Litljon/build-A-bot).
        ("XAG_USD", "2026-07-22", 60.0, 5.900),
        ("GBP_JPY", "2026-07-22", 210.0, 1.651),
        ("AUD_JPY", "2026-07-22", 112.0, 2.014),
        ("EUR_JPY", "2026-07-22", 181.0, 1.449),
        ("NZD_JPY", "2026-07-22", 90.0, 3.686),
        ("GBP_AUD", "2026-07-22", 1.88, 2.672),
        ("GBP_NZD", "2026-07-22", 2.34, 4.046),
    ],
)
def test_model_is_near_oandas_quotes_of_july_2026(name: str, day: str, price: float, quoted: float) -> None:
    assert 1 / MAX_FACTOR <= modelled(name, day, price) / quoted <= MAX_FACTOR


@pytest.mark.parametrize(
    ("name", "day", "price", "spread"),
    [
        # FXCM's published averages; those of BTC_USD are of October 2018, the others' of the quarter before.
        ("USD_MXN", "2018-09-12", 18.95, 42.7e-4),
        ("USD_MXN", "2020-09-09", 22.1, 60.4e-4),
        ("USD_MXN", "2020-12-09", 20.6, 56.7e-4),
        ("USD_MXN", "2021-03-10", 20.2, 48.2e-4),
        ("USD_TRY", "2018-09-12", 5.67, 96.1e-4),
        ("USD_TRY", "2020-09-09", 7.2, 88.9e-4),
        ("USD_TRY", "2020-12-09", 7.9, 118.2e-4),
        ("USD_TRY", "2021-03-10", 7.4, 88.5e-4),
        ("EUR_TRY", "2018-09-12", 6.58, 93.7e-4),
        ("EUR_TRY", "2021-03-10", 8.9, 106.8e-4),
        ("TRY_JPY", "2018-09-12", 19.7, 0.065),
        ("TRY_JPY", "2021-03-10", 14.5, 0.054),
        ("USD_ZAR", "2018-09-12", 14.07, 78.3e-4),
        ("BTC_USD", "2018-10-10", 6_485.0, 31.83),
        ("BTC_USD", "2020-09-09", 10_600.0, 28.44),
        ("BTC_USD", "2020-12-09", 16_700.0, 35.12),
        ("BTC_USD", "2021-03-10", 45_100.0, 67.0),
        # OANDA, raw account with commission, 21 September 2026: 4 USD and 0.0325 percent of the price a side.
        ("BTC_USD", "2026-09-23", 85_285.0, 4.0 + 2 * 0.000325 * 85_285.0),
        # IG's normal spread of silver, and the least of its spread of the forint.
        ("XAG_USD", "2017-03-08", 17.2, 0.02),
        ("XAG_USD", "2020-06-10", 17.6, 0.03),
        ("EUR_HUF", "2021-01-06", 359.0, 0.20),
    ],
)
def test_model_is_near_what_others_published(name: str, day: str, price: float, spread: float) -> None:
    assert 1 / MAX_FACTOR <= london(name, day, price) * BP * price / spread <= MAX_FACTOR


@pytest.mark.parametrize(
    ("name", "price", "spread"),
    [
        # OANDA, raw account, medians of 21 September 2026, before commission (JacksonSchreiber/Hybrid_MT5_Strategies).
        ("XAG_USD", 66.752, 0.0105),
        ("XAU_USD", 4_359.36, 0.465),
        ("BTC_USD", 85_285.0, 4.0),
        ("USD_MXN", 17.1901, 0.00065),
        ("USD_ZAR", 16.2608, 0.00131),
        ("EUR_HUF", 362.365, 0.099),
        ("USD_HUF", 315.473, 0.0965),
        ("USD_PLN", 3.78855, 0.000685),
        ("USD_SEK", 9.8214, 0.00115),
        ("EUR_NOK", 10.8111, 0.0017),
        ("GBP_NZD", 2.33643, 0.00035),
        ("GBP_JPY", 210.69, 0.013),
        ("EUR_USD", 1.1486, 0.00002),
    ],
)
def test_model_is_never_narrower_than_a_raw_account(name: str, price: float, spread: float) -> None:
    assert london(name, "2026-09-23", price) * BP * price > spread


def test_gold_is_modelled_dearer_than_it_was_in_2026() -> None:
    # OANDA's median of July 2026 was 1.496 basis points; the page says by how much, and that the model was left.
    assert modelled("XAU_USD", "2026-07-22", 4_300.0) / 1.496 == pytest.approx(1.6, abs=0.05)

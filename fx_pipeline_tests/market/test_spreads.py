"""Spreads of unlike instruments: a figure with its source for each, and gold's against OANDA's own quotes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.instrument import instrument, known_instruments
from fx_pipeline.market.levels import typical_price
from fx_pipeline.market.spread_fit import fit_by_year, fit_spread
from fx_pipeline.market.spreads import (
    LONDON_SPREAD_PIPS,
    SPREAD_SHAPE,
    cost_scale,
    default_fixed_pips,
    modelled_spread_pips,
    require_known_spread,
    spread_model,
)
from fx_pipeline_tests.market.test_costs import bars

GOLD = Path(__file__).parents[3] / "shared" / "data" / "XAU_USD_H1_2006_2015_bid_ask.parquet"
#: 10:00 New York on a Wednesday.
LONDON = np.array([int(np.datetime64("2024-02-07T15:00", "ns").astype(np.int64))])


@pytest.mark.parametrize(
    ("name", "price", "quoted"),
    [
        # One reply of OANDA's pricing on 1 February 2024: 22.655 / 22.673.
        ("XAG_USD", 22.664, 0.018),
        # Spreads of OANDA quotes recorded in London hours between 31 August and 4 September 2026.
        ("EUR_HUF", 366.7, 0.208),
        ("USD_HUF", 321.0, 0.202),
        ("USD_MXN", 16.9, 0.00408),
        ("USD_ZAR", 15.96, 0.0074),
        ("GBP_ZAR", 21.6, 0.0108),
        ("ZAR_JPY", 9.79, 0.022),
        ("TRY_JPY", 3.2, 0.011),
        ("USD_NOK", 9.3, 0.0032),
        ("EUR_SEK", 11.1, 0.0030),
        ("USD_PLN", 3.73, 0.00144),
        ("USD_THB", 33.1, 0.019),
        ("GBP_HKD", 10.58, 0.00172),
        ("GBP_NZD", 2.3, 0.00092),
        ("GBP_JPY", 212.0, 0.033),
        ("AUD_CHF", 0.58, 0.00019),
        # Gold on OANDA in 2024, as the case of the report has it.
        ("XAU_USD", 2045.0, 0.40),
    ],
)
def test_modelled_spread_is_near_what_was_quoted(name: str, price: float, quoted: float) -> None:
    modelled = modelled_spread_pips(name, LONDON, [price])[0] * instrument(name).pip
    assert 1 / 1.5 <= modelled / quoted <= 1.5


def test_the_liras_and_bitcoins_spreads_are_a_share_of_the_price() -> None:
    # It was 2.5 pips for either.
    assert modelled_spread_pips("USD_TRY", LONDON, [32.0])[0] == pytest.approx(1024.0)
    assert modelled_spread_pips("BTC_USD", LONDON, [67_000.0])[0] == pytest.approx(60.3)
    assert modelled_spread_pips("BTC_USD", LONDON, [6_700.0])[0] == pytest.approx(6.03)
    assert spread_model("BTC_USD").certainty == "approximate"


@pytest.mark.skipif(not GOLD.is_file(), reason="OANDA's gold quotes are not in ../shared/data")
def test_gold_is_near_oandas_quotes_in_each_year() -> None:
    quotes = pd.read_parquet(GOLD)
    time = pd.DatetimeIndex(quotes["time"]).as_unit("ns").asi8
    arguments = ("XAU_USD", time, quotes["bid_open"].to_numpy(), quotes["ask_open"].to_numpy())
    whole = fit_spread(*arguments)
    assert whole is not None and whole.bars == 58_489 and whole.quoted_pips == pytest.approx(40.0)
    assert whole.fits and whole.factor < 1.1
    years = fit_by_year(*arguments)
    assert list(years) == list(range(2006, 2016))
    assert max(fit.factor for fit in years.values()) < 1.2


def test_majors_and_the_main_cross_are_as_they_were() -> None:
    before = {"EUR_USD": 1.2, "USD_JPY": 1.4, "GBP_USD": 1.6, "AUD_USD": 1.4, "USD_CAD": 1.8, "USD_CHF": 1.7}
    hours = LONDON[0] + 60 * MINUTE_NS * np.arange(24)
    for name, london in {**before, "GBP_JPY": 2.5, "EUR_JPY": 2.5}.items():
        assert sorted(modelled_spread_pips(name, hours)) == sorted(SPREAD_SHAPE * london)
        assert default_fixed_pips(name) == 4.0 and cost_scale(name) == 1.0
    assert set(before) <= set(LONDON_SPREAD_PIPS)


def test_each_instrument_names_its_figure_and_source() -> None:
    for name in known_instruments():
        model = spread_model(name)
        price = [typical_price(name)]
        assert model.pips(LONDON, price)[0] > 0
        assert model.source and model.quoted and model.certainty in model.describe()
        # No instrument of which nothing is known passes for one that is.
        if model.certainty == "unknown":
            with pytest.raises(ConfigurationError, match=rf"{name} costs is not known.*FX_COST_FIXED_PIPS"):
                default_fixed_pips(name)
        else:
            require_known_spread(name)
            spread = model.pips(LONDON, price)[0]
            assert default_fixed_pips(name) >= spread


def test_default_cost_of_unlike_instruments() -> None:
    assert default_fixed_pips("XAU_USD") == 79.0
    assert default_fixed_pips("XAG_USD") == 300.0
    assert default_fixed_pips("BTC_USD") == 65.0
    assert default_fixed_pips("GBP_NZD") == 15.0
    assert cost_scale("XAU_USD") == pytest.approx(19.75)
    assert cost_scale("SYNTHETIC_OU") == 1.0


def test_a_share_needs_the_price() -> None:
    with pytest.raises(DataError, match="share of its price"):
        modelled_spread_pips("XAU_USD", LONDON)
    with pytest.raises(DataError, match="unknown instrument"):
        modelled_spread_pips("XAU_GBX", LONDON, [1.0])


@pytest.mark.parametrize("fill", ["next_open", "close"])
def test_profile_charges_the_spread_at_the_price_that_fills(fill: str) -> None:
    market = bars()
    market.instrument, market.pip = "XAU_USD", 0.01
    market.open, market.close = market.open * 10, market.close * 10
    cost = build_fills(market, CostConfig(kind="profile", fill=fill)).entry_cost_pips  # type: ignore[arg-type]
    prices = np.append(market.open[1:], market.open[-1:]) if fill == "next_open" else market.close
    # Ten in the morning UTC is five in New York: a plain hour of gold's.
    np.testing.assert_allclose(cost, 2.4e-4 * prices / 0.01)


def test_fit_says_by_how_much_and_which_way() -> None:
    time = LONDON[0] + MINUTE_NS * np.arange(3)
    wide = fit_spread("EUR_USD", time, np.full(3, 1.1), np.full(3, 1.1 + 0.00024))
    assert wide is not None and not wide.fits
    assert wide.factor == pytest.approx(2.0) and "too narrow by a factor of 2.00" in wide.describe()
    near = fit_spread("EUR_USD", time, np.full(3, 1.1), np.full(3, 1.10010))
    assert near is not None and near.fits and "too wide by a factor of 1.20" in near.describe()
    none = fit_spread("EUR_USD", time, np.full(3, 1.1), np.full(3, 1.1))
    assert none is not None and not none.fits and "there is no spread in the quotes" in none.describe()
    assert fit_spread("EUR_USD", time[:0], np.empty(0), np.empty(0)) is None

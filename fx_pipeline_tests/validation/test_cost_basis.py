"""What a report says of its costs, and which costs are refused."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.costs import CostConfig, judged_costs
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.validation.cost_basis import cost_basis

START = int(np.datetime64("2024-02-07T10:00", "ns").astype(np.int64))


def market(name: str, pip: float, price: float, spread: float) -> MarketArrays:
    bars = 120
    mid, half = np.full(bars, price), spread / 2
    return MarketArrays(
        instrument=name,
        pip=pip,
        time=START + MINUTE_NS * np.arange(bars),
        open=mid,
        high=mid,
        low=mid,
        close=mid,
        bid_open=mid - half,
        ask_open=mid + half,
        bid_close=mid - half,
        ask_close=mid + half,
        features=np.zeros((bars, 9), np.float32),
        outcome_sigma=np.ones(bars),
        fingerprint="test",
    )


GOLD = market("XAU_USD", 0.01, 2045.0, 0.40)
POUND = market("GBP_JPY", 0.01, 187.0, 0.025)


def test_quoted_costs_are_told_from_modelled_ones() -> None:
    quoted = cost_basis(GOLD, CostConfig(kind="quoted"), 0.0)
    assert (quoted.quotes, quoted.warnings) == ("quoted", ())
    assert quoted.charged_pips == pytest.approx(40.0) and quoted.quoted_pips == pytest.approx(40.0)
    assert quoted.modelled_pips == pytest.approx(49.08)
    assert "quoted: 40 pips apart" in " ".join(quoted.says)
    modelled = cost_basis(GOLD, CostConfig(kind="quoted"), 1.0)
    assert (modelled.quotes, modelled.quoted_pips) == ("modelled", None)
    said = " ".join(modelled.says)
    assert "100% of the bars are modelled" in said and "2.4 basis points of the price" in said
    assert "OANDA's hourly bid and ask of gold" in said
    assert cost_basis(GOLD, CostConfig(kind="quoted"), 0.3).quotes == "partly modelled"


def test_four_pips_are_enough_for_a_currency_pair_and_not_for_gold() -> None:
    assert cost_basis(POUND, CostConfig(), 1.0).warnings == ()
    (warning,) = cost_basis(GOLD, CostConfig(), 1.0).warnings
    assert "Entering costs 4 pips, less than the modelled spread of XAU_USD, 49.1 pips" in warning
    assert "FX_COST_FIXED_PIPS" in warning
    (warning,) = cost_basis(GOLD, CostConfig(), 0.0).warnings
    assert "less than the quoted spread of XAU_USD, 40 pips" in warning
    assert cost_basis(GOLD, CostConfig(fixed_pips=79.0), 1.0).warnings == ()
    assert cost_basis(GOLD, CostConfig(kind="profile"), 1.0).warnings == ()


def test_profile_below_the_quotes_is_told() -> None:
    wide = market("GBP_JPY", 0.01, 187.0, 0.06)
    (warning,) = cost_basis(wide, CostConfig(kind="profile"), 0.0).warnings
    assert "is less than the quoted one, 6 pips" in warning


def test_approximate_figures_are_told() -> None:
    bitcoin = market("BTC_USD", 1.0, 45_000.0, 40.0)
    (warning,) = cost_basis(bitcoin, CostConfig(fixed_pips=65.0), 1.0).warnings
    assert "What BTC_USD costs is approximate" in warning
    assert cost_basis(bitcoin, CostConfig(kind="quoted"), 0.0).warnings == ()


@pytest.mark.parametrize("costs", [CostConfig(kind="profile"), CostConfig(kind="quoted")])
def test_costs_that_rest_on_nothing_are_refused(costs: CostConfig) -> None:
    koruna = market("EUR_CZK", 0.0001, 24.8, 0.01)
    with pytest.raises(ConfigurationError, match=r"EUR_CZK costs is not known.*set FX_COST_KIND=fixed"):
        cost_basis(koruna, costs, 1.0)
    (warning,) = cost_basis(koruna, CostConfig(fixed_pips=200.0), 1.0).warnings
    assert "not known, and assumed" in warning


def test_quotes_of_an_unknown_instrument_will_do() -> None:
    koruna = market("EUR_CZK", 0.0001, 24.8, 0.01)
    assert cost_basis(koruna, CostConfig(kind="quoted"), 0.0).warnings == ()


def test_a_made_up_instrument_has_no_model() -> None:
    made_up = replace(POUND, instrument="SYNTHETIC_OU")
    basis = cost_basis(made_up, CostConfig(), 0.0)
    assert (basis.modelled_pips, basis.certainty, basis.source) == (None, None, None)


def judged_basis(market: MarketArrays, configured: CostConfig, trained: CostConfig | None, modelled: float = 0.0):
    return cost_basis(
        market,
        judged_costs(configured, market.instrument),
        modelled,
        configured=asdict(configured),
        trained=None if trained is None else asdict(trained),
    )


def test_costs_below_the_market_are_said_of_settings_and_training() -> None:
    basis = judged_basis(POUND, CostConfig(fixed_pips=1.0), CostConfig(fixed_pips=0.0))
    assert (basis.configured_pips, basis.trained_pips) == (1.0, 0.0) and basis.charged_pips == pytest.approx(2.5)
    assert basis.slippage_pips == pytest.approx(0.1)
    assert basis.financing_pips == pytest.approx(0.0635 * 187 / 365 / 0.01)
    settings, training = basis.warnings
    assert "ask for a spread of 1 pips, less than that of GBP_JPY, 2.5 pips" in settings
    assert "trained at a spread of 0 pips, less than the 2.5 pips that it is judged at" in training
    honest = judged_basis(POUND, CostConfig(), CostConfig())
    assert honest.warnings == () and honest.trained_pips == 4.0 and honest.charged_pips == pytest.approx(4.0)


def test_a_training_whose_costs_are_not_recorded_is_said() -> None:
    (warning,) = judged_basis(POUND, CostConfig(), None).warnings
    assert "is not recorded" in warning


def test_one_price_for_bid_and_ask_is_no_quote() -> None:
    basis = judged_basis(market("GBP_JPY", 0.01, 187.0, 0.0), CostConfig(kind="quoted"), CostConfig(kind="quoted"))
    assert (basis.quotes, basis.quoted_pips, basis.locked) == ("bid equals ask", None, 1.0)
    assert basis.charged_pips == pytest.approx(2.5) and basis.trained_pips == 0.0
    assert "one price in 100% of the bars" in basis.warnings[0]
    # Real quotes lock for a moment now and then.
    locks = replace(POUND, ask_open=np.append(POUND.bid_open[:1], POUND.ask_open[1:]))
    assert judged_basis(locks, CostConfig(), CostConfig()).quotes == "quoted"

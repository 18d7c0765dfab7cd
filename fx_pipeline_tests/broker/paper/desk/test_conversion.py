"""Conversion of an instrument's currencies to the home currency."""

from decimal import Decimal

import pytest

from fx_pipeline.broker.paper.desk import Desk
from fx_pipeline_tests.broker.paper.desk.floor import Floor


def rates(desk: Desk, instrument: str) -> dict[str, Decimal]:
    """Value of a unit of each currency of an instrument in the home currency."""
    return {item["currency"]: Decimal(item["positionValue"]) for item in desk.home_conversions([instrument])}


def test_the_home_currency_is_not_converted_and_not_charged() -> None:
    floor = Floor()
    assert floor.desk.quote_factors("EUR_USD") == {"positiveUnits": "1.00000000", "negativeUnits": "1.00000000"}


def test_direct_inverse_and_crossed_rates() -> None:
    floor = Floor()
    found = rates(floor.desk, "GBP_JPY")
    assert found["GBP"] == Decimal("1.2701")
    assert found["JPY"] == round(1 / Decimal("145.005"), 12)
    sterling = Floor(home_currency="GBP")
    assert rates(sterling.desk, "GBP_JPY")["JPY"] == round(1 / Decimal("185.015"), 12)
    # Euro to pound has no pair of its own here: over the dollar.
    assert rates(sterling.desk, "EUR_USD")["EUR"] == pytest.approx(Decimal("1.10005") / Decimal("1.2701"))


def test_the_charge_is_a_parameter() -> None:
    floor = Floor(conversion_charge=Decimal("0.01"))
    mid = rates(floor.desk, "GBP_JPY")["GBP"]
    shown = floor.desk.home_conversions(["GBP_JPY"])[0]
    assert Decimal(shown["accountGain"]) == mid * Decimal("0.99")
    assert Decimal(shown["accountLoss"]) == mid * Decimal("1.01")


def test_rates_follow_the_quotes() -> None:
    floor = Floor()
    before = rates(floor.desk, "GBP_JPY")["JPY"]
    floor.quote("USD_JPY", "290.000", "290.020")
    assert rates(floor.desk, "GBP_JPY")["JPY"] == pytest.approx(before / 2, rel=Decimal("1e-6"))


def test_a_currency_without_a_quote_is_assumed_and_named_until_there_is_one() -> None:
    floor = Floor(("EUR_USD", "GBP_JPY", "USD_JPY"), quoted=False)
    floor.quote("GBP_JPY", "185.000", "185.030")
    floor.market("1000", instrument="GBP_JPY")
    assert floor.desk.assumed_rates.keys() == {"GBP_USD", "JPY_USD"}
    floor.quote("USD_JPY", "145.000", "145.010")
    rates(floor.desk, "GBP_JPY")
    assert floor.desk.assumed_rates == {}
    assert rates(floor.desk, "GBP_JPY")["GBP"] == pytest.approx(Decimal("185.015") / Decimal("145.005"))


@pytest.mark.parametrize(("home", "instrument"), [("CHF", "EUR_USD"), ("SGD", "GBP_JPY"), ("EUR", "XAU_USD")])
def test_every_currency_has_some_rate(home: str, instrument: str) -> None:
    desk = Floor((instrument,), quoted=False, home_currency=home).desk
    assert all(rate > 0 for rate in rates(desk, instrument).values())


def test_instruments_that_must_be_watched() -> None:
    floor = Floor()
    assert floor.desk.watched() == set()
    floor.order("LIMIT", units="1", price="1")
    assert floor.desk.watched() == {"EUR_USD"}
    floor.market("1", instrument="GBP_JPY")
    assert floor.desk.watched() == {"EUR_USD", "GBP_JPY", "USD_JPY", "GBP_USD"}

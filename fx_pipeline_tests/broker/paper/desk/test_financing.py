"""Financing at 17:00 New York."""

from decimal import Decimal

import numpy as np
import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants

WEDNESDAY, THURSDAY, FRIDAY, SATURDAY = (
    int(np.datetime64(f"2024-01-{day}T22:00", "ns").astype(np.int64)) for day in (10, 11, 12, 13)
)


def test_the_financing_of_2024_in_yen() -> None:
    # Recorded: 100,000 USD_JPY short at -0.55 % a year, a charge of 0.2 % and a mid of 146.474 cost 221.1557 yen a day.
    floor = Floor(
        ("USD_JPY",), quoted=False, home_currency="JPY", balance=Decimal(3_000_000),
        conversion_charge=Decimal("0.002"), financing_short={"USD_JPY": Decimal("-0.0055")},
    )  # fmt: skip
    floor.quote("USD_JPY", "146.470", "146.478")
    floor.market("-100000", instrument="USD_JPY")
    charged = floor.desk.charge_financing(THURSDAY)[0]
    position = charged["positionFinancings"][0]
    trade = position["openTradeFinancings"][0]
    assert (trade["financing"], trade["baseFinancing"]) == ("-221.1557", "-1.50684931506849")
    assert trade["financingRate"] == "-0.0055"
    assert position["homeConversionFactors"]["lossBaseHome"] == {"factor": "146.766948"}
    assert charged["financing"] == position["financing"] == "-221.1557"
    assert charged["time"] == "2024-01-11T22:00:00.000000000Z"


@pytest.mark.parametrize(("time_ns", "days"), [(WEDNESDAY, 3), (THURSDAY, 1), (FRIDAY, 1), (SATURDAY, 0)])
def test_wednesday_pays_for_the_weekend(time_ns: int, days: int) -> None:
    floor = Floor(financing_long={"EUR_USD": Decimal("0.0365")})
    floor.market("100000")
    made = floor.desk.charge_financing(time_ns)
    # 3.65 % of 100,000 euros for a day are 10 euros, at 1.10005 less 0.5 %.
    assert sum(Decimal(item["financing"]) for item in made) == round(
        days * 10 * Decimal("1.10005") * Decimal("0.995"), 4
    )
    check_invariants(floor)


def test_both_sides_and_all_positions_are_charged_once() -> None:
    floor = Floor(hedging=True)
    first, second = floor.opened("1000"), floor.opened("-500")
    third = floor.opened("1000", instrument="GBP_JPY")
    made = floor.desk.charge_financing(THURSDAY)
    assert len(made) == 1
    assert floor.desk.charge_financing(THURSDAY) == []
    paid = {
        item["tradeID"]: item["financing"]
        for position in made[0]["positionFinancings"]
        for item in position["openTradeFinancings"]
    }
    assert paid.keys() == {first, second, third}
    for number, amount in paid.items():
        assert floor.trade(number)["financing"] == amount
    assert floor.summary()["financing"] == made[0]["financing"]
    assert Decimal(floor.summary()["balance"]) == 100_000 + Decimal(made[0]["financing"])
    position = floor.desk.position("EUR_USD").body["position"]
    assert (position["long"]["financing"], position["short"]["financing"]) == (paid[first], paid[second])
    check_invariants(floor)


def test_a_flat_account_pays_nothing() -> None:
    floor = Floor()
    floor.market("1000")
    floor.market("-1000")
    assert floor.desk.charge_financing(THURSDAY) == []


def test_what_is_charged_is_what_the_instrument_says() -> None:
    floor = Floor()
    terms = {item["name"]: item["financing"] for item in floor.desk.instruments(["GBP_JPY"]).body["instruments"]}
    number = floor.opened("1000", instrument="GBP_JPY")
    floor.desk.charge_financing(WEDNESDAY)
    days = {item["dayOfWeek"]: item["daysCharged"] for item in terms["GBP_JPY"]["financingDaysOfWeek"]}
    assert sum(days.values()) == 7
    expected = 1000 * Decimal(terms["GBP_JPY"]["longRate"]) * days["WEDNESDAY"] / 365
    factors = floor.desk.home_conversions(["GBP_JPY"])[0]
    assert factors["currency"] == "GBP"
    assert Decimal(floor.trade(number)["financing"]) == round(expected * Decimal(factors["accountGain"]), 4)

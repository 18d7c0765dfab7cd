"""Units by instrument: bitcoin in hundredths, currencies and ounces whole; orders, closes, positions and margin."""

from decimal import Decimal

import pytest

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk.terms import instrument_terms
from fx_pipeline_tests.broker.paper.desk.floor import PRICES, Floor, check_invariants

BITCOIN = ("45000.0", "45040.0")


def floor() -> Floor:
    found = Floor(("BTC_USD", "XAU_USD", "EUR_USD"), quoted=False, balance=Decimal(100_000))
    found.quote("BTC_USD", *BITCOIN)
    found.quote("XAU_USD", "2050.000", "2050.490")
    found.quote("EUR_USD", *PRICES["EUR_USD"])
    return found


@pytest.mark.parametrize(
    ("name", "precision", "minimum", "margin", "kind"),
    [
        ("BTC_USD", 2, "0.01", "0.5", "CFD"),
        ("XAU_USD", 0, "1", "0.05", "METAL"),
        ("XAG_USD", 0, "1", "0.1", "METAL"),
        ("EUR_USD", 0, "1", "0.02", "CURRENCY"),
        ("GBP_JPY", 0, "1", "0.05", "CURRENCY"),
        ("USD_TRY", 0, "1", "0.25", "CURRENCY"),
        ("USD_MXN", 0, "1", "0.1", "CURRENCY"),
        ("EUR_ZAR", 0, "1", "0.07", "CURRENCY"),
    ],
)
def test_terms_by_instrument(name: str, precision: int, minimum: str, margin: str, kind: str) -> None:
    terms = instrument_terms(name, AccountConfig())
    body = terms.body(terms.margin_rate)
    names = ("tradeUnitsPrecision", "minimumTradeSize", "marginRate", "type")
    assert tuple(body[name] for name in names) == (precision, minimum, margin, kind)


def test_bitcoin_is_bought_and_closed_in_hundredths() -> None:
    desk = floor()
    outcome = desk.market("0.05", instrument="BTC_USD")
    assert outcome.status == 201
    fill = outcome.body["orderFillTransaction"]
    assert (fill["units"], fill["tradeOpened"]["units"]) == ("0.05", "0.05")
    # Half of 0.05 at the middle of 45,020.
    assert fill["tradeOpened"]["initialMarginRequired"] == "1125.5000"
    trade = fill["tradeOpened"]["tradeID"]
    part = desk.desk.close_trade(trade, {"units": "0.02"}, desk.now_ns, "9")
    assert (part.status, part.body["orderFillTransaction"]["units"]) == (200, "-0.02")
    position = desk.desk.position("BTC_USD").body["position"]
    assert position["long"]["units"] == "0.03"
    side = desk.desk.close_position("BTC_USD", {"longUnits": "0.01"}, desk.now_ns, "9")
    assert (side.status, desk.trade(trade)["currentUnits"]) == (200, "0.02")
    assert desk.desk.close_position("BTC_USD", {"longUnits": "ALL"}, desk.now_ns, "9").status == 200
    assert desk.trade(trade)["state"] == "CLOSED"
    # 0.05 bought at 45,040 and sold at 45,000.
    assert desk.trade(trade)["realizedPL"] == "-2.0000"
    check_invariants(desk)


def test_a_net_order_of_bitcoin_turns_a_position() -> None:
    desk = floor()
    desk.opened("0.3", instrument="BTC_USD")
    fill = desk.market("-0.55", instrument="BTC_USD").body["orderFillTransaction"]
    assert (fill["tradesClosed"][0]["units"], fill["tradeOpened"]["units"]) == ("-0.3", "-0.25")
    assert desk.desk.position("BTC_USD").body["position"]["short"]["units"] == "-0.25"
    check_invariants(desk)


def test_units_available_are_whole_steps() -> None:
    desk = floor()
    available = desk.desk.units_available("BTC_USD")["default"]["long"]
    # 100,000 at a margin of half of 45,020 a coin.
    assert available == "4.44"
    assert "." not in desk.desk.units_available("XAU_USD")["default"]["long"]
    assert desk.market("4.44", instrument="BTC_USD").status == 201


@pytest.mark.parametrize(
    ("name", "units", "reason"),
    [
        ("BTC_USD", "0.005", "UNITS_PRECISION_EXCEEDED"),
        ("BTC_USD", "1.234", "UNITS_PRECISION_EXCEEDED"),
        ("BTC_USD", "0", "UNITS_INVALID"),
        ("XAU_USD", "0.5", "UNITS_PRECISION_EXCEEDED"),
        ("EUR_USD", "100.01", "UNITS_PRECISION_EXCEEDED"),
    ],
)
def test_finer_units_are_refused(name: str, units: str, reason: str) -> None:
    outcome = floor().market(units, instrument=name)
    assert (outcome.status, outcome.body["errorCode"]) == (400, reason)


@pytest.mark.parametrize("units", ["0.001", "0.055"])
def test_finer_closes_are_refused(units: str) -> None:
    desk = floor()
    trade = desk.opened("0.5", instrument="BTC_USD")
    for outcome in (
        desk.desk.close_trade(trade, {"units": units}, desk.now_ns, "9"),
        desk.desk.close_position("BTC_USD", {"longUnits": units}, desk.now_ns, "9"),
    ):
        assert (outcome.status, outcome.body["errorCode"]) == (400, "UNITS_PRECISION_EXCEEDED")
    gold = desk.opened("3", instrument="XAU_USD")
    assert desk.desk.close_trade(gold, {"units": "1.5"}, desk.now_ns, "9").body["errorCode"] == (
        "UNITS_PRECISION_EXCEEDED"
    )

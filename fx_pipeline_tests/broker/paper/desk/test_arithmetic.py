"""The desk's arithmetic against figures that OANDA's service sent, and against hand calculation."""

from decimal import Decimal

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor


def test_a_buy_fills_at_the_ask_and_a_sell_at_the_bid() -> None:
    floor = Floor()
    bought = floor.market("1000").body["orderFillTransaction"]
    sold = floor.market("-1000").body["orderFillTransaction"]
    assert (bought["price"], sold["price"]) == ("1.10010", "1.10000")
    assert (sold["pl"], sold["quotePL"], sold["accountBalance"]) == ("-0.1000", "-0.10000", "99999.9000")


def test_the_account_of_2022() -> None:
    # Recorded: 5 EUR_USD sold at 1.14508/1.14517 after a buy at 1.14554, home currency USD, balance 19.9970 before.
    floor = Floor(balance=Decimal("19.997"), conversion_charge=Decimal("0.005"))
    floor.quote("EUR_USD", "1.14545", "1.14554")
    floor.market("5")
    floor.quote("EUR_USD", "1.14508", "1.14517")
    fill = floor.market("-5").body["orderFillTransaction"]
    assert (fill["pl"], fill["quotePL"], fill["halfSpreadCost"]) == ("-0.0023", "-0.00230", "0.0002")
    assert fill["accountBalance"] == "19.9947"
    assert fill["baseFinancing"] == "0.00000000000000"
    assert fill["homeConversionFactors"] == {
        "gainQuoteHome": {"factor": "1"},
        "lossQuoteHome": {"factor": "1"},
        "gainBaseHome": {"factor": "1.1393944"},
        "lossBaseHome": {"factor": "1.1508456"},
    }


def test_the_account_of_2024_in_yen() -> None:
    # Recorded: 2 of 18 TRY_JPY sold at 4.272/4.352 after a buy at 4.352, charge 0.2 %, margin 10 %.
    floor = Floor(
        ("TRY_JPY",), quoted=False, home_currency="JPY", balance=Decimal(3_000_000),
        conversion_charge=Decimal("0.002"), margin_rate=Decimal("0.1"),
    )  # fmt: skip
    floor.quote("TRY_JPY", "4.272", "4.352")
    opened = floor.market("18", instrument="TRY_JPY").body["orderFillTransaction"]["tradeOpened"]
    assert opened["initialMarginRequired"] == "7.7616"
    fill = floor.market("-2", instrument="TRY_JPY").body["orderFillTransaction"]
    assert (fill["pl"], fill["quotePL"], fill["halfSpreadCost"]) == ("-0.1600", "-0.160", "0.0800")
    assert fill["homeConversionFactors"]["gainBaseHome"] == {"factor": "4.303376"}
    assert fill["homeConversionFactors"]["lossBaseHome"] == {"factor": "4.320624"}
    assert fill["tradeReduced"]["units"] == "-2"


def test_the_margin_and_half_spread_of_2026() -> None:
    # Recorded: one unit of EUR_USD at a mid of 1.138 and 2 % margin; half of a spread of 6.5 pips.
    floor = Floor()
    floor.quote("EUR_USD", "1.13768", "1.13833")
    opened = floor.market("1").body["orderFillTransaction"]["tradeOpened"]
    assert (opened["initialMarginRequired"], opened["halfSpreadCost"]) == ("0.0228", "0.0003")


@pytest.mark.parametrize(
    ("bid", "factor", "pl"),
    [("186.030", "gainQuoteHomeConversionFactor", "6.8618"), ("184.030", "lossQuoteHomeConversionFactor", "-6.9308")],
)
def test_gains_and_losses_convert_at_worse_than_the_mid_rate(bid: str, factor: str, pl: str) -> None:
    # 1,000 yen at 1 / 145.005, less or more by 0.5 %.
    floor = Floor()
    floor.market("1000", instrument="GBP_JPY")
    floor.quote("GBP_JPY", bid, f"{Decimal(bid) + Decimal('0.03')}")
    quote_pl = Decimal(1000) * (Decimal(bid) - Decimal("185.03"))
    shown = floor.summary()["unrealizedPL"]
    fill = floor.market("-1000", instrument="GBP_JPY").body["orderFillTransaction"]
    assert Decimal(fill["quotePL"]) == quote_pl
    assert fill["pl"] == shown == pl
    assert round(quote_pl * Decimal(fill[factor]), 4) == Decimal(pl)
    assert Decimal(fill["plHomeConversionCost"]) < 0


def test_closing_at_the_market_changes_no_net_asset_value() -> None:
    floor = Floor()
    floor.market("-70000", instrument="GBP_JPY")
    floor.market("30000", instrument="GBP_USD")
    floor.quote("USD_JPY", "146.5", "146.51")
    before = floor.summary()["NAV"]
    for name, side in (("GBP_JPY", "shortUnits"), ("GBP_USD", "longUnits")):
        assert floor.desk.close_position(name, {side: "ALL"}, floor.now_ns, None).status == 200
        assert floor.summary()["NAV"] == before


def test_shares_of_margin_are_as_recorded_in_2016() -> None:
    # marginCallPercent is margin over net asset value, marginCloseoutPercent half of it.
    floor = Floor(balance=Decimal(1000), margin_rate=Decimal("0.05"))
    floor.quote("EUR_USD", "1.10000", "1.10000")
    floor.market("5000")
    found = floor.summary()
    assert (found["marginUsed"], found["positionValue"]) == ("275.0000", "5500.0000")
    assert (found["marginCallPercent"], found["marginCloseoutPercent"]) == ("0.27500", "0.13750")
    assert (found["marginAvailable"], found["withdrawalLimit"]) == ("725.0000", "725.0000")
    # With a profit, too, what may be paid out is what is available as margin.
    floor.quote("EUR_USD", "1.20000", "1.20000")
    found = floor.summary()
    assert (found["marginAvailable"], found["withdrawalLimit"]) == ("1200.0000", "1200.0000")

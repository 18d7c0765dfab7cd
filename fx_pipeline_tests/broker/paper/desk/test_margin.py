"""Margin: what positions hold, what is left for orders, and closeout."""

from decimal import Decimal

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants, kinds


def test_margin_by_instrument_and_by_request() -> None:
    floor = Floor()
    floor.market("10000")
    floor.market("1000", instrument="GBP_JPY")
    # 10,000 at 1.10005 and 2 %, and 1,000 at 185.015 / 145.005 and 5 %.
    assert floor.summary()["marginUsed"] == "283.8061"
    outcome = floor.desk.configure({"marginRate": "0.04"}, floor.now_ns, "7")
    assert outcome.body["clientConfigureTransaction"]["marginRate"] == "0.04"
    assert floor.summary()["marginUsed"] == "503.8161"
    assert floor.summary()["marginRate"] == "0.04"
    rates = {item["name"]: item["marginRate"] for item in floor.desk.instruments(None).body["instruments"]}
    assert rates == {"EUR_USD": "0.04", "GBP_USD": "0.04", "GBP_JPY": "0.05", "USD_JPY": "0.04"}


def test_one_rate_for_all_instruments() -> None:
    floor = Floor(margin_rate=Decimal("0.5"))
    assert floor.summary()["marginRate"] == "0.5"
    floor.market("1000", instrument="GBP_USD")
    assert floor.summary()["marginUsed"] == "635.0500"
    assert floor.trade("5")["initialMarginRequired"] == "635.0500"


def test_a_hedged_position_holds_the_margin_of_its_larger_side() -> None:
    floor = Floor(hedging=True)
    floor.market("1000")
    floor.market("-400")
    position = floor.desk.position("EUR_USD").body["position"]
    assert (position["long"]["units"], position["short"]["units"]) == ("1000", "-400")
    assert position["marginUsed"] == floor.summary()["marginUsed"] == "22.0010"
    assert floor.desk.units_available("EUR_USD")["reduceOnly"] == {"long": "400", "short": "1000"}
    assert floor.desk.units_available("EUR_USD")["default"] == floor.desk.units_available("EUR_USD")["openOnly"]
    check_invariants(floor)


def test_a_hedged_account_may_still_reduce() -> None:
    floor = Floor(hedging=True)
    first = floor.opened("100")
    fill = floor.market("-150", positionFill="REDUCE_FIRST").body["orderFillTransaction"]
    assert fill["tradesClosed"][0]["tradeID"] == first
    assert fill["tradeOpened"]["units"] == "-50"


def test_closeout_at_half_of_the_margin() -> None:
    floor = Floor(balance=Decimal(1000), margin_rate=Decimal("0.05"))
    floor.market("10000", stopLossOnFill={"price": "0.9"})
    floor.market("1000", instrument="GBP_USD")
    # 614 of margin: positions are closed once half of it is left, by the mid price.
    assert floor.quote("EUR_USD", "1.03180", "1.03180") == []
    assert Decimal(floor.summary()["marginCloseoutPercent"]) < 1
    made = floor.quote("EUR_USD", "1.02900", "1.02900")
    assert kinds(made) == [
        "MARKET_ORDER", "ORDER_FILL MARKET_ORDER_MARGIN_CLOSEOUT", "ORDER_CANCEL LINKED_TRADE_CLOSED",
        "MARKET_ORDER", "ORDER_FILL MARKET_ORDER_MARGIN_CLOSEOUT",
    ]  # fmt: skip
    assert made[0]["marginCloseout"] == {"reason": "MARGIN_CHECK_VIOLATION"}
    assert (made[0]["reason"], made[0]["units"]) == ("MARGIN_CLOSEOUT", "-10000")
    assert floor.summary()["openTradeCount"] == floor.summary()["pendingOrderCount"] == 0
    check_invariants(floor)


def test_a_position_in_a_halted_market_is_closed_out_when_it_trades_again() -> None:
    floor = Floor(balance=Decimal(1000), margin_rate=Decimal("0.05"))
    floor.market("10000")
    floor.quote("EUR_USD", "1.00000", "1.00010", tradeable=False)
    found = floor.summary()
    assert found["openTradeCount"] == 1
    assert Decimal(found["marginCloseoutPercent"]) > 1
    assert kinds(floor.quote("EUR_USD", "1.00000", "1.00010"))[1] == "ORDER_FILL MARKET_ORDER_MARGIN_CLOSEOUT"
    assert floor.summary()["balance"] == "-1.0000"
    assert floor.market("1").body["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"


def test_another_pairs_rate_may_close_the_account_out() -> None:
    floor = Floor(balance=Decimal(1000), margin_rate=Decimal("0.5"))
    floor.market("1400", instrument="GBP_JPY")
    floor.quote("GBP_JPY", "184.000", "184.030")
    assert floor.quote("EUR_USD", "1.2", "1.2001") == []
    assert kinds(floor.quote("USD_JPY", "65.000", "65.010"))[-1] == "ORDER_FILL MARKET_ORDER_MARGIN_CLOSEOUT"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "CLIENT_CONFIGURE_DATA_MISSING"),
        ({"marginRate": "0"}, "MARGIN_RATE_INVALID"),
        ({"marginRate": "1.5"}, "MARGIN_RATE_INVALID"),
        ({"marginRate": "0.9"}, "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"),
        ({"alias": "x" * 129}, "ALIAS_INVALID"),
    ],
)
def test_configurations_that_are_rejected(body: dict[str, str], reason: str) -> None:
    floor = Floor(balance=Decimal(1000))
    floor.market("10000")
    outcome = floor.desk.configure(body, floor.now_ns, "7")
    assert (outcome.status, outcome.body["errorCode"]) == (400, reason)
    assert outcome.body["clientConfigureRejectTransaction"]["type"] == "CLIENT_CONFIGURE_REJECT"
    assert floor.summary()["marginRate"] == "0.02"


def test_configuring() -> None:
    floor = Floor()
    assert floor.desk.configure({"alias": "mine"}, floor.now_ns, "7").status == 200
    assert floor.summary()["alias"] == "mine"
    for body in ([], {"alias": 5}, {"marginRate": "much"}):
        assert floor.desk.configure(body, floor.now_ns, "7").status == 400
    assert floor.desk.last_transaction_id == "4"


def test_deposits_and_withdrawals() -> None:
    floor = Floor(balance=Decimal(1000))
    assert floor.desk.deposit(Decimal("50.5"), floor.now_ns, "7")[0]["accountBalance"] == "1050.5000"
    floor.market("10000")
    refused = floor.desk.deposit(Decimal(-1000), floor.now_ns, "7")[0]
    assert (refused["type"], refused["rejectReason"]) == ("TRANSFER_FUNDS_REJECT", "INSUFFICIENT_FUNDS")
    assert floor.desk.deposit(Decimal(-800), floor.now_ns, "7")[0]["accountBalance"] == "250.5000"
    check_invariants(floor)
    for amount in ("0", "0.00001", "NaN", "Infinity", "1e20"):
        with pytest.raises(ValueError, match="cannot be booked"):
            floor.desk.deposit(Decimal(amount), floor.now_ns, "7")

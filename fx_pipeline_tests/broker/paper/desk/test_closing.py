"""Closing trades and positions."""

from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants, kinds


def test_closing_a_trade() -> None:
    floor = Floor()
    first = floor.opened("100")
    second = floor.opened("50", stopLossOnFill={"price": "1.05"}, tradeClientExtensions={"id": "mine"})
    outcome = floor.desk.close_trade("@mine", {"units": "20"}, floor.now_ns, "9")
    assert outcome.status == 200
    created, fill = outcome.body["orderCreateTransaction"], outcome.body["orderFillTransaction"]
    assert created["tradeClose"] == {"clientTradeID": "mine", "units": "20"}
    assert (created["reason"], created["positionFill"], created["units"]) == ("TRADE_CLOSE", "REDUCE_ONLY", "-20")
    assert (fill["reason"], fill["tradeReduced"]["tradeID"]) == ("MARKET_ORDER_TRADE_CLOSE", second)
    floor.quote("EUR_USD", "1.2", "1.2001")
    whole = floor.desk.close_trade(second, None, floor.now_ns, "9").body
    assert kinds(floor.batches[-1].transactions)[-1] == "ORDER_CANCEL LINKED_TRADE_CLOSED"
    assert whole["orderCreateTransaction"]["tradeClose"] == {"tradeID": second, "units": "ALL"}
    trade = floor.trade(second)
    # 20 at 1.1 and 30 at 1.2
    assert (trade["averageClosePrice"], trade["realizedPL"]) == ("1.16000", "2.9950")
    assert trade["closingTransactionIDs"] == [fill["id"], whole["orderFillTransaction"]["id"]]
    assert floor.trade(first)["currentUnits"] == "100"
    check_invariants(floor)


@pytest.mark.parametrize(
    ("specifier", "units", "status", "reason"),
    [
        ("5", "101", 400, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE"),
        ("5", "0", 400, "UNITS_INVALID"),
        ("5", "-1", 400, "UNITS_INVALID"),
        ("5", "1.5", 400, "UNITS_PRECISION_EXCEEDED"),
        ("77", "ALL", 404, "TRADE_DOESNT_EXIST"),
        ("@who", "ALL", 404, "TRADE_DOESNT_EXIST"),
    ],
)
def test_closes_of_a_trade_that_are_rejected(specifier: str, units: str, status: int, reason: str) -> None:
    floor = Floor()
    assert floor.opened("100") == "5"
    outcome = floor.desk.close_trade(specifier, {"units": units}, floor.now_ns, "9")
    assert (outcome.status, outcome.body["errorCode"]) == (status, reason)
    assert outcome.body["orderRejectTransaction"]["type"] == "MARKET_ORDER_REJECT"
    assert outcome.body["relatedTransactionIDs"] == [outcome.body["lastTransactionID"]] == ["6"]


def test_closes_that_cannot_be_read_write_nothing() -> None:
    floor = Floor()
    floor.opened("100")
    for specifier, body in (("5", {"units": "some"}), ("x", {}), ("5", [])):
        assert floor.desk.close_trade(specifier, body, floor.now_ns, "9").status == 400
    for instrument, body in (("EUR_XXX", {}), ("EUR_USD", {"longUnits": "some"}), ("EUR_USD", [])):
        assert floor.desk.close_position(instrument, body, floor.now_ns, "9").status == 400
    assert floor.desk.last_transaction_id == "5"


def test_a_close_in_a_halted_market_is_cancelled() -> None:
    floor = Floor()
    number = floor.opened("100", stopLossOnFill={"price": "1.05"})
    floor.quote("EUR_USD", "1.1", "1.1001", tradeable=False)
    outcome = floor.desk.close_trade(number, {}, floor.now_ns, "9")
    assert (outcome.status, outcome.body["orderCancelTransaction"]["reason"]) == (200, "MARKET_HALTED")
    assert floor.trade(number)["state"] == "OPEN"
    assert floor.summary()["pendingOrderCount"] == 1


def test_closing_a_position() -> None:
    floor = Floor()
    first, second = floor.opened("100"), floor.opened("50")
    part = floor.desk.close_position("EUR_USD", {"longUnits": "120", "shortUnits": "NONE"}, floor.now_ns, "9")
    assert part.status == 200
    assert part.body["longOrderCreateTransaction"]["longPositionCloseout"] == {"instrument": "EUR_USD", "units": "120"}
    fill = part.body["longOrderFillTransaction"]
    assert fill["reason"] == "MARKET_ORDER_POSITION_CLOSEOUT"
    assert (fill["tradesClosed"][0]["tradeID"], fill["tradeReduced"]["tradeID"]) == (first, second)
    rest = floor.desk.close_position("EUR_USD", {}, floor.now_ns, "9")
    assert rest.body["longOrderCreateTransaction"]["units"] == "-30"
    assert "averagePrice" not in floor.desk.position("EUR_USD").body["position"]["long"]
    assert floor.desk.open_positions().body["positions"] == []
    check_invariants(floor)


@pytest.mark.parametrize(
    ("units", "body", "status", "rejected", "reason"),
    [
        ("100", {"longUnits": "ALL", "shortUnits": "ALL"}, 400, ["short"], "CLOSEOUT_POSITION_DOESNT_EXIST"),
        ("100", {"longUnits": "101"}, 400, ["long"], "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"),
        ("100", {"longUnits": "NONE"}, 400, ["long"], "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION"),
        (None, {"longUnits": "ALL", "shortUnits": "ALL"}, 404, ["long", "short"], "CLOSEOUT_POSITION_DOESNT_EXIST"),
        (None, {"longUnits": "ALL"}, 404, ["long"], "CLOSEOUT_POSITION_DOESNT_EXIST"),
    ],
)
def test_closes_of_a_position_that_are_rejected(
    units: str | None, body: dict[str, Any], status: int, rejected: list[str], reason: str
) -> None:
    floor = Floor()
    if units is not None:
        floor.market(units)
    outcome = floor.desk.close_position("EUR_USD", body, floor.now_ns, "9")
    assert (outcome.status, outcome.body["errorCode"]) == (status, reason)
    assert [side for side in ("long", "short") if f"{side}OrderRejectTransaction" in outcome.body] == rejected
    assert floor.summary()["openTradeCount"] == (0 if units is None else 1)
    check_invariants(floor)


def test_both_sides_of_a_hedged_position_close_in_one_batch() -> None:
    floor = Floor(hedging=True)
    floor.opened("100", stopLossOnFill={"price": "1.05"})
    floor.opened("-60")
    body = floor.desk.close_position("EUR_USD", {"longUnits": "ALL", "shortUnits": "ALL"}, floor.now_ns, "9").body
    assert len({item["batchID"] for item in floor.batches[-1].transactions}) == 1
    long, short = body["longOrderFillTransaction"], body["shortOrderFillTransaction"]
    assert (long["pl"], long["accountBalance"]) == ("-0.0100", "99999.9900")
    assert (short["pl"], short["accountBalance"]) == ("-0.0060", "99999.9840")
    assert floor.summary()["balance"] == "99999.9840"
    check_invariants(floor)

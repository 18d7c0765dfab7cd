"""Stops, targets and trailing stops: the side of the book, gaps, order of action, and their end with the trade."""

from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants, kinds


@pytest.mark.parametrize(
    ("units", "details", "before", "at", "kind", "fill"),
    [
        # A long closes on the bid, a short on the ask.
        ("100", {"stopLossOnFill": {"price": "1.09"}}, ("1.09001", "1.09011"), ("1.09000", "1.09010"),
         "STOP_LOSS", "1.09000"),
        ("100", {"stopLossOnFill": {"price": "1.09"}}, ("1.09500", "1.09510"), ("1.08000", "1.08010"),
         "STOP_LOSS", "1.08000"),
        ("-100", {"stopLossOnFill": {"price": "1.11"}}, ("1.10989", "1.10999"), ("1.10990", "1.11000"),
         "STOP_LOSS", "1.11000"),
        ("100", {"takeProfitOnFill": {"price": "1.11"}}, ("1.10999", "1.11009"), ("1.11000", "1.11010"),
         "TAKE_PROFIT", "1.11000"),
        ("100", {"takeProfitOnFill": {"price": "1.11"}}, ("1.10900", "1.10910"), ("1.12000", "1.12010"),
         "TAKE_PROFIT", "1.12000"),
        ("-100", {"takeProfitOnFill": {"price": "1.09"}}, ("1.08991", "1.09001"), ("1.08990", "1.09000"),
         "TAKE_PROFIT", "1.09000"),
        ("100", {"trailingStopLossOnFill": {"distance": "0.01"}}, ("1.11000", "1.11010"), ("1.09990", "1.10000"),
         "TRAILING_STOP_LOSS", "1.09990"),
        ("-100", {"trailingStopLossOnFill": {"distance": "0.01"}}, ("1.08000", "1.08010"), ("1.09000", "1.09010"),
         "TRAILING_STOP_LOSS", "1.09010"),
    ],
)  # fmt: skip
def test_when_a_linked_order_closes_the_trade(
    units: str, details: dict[str, Any], before: tuple[str, str], at: tuple[str, str], kind: str, fill: str
) -> None:
    floor = Floor()
    number = floor.opened(units, **details)
    assert floor.quote("EUR_USD", *before) == []
    made = floor.quote("EUR_USD", *at)
    assert kinds(made) == [f"ORDER_FILL {kind}_ORDER"]
    assert made[0]["tradesClosed"][0]["price"] == fill
    assert floor.trade(number)["state"] == "CLOSED"
    check_invariants(floor)


def test_the_older_of_two_stops_acts_and_takes_the_other_with_it() -> None:
    floor = Floor()
    number = floor.opened("100", stopLossOnFill={"price": "1.09"}, trailingStopLossOnFill={"distance": "0.005"})
    made = floor.quote("EUR_USD", "1.08", "1.0801")
    assert kinds(made) == ["ORDER_FILL STOP_LOSS_ORDER", "ORDER_CANCEL LINKED_TRADE_CLOSED"]
    assert len({item["batchID"] for item in made}) == 1
    trade = floor.trade(number)
    assert trade["stopLossOrder"]["state"] == "FILLED"
    assert trade["trailingStopLossOrder"]["state"] == "CANCELLED"
    check_invariants(floor)


def test_orders_of_one_request_cannot_share_a_client_id() -> None:
    floor = Floor()
    number = floor.opened("100")
    same = {"clientExtensions": {"id": "one"}}
    body = {"takeProfit": {"price": "1.2", **same}, "stopLoss": {"price": "1.0", **same}}
    refused = floor.desk.set_trade_orders(number, body, floor.now_ns, "7")
    assert (refused.status, refused.body["errorCode"]) == (400, "CLIENT_ORDER_ID_ALREADY_EXISTS")
    assert refused.body["stopLossOrderRejectTransaction"]["rejectReason"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    assert "takeProfitOrder" not in floor.trade(number)
    floor.desk.allow_duplicate_client_ids = True
    assert floor.desk.set_trade_orders(number, body, floor.now_ns, "8").status == 200
    check_invariants(floor)


def test_a_trailing_stop_follows_and_never_retreats() -> None:
    floor = Floor()
    number = floor.opened("100", trailingStopLossOnFill={"distance": "0.01"})
    for bid, level in (("1.12000", "1.11000"), ("1.11500", "1.11000"), ("1.12500", "1.11500")):
        floor.quote("EUR_USD", bid, f"{bid[:-1]}9")
        assert floor.trade(number)["trailingStopLossOrder"]["trailingStopValue"] == level
    state = floor.desk.changes("1").body["state"]["orders"]
    assert state == [
        {"id": "6", "trailingStopValue": "1.11500", "triggerDistance": "0.01000", "isTriggerDistanceExact": True}
    ]


def test_a_trailing_stop_does_not_follow_a_halted_market() -> None:
    floor = Floor()
    number = floor.opened("100", trailingStopLossOnFill={"distance": "0.01"})
    floor.quote("EUR_USD", "1.2", "1.2001", tradeable=False)
    assert floor.trade(number)["trailingStopLossOrder"]["trailingStopValue"] == "1.09000"


def test_linked_orders_by_request() -> None:
    floor = Floor()
    number = floor.opened("100", tradeClientExtensions={"id": "mine"})
    stop = floor.order("STOP_LOSS", tradeID=number, price="1.09").body["orderCreateTransaction"]
    assert (stop["tradeID"], stop["clientTradeID"], stop["guaranteed"]) == (number, "mine", False)
    target = floor.order("TAKE_PROFIT", clientTradeID="mine", price="1.2").body["orderCreateTransaction"]
    assert (target["tradeID"], target["reason"]) == (number, "CLIENT_ORDER")
    floor.order("TRAILING_STOP_LOSS", tradeID=number, distance="0.02")
    again = floor.order("STOP_LOSS", tradeID=number, price="1.08")
    assert (again.status, again.body["errorCode"]) == (400, "STOP_LOSS_ORDER_ALREADY_EXISTS")
    assert {order["type"] for order in floor.desk.pending_orders().body["orders"]} == {
        "STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP_LOSS",
    }  # fmt: skip


def test_a_stop_by_distance_counts_from_the_current_price() -> None:
    floor = Floor()
    number = floor.opened("100")
    floor.quote("EUR_USD", "1.20000", "1.20010")
    assert (
        floor.order("STOP_LOSS", tradeID=number, distance="0.01").body["orderCreateTransaction"]["price"] == "1.19010"
    )


@pytest.mark.parametrize(
    ("order", "status", "reason"),
    [
        ({"tradeID": "999", "price": "1"}, 404, "TRADE_DOESNT_EXIST"),
        ({"tradeID": "", "price": "1"}, 404, "TRADE_DOESNT_EXIST"),
        ({"clientTradeID": "nobody", "price": "1"}, 404, "TRADE_DOESNT_EXIST"),
        ({"tradeID": "5", "clientTradeID": "nobody", "price": "1"}, 400, "TRADE_IDENTIFIER_INCONSISTENCY"),
        ({"tradeID": "5"}, 400, "STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_MISSING"),
        ({"tradeID": "5", "price": "1", "distance": "1"}, 400, "STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_SPECIFIED"),
        ({"tradeID": "5", "price": "1", "guaranteed": True}, 400, "STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED"),
        ({"tradeID": "5", "distance": "2"}, 400, "PRICE_DISTANCE_MAXIMUM_EXCEEDED"),
    ],
)
def test_stops_that_are_rejected(order: dict[str, Any], status: int, reason: str) -> None:
    floor = Floor()
    assert floor.opened("100") == "5"
    outcome = floor.order("STOP_LOSS", **order)
    assert (outcome.status, outcome.body["errorCode"]) == (status, reason)
    assert outcome.body["orderRejectTransaction"]["type"] == "STOP_LOSS_ORDER_REJECT"


def test_a_linked_order_without_a_trade_is_rejected() -> None:
    outcome = Floor().desk.create_order({"type": "TAKE_PROFIT", "price": "1"}, 0, None)
    assert (outcome.status, outcome.body["errorCode"]) == (400, "TRADE_ID_UNSPECIFIED")


def test_setting_the_orders_of_a_trade() -> None:
    floor = Floor()
    number = floor.opened("100", stopLossOnFill={"price": "1.09"})
    body = {"takeProfit": {"price": "1.2"}, "stopLoss": {"price": "1.095"}, "trailingStopLoss": {"distance": "0.02"}}
    outcome = floor.desk.set_trade_orders(number, body, floor.now_ns, "9")
    assert outcome.status == 200
    made = outcome.body
    assert made["stopLossOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
    replaced = made["stopLossOrderTransaction"]
    assert replaced["replacesOrderID"] == made["stopLossOrderCancelTransaction"]["orderID"]
    assert replaced["cancellingTransactionID"] == made["stopLossOrderCancelTransaction"]["id"]
    assert made["takeProfitOrderTransaction"]["reason"] == "CLIENT_ORDER"
    assert len(made["relatedTransactionIDs"]) == 4
    kept = floor.desk.set_trade_orders(number, {"takeProfit": None}, floor.now_ns, "9").body
    assert kept["takeProfitOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    trade = floor.trade(number)
    assert "takeProfitOrder" not in trade
    assert (trade["stopLossOrder"]["price"], trade["trailingStopLossOrder"]["distance"]) == ("1.09500", "0.02000")
    check_invariants(floor)


def test_orders_that_the_market_meets_already_close_the_trade_at_once() -> None:
    floor = Floor()
    number = floor.opened("100", takeProfitOnFill={"price": "1.2"})
    body = {"stopLoss": {"price": "1.15"}, "trailingStopLoss": {"distance": "0.02"}}
    made = floor.desk.set_trade_orders(number, body, floor.now_ns, "9").body
    assert made["stopLossOrderFillTransaction"]["reason"] == "STOP_LOSS_ORDER"
    assert made["trailingStopLossOrderCreatedCancelTransaction"]["reason"] == "LINKED_TRADE_CLOSED"
    assert floor.summary()["pendingOrderCount"] == 0
    check_invariants(floor)


def test_a_stop_acts_before_a_target() -> None:
    floor = Floor()
    body = {"takeProfit": {"price": "1.05"}, "stopLoss": {"price": "1.15"}}
    made = floor.desk.set_trade_orders(floor.opened("100"), body, floor.now_ns, "9").body
    assert made["stopLossOrderFillTransaction"]["reason"] == "STOP_LOSS_ORDER"
    assert made["takeProfitOrderCreatedCancelTransaction"]["reason"] == "LINKED_TRADE_CLOSED"

    # What is placed in a halted market waits for the first tradeable quote.
    number = floor.opened("100")
    floor.quote("EUR_USD", "1.1", "1.1001", tradeable=False)
    floor.desk.set_trade_orders(number, body, floor.now_ns, "9")
    assert floor.summary()["pendingOrderCount"] == 2
    made = floor.quote("EUR_USD", "1.1", "1.1001")
    assert kinds(made) == ["ORDER_FILL STOP_LOSS_ORDER", "ORDER_CANCEL LINKED_TRADE_CLOSED"]


def test_a_stop_acts_before_an_older_entry() -> None:
    floor = Floor()
    floor.order("LIMIT", units="100", price="1.09")
    floor.opened("100", stopLossOnFill={"price": "1.09"})
    made = floor.quote("EUR_USD", "1.08", "1.0801")
    assert kinds(made) == ["ORDER_FILL STOP_LOSS_ORDER", "ORDER_FILL LIMIT_ORDER"]


def test_parts_of_a_trades_orders_take_effect_together_or_not_at_all() -> None:
    floor = Floor()
    number = floor.opened("100")
    body = {"takeProfit": {"price": "1.2"}, "stopLoss": {"price": "0"}, "trailingStopLoss": {"distance": "0.00001"}}
    outcome = floor.desk.set_trade_orders(number, body, floor.now_ns, "9")
    assert (outcome.status, outcome.body["errorCode"]) == (400, "PRICE_INVALID")
    assert outcome.body["stopLossOrderRejectTransaction"]["rejectReason"] == "PRICE_INVALID"
    assert outcome.body["trailingStopLossOrderRejectTransaction"]["rejectReason"] == "PRICE_DISTANCE_MINIMUM_NOT_MET"
    assert floor.summary()["pendingOrderCount"] == 0
    assert floor.desk.set_trade_orders("77", body, floor.now_ns, "9").body["errorCode"] == "NO_SUCH_TRADE"
    assert floor.desk.set_trade_orders(number, {"stopLoss": 1}, floor.now_ns, "9").status == 400
    assert floor.desk.set_trade_orders(number, [], floor.now_ns, "9").status == 400


def test_a_cancelled_stop_leaves_the_trade() -> None:
    floor = Floor()
    number = floor.opened("100", stopLossOnFill={"price": "1.09"})
    floor.desk.cancel_order(floor.trade(number)["stopLossOrder"]["id"], floor.now_ns, "9")
    assert "stopLossOrder" not in floor.trade(number)
    assert floor.quote("EUR_USD", "1.0", "1.0001") == []

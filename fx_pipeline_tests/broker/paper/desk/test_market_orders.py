"""Market orders: what they open, reduce and close, and why they are cancelled."""

from decimal import Decimal
from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants, kinds


def test_an_order_is_created_and_filled_in_one_batch() -> None:
    floor = Floor()
    outcome = floor.market("100", clientExtensions={"id": "mine", "tag": "t"}, tradeClientExtensions={"id": "trade"})
    body = outcome.body
    created, fill = body["orderCreateTransaction"], body["orderFillTransaction"]
    assert outcome.status == 201
    assert body["relatedTransactionIDs"] == [created["id"], fill["id"]] == ["4", "5"]
    assert created["batchID"] == fill["batchID"] == "4"
    assert (fill["orderID"], fill["clientOrderID"], fill["reason"]) == ("4", "mine", "MARKET_ORDER")
    assert fill["tradeOpened"]["clientExtensions"] == {"id": "trade"}
    assert (created["timeInForce"], created["positionFill"]) == ("FOK", "DEFAULT")
    assert floor.desk.order("4").body["order"]["tradeOpenedID"] == "5"
    assert floor.trade("@trade")["id"] == "5"
    assert floor.desk.order("@mine").status == 404


def test_the_oldest_trades_are_reduced_first() -> None:
    floor = Floor()
    first, second, third = floor.opened("100"), floor.opened("50"), floor.opened("70")
    fill = floor.market("-130").body["orderFillTransaction"]
    assert [part["tradeID"] for part in fill["tradesClosed"]] == [first]
    assert (fill["tradeReduced"]["tradeID"], fill["tradeReduced"]["units"]) == (second, "-30")
    assert "tradeOpened" not in fill
    assert [floor.trade(number)["currentUnits"] for number in (first, second, third)] == ["0", "20", "70"]
    order = floor.desk.order(fill["orderID"]).body["order"]
    assert (order["tradeClosedIDs"], order["tradeReducedID"]) == ([first], second)
    check_invariants(floor)


def test_more_units_than_are_open_turn_the_position() -> None:
    floor = Floor()
    first = floor.opened("100")
    fill = floor.market("-150").body["orderFillTransaction"]
    assert [part["tradeID"] for part in fill["tradesClosed"]] == [first]
    assert fill["tradeOpened"]["units"] == "-50"
    assert (fill["units"], fill["requestedUnits"]) == ("-150", "-150")
    check_invariants(floor)


@pytest.mark.parametrize(
    ("force", "rule", "units", "result"),
    [
        ("FOK", "REDUCE_ONLY", "-100", "-100"),
        ("FOK", "REDUCE_ONLY", "-150", "INSUFFICIENT_LIQUIDITY"),
        ("IOC", "REDUCE_ONLY", "-150", "-100"),
        ("FOK", "REDUCE_ONLY", "50", "INSUFFICIENT_LIQUIDITY"),
        ("FOK", "OPEN_ONLY", "50", "50"),
        ("FOK", "OPEN_ONLY", "-50", "INSUFFICIENT_LIQUIDITY"),
        ("FOK", "REDUCE_FIRST", "-150", "-150"),
    ],
)
def test_position_fill(force: str, rule: str, units: str, result: str) -> None:
    floor = Floor()
    floor.market("100")
    body = floor.market(units, timeInForce=force, positionFill=rule).body
    ending = body.get("orderFillTransaction", {}).get("units") or body["orderCancelTransaction"]["reason"]
    assert ending == result
    check_invariants(floor)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"priceBound": "1.10009"}, "BOUNDS_VIOLATION"),
        ({"units": "-100", "priceBound": "1.10001"}, "BOUNDS_VIOLATION"),
        ({"stopLossOnFill": {"price": "1.10000"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ({"units": "-100", "stopLossOnFill": {"price": "1.10010"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ({"stopLossOnFill": {"distance": "2.5"}}, "STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED"),
        ({"takeProfitOnFill": {"price": "1.10000"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ({"takeProfitOnFill": {"price": "1.10005"}}, "LOSING_TAKE_PROFIT"),
        ({"units": "-100", "takeProfitOnFill": {"price": "1.10005"}}, "LOSING_TAKE_PROFIT"),
        ({"units": "99000000"}, "INSUFFICIENT_MARGIN"),
        ({"tradeClientExtensions": {"id": "taken"}}, "CLIENT_TRADE_ID_ALREADY_EXISTS"),
        ({"stopLossOnFill": {"price": "1.0", "clientExtensions": {"id": "resting"}}},
         "STOP_LOSS_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_is_created_and_cancelled(order: dict[str, Any], reason: str) -> None:
    floor = Floor()
    floor.market("10", tradeClientExtensions={"id": "taken"})
    floor.order("LIMIT", units="1", price="1", clientExtensions={"id": "resting"})
    trades = floor.summary()["openTradeCount"]
    outcome = floor.order("MARKET", **{"units": "100", **order})
    assert outcome.status == 201
    assert outcome.body["orderCancelTransaction"]["reason"] == reason
    assert "orderFillTransaction" not in outcome.body
    assert floor.summary()["openTradeCount"] == trades
    check_invariants(floor)


def test_a_halted_market_cancels() -> None:
    floor = Floor()
    floor.quote("EUR_USD", "1.1", "1.1001", tradeable=False)
    outcome = floor.market("100")
    assert (outcome.status, outcome.body["orderCancelTransaction"]["reason"]) == (201, "MARKET_HALTED")


def test_orders_on_fill_hang_on_the_trade() -> None:
    floor = Floor()
    number = floor.opened(
        "100", stopLossOnFill={"distance": "0.01"}, takeProfitOnFill={"price": "1.12"},
        trailingStopLossOnFill={"distance": "0.005", "clientExtensions": {"id": "trail"}},
    )  # fmt: skip
    assert kinds(floor.batches[-1].transactions) == [
        "MARKET_ORDER", "ORDER_FILL MARKET_ORDER", "TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER", "TRAILING_STOP_LOSS_ORDER",
    ]  # fmt: skip
    trade = floor.trade(number)
    assert (trade["stopLossOrder"]["price"], trade["stopLossOrder"]["distance"]) == ("1.09010", "0.01000")
    assert trade["takeProfitOrder"]["price"] == "1.12000"
    assert trade["trailingStopLossOrder"]["trailingStopValue"] == "1.09500"
    assert floor.desk.order("@trail").body["order"]["tradeID"] == number


def test_on_fill_orders_are_not_made_where_the_fill_only_reduces() -> None:
    floor = Floor()
    floor.market("100")
    floor.market("-50", stopLossOnFill={"price": "1.2"})
    assert floor.summary()["pendingOrderCount"] == 0


def test_taken_client_ids_pass_when_duplicates_are_allowed() -> None:
    floor = Floor()
    floor.desk.allow_duplicate_client_ids = True
    first = floor.opened("10", tradeClientExtensions={"id": "same"})
    second = floor.opened("10", tradeClientExtensions={"id": "same"})
    assert floor.trade("@same")["id"] == first
    floor.desk.close_trade(first, {}, floor.now_ns, None)
    assert floor.trade("@same")["id"] == second
    orders = [floor.order("LIMIT", units="1", price="1", clientExtensions={"id": "same"}) for _ in range(2)]
    for order in orders:
        assert floor.desk.order("@same").body["order"]["id"] == order.body["lastTransactionID"]
        floor.desk.cancel_order("@same", floor.now_ns, None)


def test_units_up_to_those_available_fill_and_one_more_does_not() -> None:
    floor = Floor(balance=Decimal("1234.56"))
    floor.market("700", instrument="GBP_JPY")
    available = int(floor.desk.units_available("EUR_USD")["default"]["long"])
    refused = floor.market(str(available + 1)).body
    assert refused["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    assert "orderFillTransaction" in floor.market(str(available)).body
    turn = int(floor.desk.units_available("EUR_USD")["reduceFirst"]["short"])
    assert turn == 2 * available
    assert "orderCancelTransaction" in floor.market(str(-turn - 20)).body
    assert "orderFillTransaction" in floor.market(str(-turn)).body
    check_invariants(floor)

"""Limit, stop and market-if-touched orders: when they trigger, at which price they fill, when they expire."""

from typing import Any

import pytest

from fx_pipeline.broker.paper.desk.times import next_rollover_ns, time_of, time_text
from fx_pipeline_tests.broker.paper.desk.floor import SECOND_NS, START_NS, Floor, check_invariants, kinds


@pytest.mark.parametrize(
    ("kind", "units", "price", "before", "at", "fill"),
    [
        # The side that the fill takes triggers; a limit may fill better than its price, a stop worse.
        ("LIMIT", "100", "1.09", ("1.08999", "1.09001"), ("1.08990", "1.09000"), "1.09000"),
        ("LIMIT", "100", "1.09", ("1.09500", "1.09510"), ("1.08000", "1.08010"), "1.08010"),
        ("LIMIT", "-100", "1.11", ("1.10999", "1.11009"), ("1.11500", "1.11510"), "1.11500"),
        ("STOP", "100", "1.11", ("1.10989", "1.10999"), ("1.10990", "1.11000"), "1.11000"),
        ("STOP", "100", "1.11", ("1.10900", "1.10910"), ("1.12000", "1.12010"), "1.12010"),
        ("STOP", "-100", "1.09", ("1.09001", "1.09010"), ("1.07000", "1.07010"), "1.07000"),
        ("MARKET_IF_TOUCHED", "100", "1.09", ("1.09000", "1.09010"), ("1.08900", "1.08910"), "1.08910"),
        ("MARKET_IF_TOUCHED", "100", "1.11", ("1.10980", "1.10990"), ("1.12000", "1.12010"), "1.12010"),
        ("MARKET_IF_TOUCHED", "-100", "1.11", ("1.10990", "1.11005"), ("1.11000", "1.11010"), "1.11000"),
    ],
)
def test_when_an_entry_order_fills(
    kind: str, units: str, price: str, before: tuple[str, str], at: tuple[str, str], fill: str
) -> None:
    floor = Floor()
    created = floor.order(kind, units=units, price=price)
    assert list(created.body) == ["orderCreateTransaction", "relatedTransactionIDs", "lastTransactionID"]
    assert floor.quote("EUR_USD", *before) == []
    filled = floor.quote("EUR_USD", *at)
    assert kinds(filled) == [f"ORDER_FILL {kind}_ORDER"]
    assert filled[0]["price"] == fill
    assert "requestID" not in filled[0]
    assert floor.desk.order(created.body["lastTransactionID"]).body["order"]["state"] == "FILLED"
    check_invariants(floor)


@pytest.mark.parametrize(
    ("condition", "quote"),
    [("BID", ("1.11000", "1.11010")), ("MID", ("1.10995", "1.11005")), ("INVERSE", ("1.11000", "1.11010"))],
)
def test_other_trigger_sides(condition: str, quote: tuple[str, str]) -> None:
    floor = Floor()
    floor.order("STOP", units="100", price="1.11000", triggerCondition=condition)
    assert floor.quote("EUR_USD", "1.10990", "1.11000") == []
    assert floor.quote("EUR_USD", *quote)[0]["price"] == quote[1]


def test_a_limit_is_never_filled_worse_than_its_price() -> None:
    floor = Floor()
    floor.order("LIMIT", units="100", price="1.09000", triggerCondition="BID")
    assert floor.quote("EUR_USD", "1.08995", "1.09005") == []
    assert floor.quote("EUR_USD", "1.08990", "1.09000")[0]["price"] == "1.09000"


def test_orders_that_the_market_meets_already_fill_at_once() -> None:
    floor = Floor()
    limit = floor.order("LIMIT", units="100", price="1.2").body
    assert limit["orderFillTransaction"]["price"] == "1.10010"
    assert floor.order("STOP", units="-50", price="1.2").body["orderFillTransaction"]["price"] == "1.10000"
    assert "orderFillTransaction" in floor.order("MARKET_IF_TOUCHED", units="-50", price="1.1").body


@pytest.mark.parametrize("force", ["FOK", "IOC"])
def test_an_immediate_limit_does_not_rest(force: str) -> None:
    floor = Floor()
    body = floor.order("LIMIT", units="100", price="1.09", timeInForce=force).body
    assert body["orderCancelTransaction"]["reason"] == "TIME_IN_FORCE_EXPIRED"
    assert "orderFillTransaction" in floor.order("LIMIT", units="100", price="1.2", timeInForce=force).body


def test_a_stop_beyond_its_bound_is_cancelled() -> None:
    floor = Floor()
    floor.order("STOP", units="100", price="1.11", priceBound="1.111")
    assert kinds(floor.quote("EUR_USD", "1.12", "1.1201")) == ["ORDER_CANCEL BOUNDS_VIOLATION"]


def test_nothing_triggers_while_the_market_is_halted() -> None:
    floor = Floor()
    floor.order("LIMIT", units="100", price="1.09")
    assert floor.quote("EUR_USD", "1.08", "1.0801", tradeable=False) == []
    assert floor.quote("EUR_USD", "1.08", "1.0801")[0]["price"] == "1.08010"


def test_a_resting_order_that_cannot_be_filled_is_cancelled() -> None:
    floor = Floor()
    floor.order("LIMIT", units="90000000", price="1.09")
    assert kinds(floor.quote("EUR_USD", "1.08", "1.0801")) == ["ORDER_CANCEL INSUFFICIENT_MARGIN"]
    check_invariants(floor)


def test_older_orders_fill_first() -> None:
    floor = Floor()
    ids = [floor.order("LIMIT", units="1", price=price).body["lastTransactionID"] for price in ("1.08", "1.09")]
    assert [item["orderID"] for item in floor.quote("EUR_USD", "1.07", "1.0701")] == ids


def expiring(floor: Floor, **terms: Any) -> str:
    return str(floor.order("LIMIT", units="100", price="1.09", **terms).body["lastTransactionID"])


def test_a_dated_order_expires_at_its_time() -> None:
    floor = Floor()
    until = START_NS + 60 * SECOND_NS
    order = expiring(floor, timeInForce="GTD", gtdTime=time_text(until))
    assert floor.desk.next_expiry_ns() == until
    assert floor.desk.expire(until - 1) == []
    assert kinds(floor.desk.expire(until)) == ["ORDER_CANCEL TIME_IN_FORCE_EXPIRED"]
    assert floor.desk.next_expiry_ns() is None
    assert floor.desk.order(order).body["order"]["state"] == "CANCELLED"


def test_an_expired_order_does_not_fill_on_the_quote_that_would_trigger_it() -> None:
    floor = Floor()
    expiring(floor, timeInForce="GTD", gtdTime=time_text(floor.now_ns + 1))
    assert kinds(floor.quote("EUR_USD", "1.08", "1.0801")) == ["ORDER_CANCEL TIME_IN_FORCE_EXPIRED"]


def test_a_day_order_ends_at_17_new_york() -> None:
    floor = Floor()
    expiring(floor, timeInForce="GFD")
    assert floor.desk.next_expiry_ns() == next_rollover_ns(START_NS) == time_of("2024-01-10T22:00:00Z")


def test_replacing_cancels_and_creates_in_one_batch() -> None:
    floor = Floor()
    order = expiring(floor, clientExtensions={"id": "mine"})
    new = {
        "type": "LIMIT",
        "instrument": "EUR_USD",
        "units": "100",
        "price": "1.08",
        "clientExtensions": {"id": "mine"},
    }
    outcome = floor.desk.replace_order("@mine", new, floor.now_ns, "7")
    created, cancelled = outcome.body["orderCreateTransaction"], outcome.body["orderCancelTransaction"]
    assert outcome.status == 201
    assert (cancelled["reason"], cancelled["replacedByOrderID"]) == ("CLIENT_REQUEST_REPLACED", created["id"])
    assert (created["reason"], created["replacesOrderID"]) == ("REPLACEMENT", order)
    assert created["batchID"] == cancelled["batchID"] == cancelled["id"]
    assert floor.desk.order("@mine").body["order"]["id"] == created["id"]
    assert floor.desk.order(order).body["order"]["replacedByOrderID"] == created["id"]
    filled = floor.desk.replace_order(created["id"], {**new, "price": "1.2"}, floor.now_ns, "8").body
    assert filled["orderFillTransaction"]["orderID"] == filled["orderCreateTransaction"]["id"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"type": "MARKET", "instrument": "EUR_USD", "units": "1"}, "REPLACING_ORDER_INVALID"),
        ({"type": "LIMIT", "instrument": "GBP_USD", "units": "1", "price": "1"}, "REPLACING_ORDER_INVALID"),
        ({"type": "TAKE_PROFIT", "tradeID": "1", "price": "1"}, "REPLACING_ORDER_INVALID"),
        ({"type": "LIMIT", "instrument": "EUR_USD", "units": "1"}, "PRICE_MISSING"),
    ],
)
def test_what_cannot_replace_an_order(order: dict[str, Any], reason: str) -> None:
    floor = Floor()
    resting = expiring(floor)
    outcome = floor.desk.replace_order(resting, order, floor.now_ns, "7")
    assert (outcome.status, outcome.body["errorCode"]) == (400, reason)
    assert outcome.body["orderRejectTransaction"]["intendedReplacesOrderID"] == resting
    assert floor.desk.order(resting).body["order"]["state"] == "PENDING"


def test_cancelling() -> None:
    floor = Floor()
    order = expiring(floor, clientExtensions={"id": "mine"})
    outcome = floor.desk.cancel_order("@mine", floor.now_ns, "7")
    assert (outcome.status, outcome.body["orderCancelTransaction"]["clientOrderID"]) == (200, "mine")
    for specifier in (order, "@mine", "999"):
        again = floor.desk.cancel_order(specifier, floor.now_ns, "8")
        assert (again.status, again.body["errorCode"]) == (404, "ORDER_DOESNT_EXIST")
        assert again.body["orderCancelRejectTransaction"]["type"] == "ORDER_CANCEL_REJECT"
    assert floor.desk.cancel_order("x", floor.now_ns, "9").status == 400
    assert floor.desk.replace_order(order, {"type": "LIMIT"}, floor.now_ns, "9").status == 404

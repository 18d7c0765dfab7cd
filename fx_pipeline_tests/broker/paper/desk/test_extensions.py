"""Client extensions of orders and trades."""

from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.desk.floor import Floor, check_invariants

LONG = "x" * 129


def test_an_order_gets_a_client_id_and_keeps_what_is_not_named() -> None:
    floor = Floor()
    order = floor.order("LIMIT", units="1", price="1", clientExtensions={"tag": "t"}).body["lastTransactionID"]
    body = {"clientExtensions": {"id": "mine"}, "tradeClientExtensions": {"id": "trade"}}
    outcome = floor.desk.set_order_extensions(order, body, floor.now_ns, "7")
    made = outcome.body["orderClientExtensionsModifyTransaction"]
    assert outcome.status == 200
    assert (made["orderID"], made["clientExtensionsModify"]) == (order, {"id": "mine"})
    shown = floor.desk.order("@mine").body["order"]
    assert shown["clientExtensions"] == {"tag": "t", "id": "mine"}
    assert shown["tradeClientExtensions"] == {"id": "trade"}
    floor.quote("EUR_USD", "0.9", "0.9001")
    assert floor.trade("@trade")["clientExtensions"] == {"id": "trade"}
    check_invariants(floor)


def test_a_trade_gets_another_client_id() -> None:
    floor = Floor()
    number = floor.opened("100", tradeClientExtensions={"id": "old"})
    outcome = floor.desk.set_trade_extensions("@old", {"clientExtensions": {"id": "new"}}, floor.now_ns, "7")
    made = outcome.body["tradeClientExtensionsModifyTransaction"]
    assert (made["tradeID"], made["clientTradeID"]) == (number, "old")
    assert floor.desk.trade("@old").status == 404
    assert floor.trade("@new")["id"] == number


@pytest.mark.parametrize(
    ("specifier", "body", "status", "reason"),
    [
        ("999", {"clientExtensions": {"id": "a"}}, 404, "ORDER_DOESNT_EXIST"),
        ("@who", {"clientExtensions": {"id": "a"}}, 404, "ORDER_DOESNT_EXIST"),
        ("@one", {}, 400, "CLIENT_EXTENSIONS_DATA_MISSING"),
        ("@one", {"clientExtensions": {"id": LONG}}, 400, "CLIENT_ORDER_ID_INVALID"),
        ("@one", {"tradeClientExtensions": {"tag": LONG}}, 400, "CLIENT_TRADE_TAG_INVALID"),
        ("@one", {"clientExtensions": {"id": "two"}}, 400, "CLIENT_ORDER_ID_ALREADY_EXISTS"),
    ],
)
def test_changes_of_an_order_that_are_rejected(specifier: str, body: dict[str, Any], status: int, reason: str) -> None:
    floor = Floor()
    for name in ("one", "two"):
        floor.order("LIMIT", units="1", price="1", clientExtensions={"id": name})
    outcome = floor.desk.set_order_extensions(specifier, body, floor.now_ns, "7")
    assert (outcome.status, outcome.body["errorCode"]) == (status, reason)
    rejected = outcome.body["orderClientExtensionsModifyRejectTransaction"]
    assert rejected["type"] == "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT"


@pytest.mark.parametrize(
    ("specifier", "body", "status", "reason"),
    [
        ("999", {"clientExtensions": {"id": "a"}}, 404, "TRADE_DOESNT_EXIST"),
        ("@one", {}, 400, "CLIENT_EXTENSIONS_DATA_MISSING"),
        ("@one", {"clientExtensions": {"comment": LONG}}, 400, "CLIENT_TRADE_COMMENT_INVALID"),
        ("@one", {"clientExtensions": {"id": "two"}}, 400, "CLIENT_TRADE_ID_ALREADY_EXISTS"),
    ],
)
def test_changes_of_a_trade_that_are_rejected(specifier: str, body: dict[str, Any], status: int, reason: str) -> None:
    floor = Floor()
    for name in ("one", "two"):
        floor.opened("1", tradeClientExtensions={"id": name})
    outcome = floor.desk.set_trade_extensions(specifier, body, floor.now_ns, "7")
    assert (outcome.status, outcome.body["errorCode"]) == (status, reason)
    rejected = outcome.body["tradeClientExtensionsModifyRejectTransaction"]
    assert rejected["type"] == "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT"


def test_changes_that_cannot_be_read_write_nothing() -> None:
    floor = Floor()
    before = floor.desk.last_transaction_id
    for specifier, body in (("x", {}), ("@", {}), ("1", None), ("1", {"clientExtensions": 5})):
        assert floor.desk.set_order_extensions(specifier, body, floor.now_ns, "7").status == 400
        assert floor.desk.set_trade_extensions(specifier, body, floor.now_ns, "7").status == 400
    assert floor.desk.last_transaction_id == before

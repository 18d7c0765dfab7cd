"""Transactions, their pages, and what changed since one of them."""

import gc
import tracemalloc

import pytest

from fx_pipeline.broker.paper.desk.times import time_text
from fx_pipeline_tests.broker.paper.desk.floor import SECOND_NS, START_NS, Floor

URL = "http://broker/v3/accounts/a/transactions"
WEEK_NS = 7 * 86_400 * SECOND_NS


def busy() -> Floor:
    floor = Floor()
    floor.opened("100", stopLossOnFill={"price": "1.09"})
    floor.order("LIMIT", units="5", price="1.05")
    floor.quote("EUR_USD", "1.08", "1.0801")
    return floor


def test_transactions_by_id() -> None:
    desk = busy().desk
    last = desk.last_transaction_id
    everything = desk.transactions_since("0").body["transactions"]
    assert everything == desk.transactions_range("1", last).body["transactions"] == desk.transactions
    assert desk.transactions_since("4").body["transactions"] == everything[4:]
    assert desk.transactions_since(last).body["transactions"] == []
    assert desk.transaction("4").body["transaction"] == everything[3]


def test_transactions_by_type() -> None:
    desk = busy().desk

    def found(*types: str) -> list[str]:
        transactions = desk.transactions_range("1", desk.last_transaction_id, types).body["transactions"]
        return [item["type"] for item in transactions]

    assert found("FUNDING") == ["TRANSFER_FUNDS"]
    assert found("ADMIN") == ["CREATE", "CLIENT_CONFIGURE"]
    assert found("ORDER_FILL", "STOP_LOSS_ORDER") == ["ORDER_FILL", "STOP_LOSS_ORDER", "ORDER_FILL"]
    assert len(found("ORDER", "FUNDING", "ADMIN")) == len(desk.transactions)
    assert desk.transactions_range("1", "2", ["NOTHING"]).status == 400


@pytest.mark.parametrize("text", ["99", "999999999999999999"])
def test_ids_out_of_range_are_416(text: str) -> None:
    desk = busy().desk
    for outcome in (desk.transactions_since(text), desk.changes(text), desk.transactions_range("1", text),
                    desk.transactions_range("0", "1"), desk.transactions_range("3", "2")):  # fmt: skip
        assert outcome.status == 416


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", "9" * 30, "٣"])
def test_what_is_no_id_is_400(text: str) -> None:
    desk = busy().desk
    for outcome in (desk.transactions_since(text), desk.changes(text), desk.transactions_range(text, "2")):
        assert outcome.status == 400


def test_pages_of_transactions() -> None:
    floor = busy()
    count = len(floor.desk.transactions)
    body = floor.desk.transaction_pages(START_NS, floor.now_ns, 4, None, URL, floor.now_ns).body
    assert body["count"] == count == 8
    assert body["pages"] == [f"{URL}/idrange?from=1&to=4", f"{URL}/idrange?from=5&to=8"]
    assert (body["from"], body["to"], body["pageSize"]) == (time_text(START_NS), time_text(floor.now_ns), 4)
    filtered = floor.desk.transaction_pages(None, None, 100, ["ORDER_FILL"], URL, floor.now_ns).body
    assert (filtered["count"], filtered["type"]) == (2, ["ORDER_FILL"])
    assert filtered["pages"] == [f"{URL}/idrange?from=5&to=8&type=ORDER_FILL"]


def test_pages_begin_a_week_ago_unless_told() -> None:
    floor = busy()
    later = floor.now_ns + WEEK_NS
    assert floor.desk.transaction_pages(None, None, 100, None, URL, later).body["count"] == 1
    assert floor.desk.transaction_pages(START_NS, None, 100, None, URL, later).body["count"] == 8
    assert floor.desk.transaction_pages(None, None, 100, None, URL, later + 1).body["pages"] == []
    for bad in ((later, START_NS, 100, None), (None, None, 0, None), (None, None, 1001, None), (None, None, 1, ["X"])):
        assert floor.desk.transaction_pages(*bad, URL, later).status == 400


def test_changes() -> None:
    floor = busy()
    body = floor.desk.changes("3").body
    changes = body["changes"]
    assert [order["state"] for order in changes["ordersCreated"]] == ["FILLED", "FILLED", "PENDING"]
    assert [order["id"] for order in changes["ordersFilled"]] == ["4", "6"]
    assert [trade["id"] for trade in changes["tradesOpened"]] == [trade["id"] for trade in changes["tradesClosed"]]
    assert [position["instrument"] for position in changes["positions"]] == ["EUR_USD"]
    assert changes["transactions"] == floor.desk.transactions[3:]
    nothing = floor.desk.changes(floor.desk.last_transaction_id).body["changes"]
    assert not any(nothing.values())


def test_the_state_among_the_changes() -> None:
    floor = Floor()
    number = floor.opened("1000", trailingStopLossOnFill={"distance": "0.01"})
    state = floor.desk.changes("0").body["state"]
    summary = floor.summary()
    assert {name: state[name] for name in ("NAV", "unrealizedPL", "marginUsed", "marginCloseoutPercent")} == {
        name: summary[name] for name in ("NAV", "unrealizedPL", "marginUsed", "marginCloseoutPercent")
    }
    assert state["trades"] == [{"id": number, "unrealizedPL": "-0.1000", "marginUsed": "22.0010"}]
    assert state["positions"][0]["longUnrealizedPL"] == state["positions"][0]["netUnrealizedPL"] == "-0.1000"


def test_a_long_history_stays_small() -> None:
    floor = Floor()
    for side in (1, -1) * 20:
        floor.market(str(100 * side), stopLossOnFill={"distance": "0.01"})
    tracemalloc.start()
    try:
        for side in (1, -1) * 150:
            floor.market(str(100 * side), stopLossOnFill={"distance": "0.01"})
            # The record is the floor's own.
            floor.batches.clear()
        gc.collect()
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes / 300 < 4500
    # What has ended shows as it did when it was new.
    number = floor.opened("5", stopLossOnFill={"distance": "0.01"}, clientExtensions={"id": "mine"})
    floor.market("-5")
    order = floor.desk.order(str(int(number) - 1)).body["order"]
    assert (order["state"], order["fillingTransactionID"], order["clientExtensions"]) == (
        "FILLED", number, {"id": "mine"},
    )  # fmt: skip
    assert floor.trade(number)["stopLossOrder"]["state"] == "CANCELLED"


def long_history() -> Floor:
    floor = Floor()
    for side in (1, -1) * 520:
        floor.market(str(100 * side))
    return floor


def test_a_reply_has_a_thousand_transactions_at_most_and_pages_lose_nothing() -> None:
    """The oldest first, as OANDA's `sinceid` does it; `lastTransactionID` tells that there are more."""
    desk = long_history().desk
    everything, newest = desk.transactions, desk.last_transaction_id
    assert len(everything) == 2_083
    first = desk.transactions_since("0").body
    assert [item["id"] for item in first["transactions"]] == [str(number) for number in range(1, 1_001)]
    assert first["lastTransactionID"] == newest
    found, last = [], "0"
    while last != newest:
        found += desk.transactions_since(last).body["transactions"]
        last = found[-1]["id"]
    assert found == everything
    assert desk.transactions_since("1083").body["transactions"] == everything[1_083:]
    assert desk.transactions_since("1082").body["transactions"] == everything[1_082:2_082]
    assert desk.transactions_range("5", newest).body["transactions"] == everything[4:1_004]
    fills = [item for item in everything if item["type"] == "ORDER_FILL"]
    assert desk.transactions_range("1", newest, ["ORDER_FILL"]).body["transactions"] == fills[:1_000]
    assert desk.transactions_range(fills[999]["id"], newest, ["ORDER_FILL"]).body["transactions"] == fills[999:]


def test_the_pages_of_a_long_history_hold_all_of_it() -> None:
    floor = long_history()
    desk = floor.desk
    for size, types in ((1_000, None), (100, ["ORDER_FILL"]), (1_000, ["ORDER_FILL", "FUNDING"])):
        body = desk.transaction_pages(START_NS, floor.now_ns, size, types, URL, floor.now_ns).body
        found = []
        for page in body["pages"]:
            query = dict(part.split("=") for part in page.split("?")[1].split("&"))
            reply = desk.transactions_range(query["from"], query["to"], types).body
            assert len(reply["transactions"]) <= size
            found += reply["transactions"]
        wanted = {"ORDER_FILL", "TRANSFER_FUNDS"} if types and "FUNDING" in types else set(types or ())
        assert found == [item for item in desk.transactions if not wanted or item["type"] in wanted]
        assert body["count"] == len(found)


def test_changes_reach_over_a_thousand_transactions() -> None:
    desk = long_history().desk
    body = desk.changes("1083").body
    assert len(body["changes"]["transactions"]) == 1_000 and body["lastTransactionID"] == "2083"
    refused = desk.changes("1082")
    assert refused.status == 416 and refused.body["lastTransactionID"] == "2083"
    assert "1001 transactions followed it" in refused.body["errorMessage"]

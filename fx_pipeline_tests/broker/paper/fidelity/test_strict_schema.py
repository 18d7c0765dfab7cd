"""The strict schema itself: what was recorded from OANDA passes, and whatever is bent in it does not."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.fidelity.fields import SAID_BY_CLIENT
from fx_pipeline_tests.broker.paper.fidelity.recordings import EXCEPTIONS, NOT_SERVED, REQUESTS
from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema

_SERVED = sorted(set(REQUESTS) - NOT_SERVED)
# Text of the client's or the service's own choosing, in which any text is right.
_FREE_TEXT = {"tag", "id", "comment", "alias", "errorMessage", "errorCode", "requestID", "clientOrderID", "partialFill"}


def test_every_recording_has_its_request(recorded: Mapping[str, Any]) -> None:
    assert set(recorded) == set(REQUESTS)


@pytest.mark.parametrize("name", _SERVED)
def test_a_recorded_reply_passes(name: str, recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    assert set(schema.problems(*REQUESTS[name], recorded[name])) == EXCEPTIONS.get(name, set())


@pytest.mark.parametrize("name", sorted(NOT_SERVED))
def test_the_books_differ_only_in_their_times(name: str, recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    found = schema.problems(*REQUESTS[name], recorded[name])
    assert len(found) == 2
    assert all("unixTime" in problem or ".time:" in problem for problem in found)


@pytest.mark.parametrize("name", _SERVED)
def test_an_unknown_field_anywhere_fails(name: str, recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    count = sum(1 for _ in _objects(_small(recorded[name])))
    for number in range(count):
        bent = _small(recorded[name])
        list(_objects(bent))[number]["isNotOandas"] = "1"
        assert any("isNotOandas" in problem for problem in schema.problems(*REQUESTS[name], bent))


@pytest.mark.parametrize("name", _SERVED)
def test_a_value_of_another_kind_anywhere_fails(name: str, recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    known = EXCEPTIONS.get(name, set())
    count = sum(1 for _ in _leaves(_small(recorded[name])))
    for number in range(count):
        bent = _small(recorded[name])
        holder, key = list(_leaves(bent))[number]
        value = holder[key]
        holder[key] = f"{value}" if isinstance(value, (int, bool)) else 1.5
        assert set(schema.problems(*REQUESTS[name], bent)) - known, f"{key} = {holder[key]!r} passed"


@pytest.mark.parametrize("name", _SERVED)
def test_a_text_that_is_no_price_id_time_or_known_word_fails(
    name: str, recorded: Mapping[str, Any], schema: StrictSchema
) -> None:
    known = EXCEPTIONS.get(name, set())
    count = sum(1 for _ in _leaves(_small(recorded[name])))
    for number in range(count):
        bent = _small(recorded[name])
        holder, key = list(_leaves(bent))[number]
        value = holder[key]
        # Ids of orders, trades and transactions are numbers; those of client extensions are free.
        identifies = key == "id" and ("time" in holder or "createTime" in holder)
        repeats = str(holder.get("type", "")).endswith("_REJECT") if isinstance(holder, dict) else False
        if (repeats and key in SAID_BY_CLIENT.split()) or value == "ALL":
            continue
        is_url = isinstance(value, str) and value.startswith("https:")
        if isinstance(value, str) and not is_url and (key not in _FREE_TEXT or identifies):
            holder[key] = f"{value}?"
            assert set(schema.problems(*REQUESTS[name], bent)) - known, f"{key} = {holder[key]!r} passed"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("order/market_order", "lastTransactionID"),
        ("order/market_order", "orderCreateTransaction.reason"),
        ("order/market_order", "orderFillTransaction.accountBalance"),
        ("order/market_order", "orderFillTransaction.tradeOpened.initialMarginRequired"),
        ("order/market_order", "orderFillTransaction.fullPrice.timestamp"),
        ("order/error/order_rejected", "errorMessage"),
        ("order/error/order_rejected", "orderRejectTransaction.rejectReason"),
        ("order/error/market_halted", "orderCancelTransaction.reason"),
        ("order/cancel_order", "orderCancelTransaction.batchID"),
        ("order/stop_loss_order", "orderCreateTransaction.triggerCondition"),
        ("order/order", "order.state"),
        ("pricing/pricing", "time"),
        ("pricing/pricing", "prices.0.closeoutBid"),
        ("transaction/sinceid", "transactions.1.positionFinancings"),
        ("instrument/candles", "candles.0.complete"),
        ("instrument/candles", "candles.0.ask.h"),
        ("instrument/candles", "candles.0.ask"),
    ],
)
def test_a_missing_field_fails(name: str, path: str, recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    bent = copy.deepcopy(recorded[name])
    *parents, last = path.split(".")
    holder = bent
    for step in parents:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    del holder[last]
    assert set(schema.problems(*REQUESTS[name], bent)) - EXCEPTIONS.get(name, set())


def test_a_transaction_is_judged_by_its_type(recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    order = recorded["order/market_order"]["orderCreateTransaction"]
    assert not schema.definition_problems("AnyTransaction", order)
    # The base class of the document would let all of these pass.
    assert schema.definition_problems("AnyTransaction", {**order, "type": "STOP_LOSS_ORDER"})
    assert schema.definition_problems("AnyTransaction", {**order, "type": "GUESS"})
    assert schema.definition_problems("AnyTransaction", {**order, "price": "1.10000"})


def test_prices_have_the_decimals_of_their_instrument(recorded: Mapping[str, Any], schema: StrictSchema) -> None:
    bent = copy.deepcopy(recorded["instrument/candles"])
    bent["candles"][0]["ask"]["o"] = "1.3206"
    assert schema.problems(*REQUESTS["instrument/candles"], bent) == [
        ".candles.0.ask.o: 1.3206 does not have the 5 decimals of GBP_USD"
    ]


def test_a_status_that_the_document_does_not_know_fails(schema: StrictSchema) -> None:
    assert schema.problems("GET", "/accounts", 418, {"errorMessage": "tea"})


def _small(reply: Any) -> Any:
    # Two candles stand for all of them.
    if isinstance(reply, dict) and "candles" in reply:
        reply = {**reply, "candles": reply["candles"][:2]}
    return copy.deepcopy(reply)


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(child)


def _leaves(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, child in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
        if isinstance(child, (dict, list)):
            yield from _leaves(child)
        else:
            yield node, key

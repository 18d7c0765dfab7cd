"""What each trading fault does to the unmodified oandapyV20, and that nothing is lost or doubled by it."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from oandapyV20 import API
from oandapyV20.endpoints import accounts, orders, pricing, trades, transactions
from oandapyV20.endpoints.instruments import InstrumentsCandles
from oandapyV20.exceptions import V20Error

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline_tests.broker.paper.fidelity.audit import audit
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench
from fx_pipeline_tests.broker.paper.fidelity.trader import Listener, oanda_api

ACCOUNT = AccountConfig().account


@pytest.fixture
def api(desk: Bench) -> Iterator[API]:
    """The unmodified client, whose patience ends after a second and a half."""
    with oanda_api(desk.url, TOKEN, (3.05, 1.5)) as client:
        yield client


@pytest.fixture(autouse=True)
def account_is_right_afterwards(desk: Bench) -> Iterator[None]:
    """Whatever the fault did to the client: the account holds."""
    yield
    desk.control("DELETE", "/faults")
    with oanda_api(desk.url, TOKEN) as client:
        summary = client.request(accounts.AccountSummary(ACCOUNT))["account"]
        span = {"from": "1", "to": summary["lastTransactionID"]}
        history = client.request(transactions.TransactionIDRange(ACCOUNT, span))["transactions"]
    assert audit(history, summary) == []


def order(identity: str, units: int = 100, **more: Any) -> orders.OrderCreate:
    """A market order, or another if `more` says so, with a client id."""
    body = {
        "type": "MARKET", "instrument": "EUR_USD", "units": str(units), "clientExtensions": {"id": identity}, **more,
    }  # fmt: skip
    return orders.OrderCreate(ACCOUNT, {"order": body})


def fills(api: API, identity: str) -> list[dict[str, Any]]:
    """The fills of a client id, as a careful client looks for them after an unknown outcome."""
    found = api.request(transactions.TransactionsSinceID(ACCOUNT, {"id": "1"}))["transactions"]
    return [item for item in found if item["type"] == "ORDER_FILL" and item.get("clientOrderID") == identity]


def test_a_lost_reply_leaves_an_order_that_a_scan_finds(desk: Bench, api: API) -> None:
    desk.faults(lose_reply=1)
    with pytest.raises(requests.ConnectionError):
        api.request(order("lost"))
    assert len(fills(api, "lost")) == 1
    assert api.request(order("next"))["orderFillTransaction"]["clientOrderID"] == "next"


def test_a_lost_reply_to_a_close_leaves_a_closed_trade(desk: Bench, api: API) -> None:
    trade_id = api.request(order("opened"))["orderFillTransaction"]["tradeOpened"]["tradeID"]
    desk.faults(lose_reply=1)
    with pytest.raises(requests.ConnectionError):
        api.request(trades.TradeClose(ACCOUNT, trade_id))
    with pytest.raises(V20Error) as again:
        api.request(trades.TradeClose(ACCOUNT, trade_id))
    assert again.value.code == 404


def test_a_late_reply_is_an_order_all_the_same(desk: Bench, api: API) -> None:
    desk.faults(late_reply_s=30)
    with pytest.raises(requests.ReadTimeout):
        api.request(order("late"))
    assert len(fills(api, "late")) == 1


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_refused_order_is_not_applied(desk: Bench, api: API, status: int) -> None:
    desk.faults(**{f"status_{status}": 1, "path": "/orders"})
    with pytest.raises(V20Error) as refused:
        api.request(order("refused"))
    assert refused.value.code == status
    assert ("<html>" in refused.value.msg) == (status == 503)
    assert fills(api, "refused") == []
    assert api.request(order("refused"))["orderFillTransaction"]["clientOrderID"] == "refused"
    assert len(fills(api, "refused")) == 1


def test_a_refused_token_stops_everything(desk: Bench, api: API) -> None:
    desk.faults(refuse_token=True)
    with pytest.raises(V20Error) as refused:
        api.request(accounts.AccountSummary(ACCOUNT))
    assert refused.value.code == 401
    assert "Insufficient authorization" in refused.value.msg


def test_limits_are_those_of_oanda(desk: Bench, api: API) -> None:
    desk.faults(rate_limit=True)
    with pytest.raises(V20Error) as refused:
        for _ in range(2000):
            api.request(accounts.AccountList())
    assert refused.value.code == 429


def test_slow_replies_try_a_clients_patience(desk: Bench, api: API) -> None:
    desk.faults(slow_reply_s=30)
    with pytest.raises(requests.ReadTimeout):
        api.request(accounts.AccountSummary(ACCOUNT))


def test_a_new_order_is_invisible_for_a_while(desk: Bench, api: API) -> None:
    desk.faults(read_lag_s=3600)
    filled = api.request(order("lagging"))
    order_id = filled["orderCreateTransaction"]["id"]
    with pytest.raises(V20Error) as refused:
        api.request(orders.OrderDetails(ACCOUNT, order_id))
    assert (refused.value.code, "NO_SUCH_ORDER" in refused.value.msg) == (404, True)
    assert api.request(trades.OpenTrades(ACCOUNT))["trades"] == []
    desk.faults(read_lag_s=0)
    assert api.request(orders.OrderDetails(ACCOUNT, order_id))["order"]["state"] == "FILLED"
    assert len(api.request(trades.OpenTrades(ACCOUNT))["trades"]) == 1


def test_client_ids_may_be_used_twice(desk: Bench, api: API) -> None:
    resting = {"type": "LIMIT", "price": "1.05000", "timeInForce": "GTC"}
    api.request(order("twice", **resting))
    with pytest.raises(V20Error) as refused:
        api.request(order("twice", **resting))
    assert "CLIENT_ORDER_ID_ALREADY_EXISTS" in refused.value.msg
    desk.faults(duplicate_client_ids=True)
    api.request(order("twice", **resting))
    pending = api.request(orders.OrdersPending(ACCOUNT))["orders"]
    assert [item["clientExtensions"]["id"] for item in pending] == ["twice", "twice"]


def test_books_may_be_empty(desk: Bench, api: API) -> None:
    desk.faults(empty_books=True)
    (price,) = api.request(pricing.PricingInfo(ACCOUNT, {"instruments": "EUR_USD"}))["prices"]
    assert (price["bids"], price["asks"]) == ([], [])
    assert float(price["closeoutBid"]) > 1


def test_the_servers_clock_may_be_wrong(desk: Bench, api: API) -> None:
    headers: list[str] = []
    api.client.hooks["response"].append(lambda response, **_: headers.append(response.headers["Date"]))
    desk.faults(clock_skew_s=7200)
    api.request(InstrumentsCandles("EUR_USD", {"granularity": "M1", "count": 1}))
    assert headers == ["Tue, 16 Jan 2024 14:00:00 GMT"]


STREAMS = {
    "pricing_stream": pricing.PricingStream(ACCOUNT, {"instruments": "EUR_USD"}),
    "transactions_stream": transactions.TransactionsStream(ACCOUNT),
}


@pytest.mark.parametrize("broken", sorted(STREAMS))
@pytest.mark.parametrize("fault", ["drop", "stall", "end"])
def test_one_stream_breaks_and_the_other_lives(desk: Bench, broken: str, fault: str) -> None:
    listeners = {name: Listener(desk.url, TOKEN, endpoint, 1.0) for name, endpoint in STREAMS.items()}
    for listener in listeners.values():
        listener.start()
        assert listener.started_reading.wait(10)
    desk.faults(**{broken: fault})
    listeners[broken].join(10)
    assert not listeners[broken].is_alive()
    # A stalled stream ends by the client's own patience only; a clean end raises nothing at all.
    failure = listeners[broken].failure
    assert (failure is None) == (fault == "end"), failure
    (other,) = (listener for name, listener in listeners.items() if name != broken)
    before = len(other.lines)
    while len(other.lines) == before:
        other.join(0.01)
    assert other.is_alive()


def test_heartbeats_may_come_without_prices(desk: Bench) -> None:
    desk.faults(heartbeats_only=True)
    listener = Listener(desk.url, TOKEN, STREAMS["pricing_stream"])
    listener.start()
    assert listener.started_reading.wait(10)
    desk.step(120)
    before = len(listener.lines)
    while len(listener.lines) < before + 3:
        listener.join(0.01)
    assert {line["type"] for line in listener.lines} == {"HEARTBEAT"}
    desk.faults(heartbeats_only=False)
    desk.step(60)
    while not listener.prices("EUR_USD"):
        listener.join(0.01)


def test_a_dropped_stream_is_made_good_by_a_scan(desk: Bench, api: API) -> None:
    listener = Listener(desk.url, TOKEN, STREAMS["transactions_stream"])
    listener.start()
    assert listener.started_reading.wait(10)
    api.request(order("seen"))
    while not listener.transactions():
        listener.join(0.01)
    desk.faults(transactions_stream="drop")
    listener.join(10)
    api.request(order("unseen"))
    last = listener.transactions()[-1]["id"]
    missed = api.request(transactions.TransactionsSinceID(ACCOUNT, {"id": last}))["transactions"]
    assert [item["type"] for item in missed][-2:] == ["MARKET_ORDER", "ORDER_FILL"]
    ids = [int(item["id"]) for item in [*listener.transactions(), *missed]]
    assert ids == list(range(ids[0], ids[-1] + 1))

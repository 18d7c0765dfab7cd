"""The broker's endpoints by plain HTTP: who may ask, how replies look, what a wrong request gets."""

import gzip
import http.client
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from fx_pipeline.broker.paper.server import create_app
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline_tests.broker.paper.conftest import Client, open_exchange, serving

START = "2024-03-13T12:00:00.000000000Z"


@pytest.mark.parametrize(
    "value", [None, "", "a-token-for-tests", "Bearer", "Bearer other", "Bearer a-token-for-test\xe9"]
)
def test_without_the_token_nothing_is_told(broker: Client, value: str | None) -> None:
    connection = http.client.HTTPConnection(*urlsplit(broker.url).netloc.split(":"), timeout=10)
    for path in ("/v3/accounts", f"{broker.account}/summary", f"{broker.account}/pricing/stream?instruments=EUR_USD"):
        connection.request("GET", path, headers={} if value is None else {"Authorization": value})
        reply = connection.getresponse()
        assert reply.status == 401
        assert json.loads(reply.read()) == {"errorMessage": "Insufficient authorization to perform request."}
    connection.close()


def test_a_token_is_required(tmp_path: Path) -> None:
    for token in ("", "t\xf6ken"):
        with pytest.raises(ConfigurationError, match="token"):
            create_app(open_exchange(tmp_path), token)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v3/nothing", 404),
        ("GET", "/v3/accounts/", 404),
        ("DELETE", "/v3/accounts", 405),
        ("POST", "{account}/summary", 405),
        ("GET", "{account}/orders/1/cancel", 405),
        ("GET", "/v3/accounts/101-001-9-001/summary", 404),
        ("GET", "/v3/accounts/none/summary", 400),
        ("GET", "/v3/accounts/%2F/summary", 400),
        ("GET", "{account}/pricing", 400),
        ("GET", "{account}/pricing?instruments=EUR_XXX", 400),
        ("GET", "{account}/pricing?instruments=EUR_USD&since=yesterday", 400),
        ("GET", "{account}/pricing?instruments=EUR_USD&includeUnitsAvailable=2", 400),
        ("GET", "{account}/pricing/stream", 400),
        ("GET", "{account}/pricing/stream?instruments=", 400),
        ("GET", "{account}/instruments?instruments=EUR_XXX", 400),
        ("GET", "{account}/transactions?pageSize=1001", 400),
        ("GET", "{account}/transactions?from=never", 400),
        ("GET", "{account}/candles/latest", 400),
        ("GET", "{account}/candles/latest?candleSpecifications=EUR_USD", 400),
        ("GET", "{account}/orders/77", 404),
        ("GET", "{account}/trades/77", 404),
        ("GET", "{account}/transactions/77", 404),
    ],
)
def test_a_wrong_request_is_told_so_in_json(broker: Client, method: str, path: str, status: int) -> None:
    reply = broker.send(method, path.format(account=broker.account))
    assert reply.status_code == status
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json()["errorMessage"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ("{", 400),
        ('{"order": NaN}', 400),
        ("[]", 400),
        ('"order"', 400),
        ("{}", 400),
        ('{"order": null}', 400),
        ('{"order": []}', 400),
        ('{"order": {}}', 400),
        (b"\xff\xfe", 400),
        ("[" * 5000, 400),
        ("x" * (1 << 20) + "x", 413),
    ],
)
def test_an_order_that_is_no_order_is_refused(broker: Client, body: str | bytes | None, status: int) -> None:
    reply = broker.send("POST", f"{broker.account}/orders", body)
    assert reply.status_code == status
    assert reply.json()["errorMessage"]
    assert broker.get("/orders")["orders"] == []


def test_an_order_says_where_it_is_and_which_request_it_was(broker: Client) -> None:
    first, second = broker.order("100"), broker.order("-100")
    assert first.status_code == second.status_code == 201
    for reply in (first, second):
        body = reply.json()
        assert reply.headers["RequestID"] == body["orderCreateTransaction"]["requestID"]
        assert reply.headers["RequestID"] == body["orderFillTransaction"]["requestID"]
        location = reply.headers["Location"]
        assert location == f"{broker.url}{broker.account}/orders/{body['orderCreateTransaction']['id']}"
        found = requests.get(location, headers=broker.headers, timeout=10).json()
        assert found["order"]["state"] == "FILLED"
    assert first.headers["RequestID"] != second.headers["RequestID"]
    closed = broker.order("100").json()
    assert closed["lastTransactionID"] == broker.get("/summary")["lastTransactionID"]


def test_gzip_and_unix_times_are_given_to_those_who_ask(broker: Client) -> None:
    broker.order()
    connection = http.client.HTTPConnection(*urlsplit(broker.url).netloc.split(":"), timeout=10)
    path = f"{broker.account}/transactions/sinceid?id=0"
    connection.request("GET", path, headers=broker.headers)
    reply = connection.getresponse()
    plain = reply.read()
    assert reply.headers["Content-Encoding"] is None
    connection.request("GET", path, headers={**broker.headers, "Accept-Encoding": "gzip"})
    reply = connection.getresponse()
    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.read()) == plain
    connection.close()
    unix = broker.send("GET", path, Accept_Datetime_Format="UNIX").json()
    times = [transaction["time"] for transaction in json.loads(plain)["transactions"]]
    assert set(times) == {START}
    assert {transaction["time"] for transaction in unix["transactions"]} == {"1710331200.000000000"}


def test_the_date_is_the_markets(broker: Client) -> None:
    reply = broker.send("GET", "/v3/accounts")
    assert parsedate_to_datetime(reply.headers["Date"]).isoformat() == "2024-03-13T12:00:00+00:00"
    assert "Server" not in reply.headers
    broker.bench.faults(clock_skew_s=90)
    reply = broker.send("GET", "/v3/accounts")
    assert parsedate_to_datetime(reply.headers["Date"]).isoformat() == "2024-03-13T12:01:30+00:00"


def test_a_list_links_to_its_next_page(broker: Client) -> None:
    for _ in range(5):
        broker.order()
    seen, url = [], f"{broker.url}{broker.account}/trades?count=2&state=ALL"
    while url:
        reply = requests.get(url, headers=broker.headers, timeout=10)
        seen += [trade["id"] for trade in reply.json()["trades"]]
        url = reply.links.get("next", {}).get("url", "")
    assert seen == [trade["id"] for trade in broker.get("/trades")["trades"]]
    assert len(seen) == 5


def test_transaction_pages_can_be_followed(broker: Client) -> None:
    for units in ("100", "-100", "50"):
        broker.order(units)
    everything = broker.get("/transactions/sinceid?id=0")["transactions"]
    pages = broker.get("/transactions?pageSize=3")
    assert pages["count"] == len(everything)
    followed = [
        transaction
        for url in pages["pages"]
        for transaction in requests.get(url, headers=broker.headers, timeout=10).json()["transactions"]
    ]
    assert followed == everything
    assert [int(transaction["id"]) for transaction in everything] == list(range(1, len(everything) + 1))


def test_a_client_id_with_a_slash_is_found(broker: Client) -> None:
    resting = {"type": "LIMIT", "price": "0.50000", "clientExtensions": {"id": "a/b c"}}
    made = broker.order(**resting).json()["orderCreateTransaction"]["id"]
    assert broker.get("/orders/@a%2Fb%20c")["order"]["id"] == made
    cancelled = broker.send("PUT", f"{broker.account}/orders/@a%2Fb%20c/cancel")
    assert cancelled.status_code == 200
    assert cancelled.json()["orderCancelTransaction"]["orderID"] == made
    assert broker.get("/pendingOrders")["orders"] == []


def test_pricing_filters_by_time_and_converts(broker: Client) -> None:
    first = broker.get("/pricing?instruments=EUR_USD,GBP_JPY&includeHomeConversions=True")
    assert [price["instrument"] for price in first["prices"]] == ["EUR_USD", "GBP_JPY"]
    assert first["time"] == START
    assert all("unitsAvailable" in price for price in first["prices"])
    assert {conversion["currency"] for conversion in first["homeConversions"]} == {"EUR", "USD", "GBP", "JPY"}
    newest = max(price["time"] for price in first["prices"])
    assert broker.get(f"/pricing?instruments=EUR_USD&since={newest}")["prices"] == []
    broker.bench.step(60)
    later = broker.get(f"/pricing?instruments=EUR_USD&since={newest}&includeUnitsAvailable=false")["prices"]
    assert len(later) == 1
    assert "unitsAvailable" not in later[0]
    assert all(re.fullmatch(r"\d\.\d{5}", bucket["price"]) for bucket in later[0]["bids"])


def test_candles_are_the_same_below_the_account(broker: Client) -> None:
    query = "/instruments/EUR_USD/candles?granularity=M1&count=3&price=BA"
    below = broker.send("GET", broker.account + query)
    assert below.json() == broker.send("GET", f"/v3{query}").json()
    assert below.headers["FX-Source"] == "synthetic"
    latest = broker.get("/candles/latest?candleSpecifications=EUR_USD:M1:BA,GBP_JPY:M5:M")["latestCandles"]
    assert latest[0]["candles"] == below.json()["candles"][-2:]
    assert [(entry["instrument"], entry["granularity"]) for entry in latest] == [("EUR_USD", "M1"), ("GBP_JPY", "M5")]
    assert latest[1]["candles"][-1]["complete"] is False


def test_configuration_and_health(broker: Client) -> None:
    reply = broker.send("PATCH", f"{broker.account}/configuration", {"alias": "mine"})
    assert reply.status_code == 200
    assert broker.get("/summary")["account"]["alias"] == "mine"
    assert requests.get(f"{broker.url}/health", timeout=10).json() == {"status": "ok"}


def test_acknowledged_orders_survive(tmp_path: Path) -> None:
    with serving(tmp_path, state_dir=tmp_path / "state") as broker:
        made = broker.order().json()
        request = int(made["orderCreateTransaction"]["requestID"])
    with serving(tmp_path, state_dir=tmp_path / "state") as broker:
        assert broker.get("/trades/" + made["orderFillTransaction"]["id"])["trade"]["state"] == "OPEN"
        again = broker.order("-100").json()["orderCreateTransaction"]
        assert int(again["id"]) == int(made["lastTransactionID"]) + 1
        assert int(again["requestID"]) != request


def test_garbage_on_the_wire_is_answered_in_json(broker: Client) -> None:
    host, port = urlsplit(broker.url).netloc.split(":")
    for garbage in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /v3/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(garbage)
            head, body = connection.makefile("rb").read().split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 400")
        assert "errorMessage" in json.loads(body)


def test_every_endpoint_answers(broker: Client) -> None:
    def put(path: str, body: Any = None) -> requests.Response:
        return broker.send("PUT", broker.account + path, body)

    limit = {"type": "LIMIT", "price": "0.50000", "instrument": "EUR_USD", "units": "100"}
    resting = broker.order(**limit).json()["orderCreateTransaction"]["id"]
    replaced = put(f"/orders/{resting}", {"order": {**limit, "price": "0.60000"}})
    assert replaced.status_code == 201
    second = replaced.json()["orderCreateTransaction"]["id"]
    assert replaced.headers["Location"] == f"{broker.url}{broker.account}/orders/{second}"
    extended = put(f"/orders/{second}/clientExtensions", {"clientExtensions": {"id": "mine", "tag": "t"}})
    assert extended.json()["orderClientExtensionsModifyTransaction"]["orderID"] == second
    assert [order["id"] for order in broker.get("/pendingOrders")["orders"]] == [second]
    trade = broker.order("300").json()["orderFillTransaction"]["tradeOpened"]["tradeID"]
    assert put(f"/trades/{trade}/clientExtensions", {"clientExtensions": {"id": "deal"}}).status_code == 200
    attached = put(f"/trades/{trade}/orders", {"stopLoss": {"price": "0.90000"}})
    assert attached.json()["stopLossOrderTransaction"]["tradeID"] == trade
    assert put(f"/trades/{trade}/close", {"units": "100"}).json()["orderFillTransaction"]["units"] == "-100"
    assert broker.get("/trades/@deal")["trade"]["currentUnits"] == "200"
    assert broker.get("/positions/EUR_USD")["position"]["long"]["units"] == "200"
    assert len(broker.get("/openPositions")["positions"]) == len(broker.get("/positions")["positions"]) == 1
    closed = put("/positions/EUR_USD/close", {"longUnits": "ALL", "shortUnits": "NONE"})
    assert closed.json()["longOrderFillTransaction"]["units"] == "-200"
    assert closed.headers["Location"] == f"{broker.url}{broker.account}/positions/EUR_USD"
    assert broker.get("/openPositions")["positions"] == broker.get("/openTrades")["trades"] == []
    assert put(f"/orders/{second}/cancel").status_code == 200
    # No body at all closes the whole trade.
    whole = broker.order("50").json()["orderFillTransaction"]["tradeOpened"]["tradeID"]
    assert put(f"/trades/{whole}/close").json()["orderFillTransaction"]["units"] == "-50"
    account = broker.get("")["account"]
    assert account["id"] == broker.get("/summary")["account"]["id"]
    assert [found["id"] for found in broker.send("GET", "/v3/accounts").json()["accounts"]] == [account["id"]]
    assert {found["name"] for found in broker.get("/instruments")["instruments"]} == {"EUR_USD", "GBP_JPY"}
    assert [found["name"] for found in broker.get("/instruments?instruments=GBP_JPY")["instruments"]] == ["GBP_JPY"]
    changes = broker.get("/changes?sinceTransactionID=3")
    assert len(changes["changes"]["transactions"]) == int(changes["lastTransactionID"]) - 3
    assert broker.get("/transactions/idrange?from=1&to=2&type=ORDER")["transactions"] == []
    assert broker.send("HEAD", f"{broker.account}/summary").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("transactions_since", "/transactions/sinceid?id=0"),
        ("transactions_range", "/transactions/idrange?from=1&to=2"),
        ("transaction_pages", "/transactions?pageSize=1"),
    ],
)
def test_nobody_waits_for_a_read_of_the_history(
    broker: Client, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Ticks, heartbeats and orders go on while a thread reads."""
    reading, released = threading.Event(), threading.Event()
    desk = broker.bench.exchange.desk
    real = getattr(desk, method)

    def slow(*given: Any) -> Any:
        reading.set()
        assert released.wait(20)
        return real(*given)

    monkeypatch.setattr(desk, method, slow)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(broker.get, path)
        try:
            assert reading.wait(20)
            assert broker.order().status_code == 201
            assert broker.get("/summary")["lastTransactionID"] == "5"
        finally:
            released.set()
        assert found.result()["lastTransactionID"] == "5"


def test_a_page_has_a_thousand_transactions_at_most(broker: Client) -> None:
    desk, now_ns = broker.bench.exchange.desk, broker.bench.exchange.clock.now_ns()
    for side in (1, -1) * 260:
        desk.create_order({"type": "MARKET", "instrument": "EUR_USD", "units": str(side)}, now_ns, None)
    first = broker.get("/transactions/sinceid?id=0")
    assert (len(first["transactions"]), first["lastTransactionID"]) == (1000, "1043")
    rest = broker.get(f"/transactions/sinceid?id={first['transactions'][-1]['id']}")
    assert [item["id"] for item in rest["transactions"]] == [str(number) for number in range(1001, 1044)]
    refused = broker.send("GET", f"{broker.account}/changes?sinceTransactionID=42")
    assert refused.status_code == 416 and "get the account anew" in refused.json()["errorMessage"]
    assert len(broker.get("/changes?sinceTransactionID=43")["changes"]["transactions"]) == 1000

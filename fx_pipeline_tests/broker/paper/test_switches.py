"""The switches that concern every endpoint: refused tokens, error statuses, lost or late replies, lagging reads."""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path
from typing import cast

import pytest
import requests

from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.reply import Refusal
from fx_pipeline.broker.paper.service import Service
from fx_pipeline_tests.broker.paper.conftest import Client, serving


def test_a_token_is_refused_while_asked_for(broker: Client) -> None:
    broker.bench.faults(refuse_token=True)
    assert broker.send("GET", "/v3/accounts").status_code == 401
    # The control surface still takes it.
    broker.bench.control("DELETE", "/faults")
    assert broker.send("GET", "/v3/accounts").status_code == 200


@pytest.mark.parametrize(
    ("status", "media"), [(429, "application/json"), (503, "text/html"), (504, "application/json")]
)
def test_the_next_requests_of_a_path_get_an_error(broker: Client, status: int, media: str) -> None:
    broker.bench.faults(**{f"status_{status}": 2, "path": "/orders"})
    assert broker.send("GET", "/v3/accounts").status_code == 200
    for _ in range(2):
        reply = broker.order()
        assert (reply.status_code, reply.headers["Content-Type"]) == (status, media)
    assert broker.order().status_code == 201
    # What was answered with an error was not done.
    assert len(broker.get("/openTrades")["trades"]) == 1


def test_a_lost_reply_was_applied_once(broker: Client) -> None:
    broker.bench.faults(lose_reply=1)
    with pytest.raises(requests.ConnectionError):
        broker.order(clientExtensions={"id": "lost"})
    assert len(broker.get("/openTrades")["trades"]) == 1
    assert broker.order("-100").status_code == 201
    assert broker.get("/openTrades")["trades"] == []


def test_a_late_reply_was_applied_at_once_and_a_slow_one_was_not(broker: Client) -> None:
    broker.bench.faults(late_reply_s=30)
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{broker.url}{broker.account}/orders",
            json={"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}},
            headers=broker.headers,
            timeout=1,
        )
    broker.bench.faults(late_reply_s=0)
    assert len(broker.get("/openTrades")["trades"]) == 1
    broker.bench.faults(slow_reply_s=0.2)
    began = time.monotonic()
    assert broker.order("-1").status_code == 201
    assert time.monotonic() - began >= 0.2


def test_reads_lag_behind_writes(broker: Client) -> None:
    old = broker.order().json()["orderFillTransaction"]["id"]
    broker.bench.faults(read_lag_s=600)
    new = broker.order().json()
    order, trade = new["orderCreateTransaction"]["id"], new["orderFillTransaction"]["id"]
    missing = broker.send("GET", f"{broker.account}/orders/{order}")
    assert missing.status_code == 404
    assert missing.json()["errorCode"] == "NO_SUCH_ORDER"
    assert broker.send("GET", f"{broker.account}/trades/{trade}").status_code == 404
    assert [found["id"] for found in broker.get("/openTrades")["trades"]] == [old]
    assert broker.get("/trades/" + old)["trade"]["id"] == old
    # The transactions show it all the same: that is how a careful client finds out.
    assert broker.get("/transactions/" + order)["transaction"]["id"] == order
    broker.bench.faults(read_lag_s=0)
    assert broker.get("/orders/" + order)["order"]["state"] == "FILLED"
    assert len(broker.get("/openTrades")["trades"]) == 2


def test_the_market_goes_on_after_an_error_that_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, speed=600.0) as broker:
        exchange = broker.bench.exchange
        real, calls = exchange.advance, itertools.count()

        def broken() -> int:
            if next(calls):
                return real()
            raise ZeroDivisionError("unforeseen")

        monkeypatch.setattr(exchange, "advance", broken)
        deadline = time.monotonic() + 20
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # No request is made: it is the pacing that comes back.
        before = exchange.quote("EUR_USD")
        while exchange.quote("EUR_USD") == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert "unforeseen" in caplog.text and "Traceback" in caplog.text


def test_client_ids_may_be_used_twice_when_asked_for(broker: Client) -> None:
    order = {"type": "LIMIT", "price": "0.50000", "clientExtensions": {"id": "twice"}}
    assert broker.order(**order).status_code == 201
    refused = broker.order(**order)
    assert refused.status_code == 400
    assert refused.json()["errorCode"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    broker.bench.faults(duplicate_client_ids=True)
    assert broker.order(**order).status_code == 201


def test_books_are_empty_when_asked_for(broker: Client) -> None:
    broker.bench.faults(empty_books=True)
    price = broker.get("/pricing?instruments=EUR_USD")["prices"][0]
    assert price["bids"] == price["asks"] == []
    assert price["tradeable"] is True


def test_requests_are_limited_when_asked_for() -> None:
    now_s = 0.0
    # What the check reads of the exchange is nothing.
    service = Service(cast(Exchange, object()), "token", Faults(rate_limit=True), monotonic=lambda: now_s)
    headers = {b"authorization": b"Bearer token"}

    def admitted(requests: int) -> int:
        passed = 0
        for _ in range(requests):
            with contextlib.suppress(Refusal):
                asyncio.run(service.admit({"path": "/v3/accounts"}, headers))
                passed += 1
        return passed

    assert admitted(200) == 120
    now_s = 0.5
    assert admitted(200) == 60
    now_s = 100.0
    assert admitted(200) == 120
    service.faults.reset()
    assert admitted(200) == 200
    service.close()

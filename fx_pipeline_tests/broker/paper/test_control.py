"""The control surface: clock, price, halt, deposit, switches, and what it refuses."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from fx_pipeline_tests.broker.paper.conftest import Client, serving


def refusal(client: Client, method: str, path: str, body: Any = None, token: bool = True) -> requests.Response:
    headers = client.headers if token else {}
    return requests.request(method, client.bench.control_url + path, json=body, headers=headers, timeout=10)


def test_it_needs_the_token_and_lists_what_it_can(broker: Client) -> None:
    assert refusal(broker, "GET", "/faults", token=False).status_code == 401
    paths = broker.bench.control("GET", "/")
    for entry in paths:
        method, path = entry.split()
        assert refusal(broker, method, path).status_code in (200, 400)
    assert refusal(broker, "GET", "/nothing").json() == {"errorMessage": "Not Found"}


def test_the_clock_is_stepped_and_started(broker: Client) -> None:
    assert broker.bench.control("GET", "/clock") == {"time": "2024-03-13T12:00:00.000000000Z", "speed": 0.0}
    moved = broker.bench.control("POST", "/clock", {"step_s": 0.5})
    assert moved["time"] == "2024-03-13T12:00:00.500000000Z"
    moved = broker.bench.control("POST", "/clock", {"until": "2024-03-15T12:00:00Z"})
    assert moved["time"] == "2024-03-15T12:00:00.000000000Z"
    assert broker.bench.control("POST", "/clock", {"speed": 1000})["speed"] == 1000
    stopped = broker.bench.control("POST", "/clock", {"speed": 0})
    assert stopped["time"] > moved["time"]
    assert broker.bench.control("GET", "/clock") == stopped


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/clock", None),
        ("/clock", []),
        ("/clock", {}),
        ("/clock", {"step_s": -1}),
        ("/clock", {"step_s": "soon"}),
        ("/clock", {"step_s": 1, "speed": 1}),
        ("/clock", {"step_s": 1e300}),
        ("/clock", {"until": "2020-01-01T00:00:00Z"}),
        ("/clock", {"until": 5}),
        ("/clock", {"speed": -1}),
        ("/price", {"instrument": "EUR_XXX", "pips": 1}),
        ("/price", {"instrument": "EUR_USD", "pips": "many"}),
        ("/price", {"instrument": "EUR_USD", "pips": -1e9}),
        ("/price", {"instrument": "EUR_USD", "pips": "NaN"}),
        ("/price", {"pips": 1}),
        ("/price", {"instrument": "EUR_USD", "pips": "1e30"}),
        ("/price", {"instrument": "EUR_USD", "pips": "1e999999"}),
        ("/clock", {"until": "9999-01-01T00:00:00Z"}),
        ("/clock", {"step_s": 1e9}),
        ("/clock", {"speed": 1e300}),
        ("/halt", {"instrument": "EUR_USD"}),
        ("/halt", {"instrument": "EUR_XXX", "halted": True}),
        ("/deposit", {}),
        ("/deposit", {"amount": True}),
        ("/faults", {"no_such": 1}),
        ("/faults", {"status_503": "x"}),
    ],
)
def test_what_makes_no_sense_is_refused(broker: Client, path: str, body: Any) -> None:
    reply = refusal(broker, "POST", path, body)
    assert reply.status_code == 400
    assert reply.json()["errorMessage"]
    assert broker.bench.control("GET", "/clock")["time"] == "2024-03-13T12:00:00.000000000Z"


def test_what_fails_is_answered_in_json(broker: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broker.bench.exchange, "halt", broken)
    reply = refusal(broker, "POST", "/halt", {"instrument": "EUR_USD", "halted": True})
    assert (reply.status_code, reply.headers["Content-Type"]) == (500, "application/json")
    assert reply.json() == {"errorMessage": "The paper broker failed; its log says where."}


def test_a_price_jump_stops_a_trade_out(broker: Client) -> None:
    made = broker.order(stopLossOnFill={"distance": "0.00200"}).json()
    entry = Decimal(made["orderFillTransaction"]["price"])
    jumped = broker.bench.control("POST", "/price", {"instrument": "EUR_USD", "pips": -100})
    trade = broker.get("/trades/" + made["orderFillTransaction"]["id"])["trade"]
    assert trade["state"] == "CLOSED"
    # The price jumped over the stop: the trade closes where the market is.
    assert Decimal(trade["averageClosePrice"]) == Decimal(jumped["bid"]) < entry - Decimal("0.00200")


def test_a_halt_cancels_market_orders(broker: Client) -> None:
    assert broker.bench.control("POST", "/halt", {"instrument": "EUR_USD", "halted": True})["tradeable"] is False
    reply = broker.order()
    assert reply.status_code == 201
    assert reply.json()["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    assert broker.bench.control("POST", "/halt", {"instrument": "EUR_USD", "halted": False})["tradeable"] is True
    assert "orderFillTransaction" in broker.order().json()


def test_a_deposit_adds_to_the_balance_and_survives(tmp_path: Path) -> None:
    with serving(tmp_path, state_dir=tmp_path / "state") as broker:
        before = Decimal(broker.get("/summary")["account"]["balance"])
        transactions = broker.bench.control("POST", "/deposit", {"amount": "250.5"})["transactions"]
        assert transactions[-1]["type"] == "TRANSFER_FUNDS"
        assert Decimal(broker.get("/summary")["account"]["balance"]) == before + Decimal("250.5")
    with serving(tmp_path, state_dir=tmp_path / "state") as broker:
        assert Decimal(broker.get("/summary")["account"]["balance"]) == before + Decimal("250.5")

"""A paper broker with a stopped clock over HTTP, and a plain client for it."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench, running

START_NS = int(np.datetime64("2024-03-13T12:00", "ns").astype(np.int64))


@dataclass
class Client:
    """Asks a running broker."""

    bench: Bench

    @property
    def url(self) -> str:
        """Base URL."""
        return self.bench.url

    @property
    def account(self) -> str:
        """Path of the account."""
        return f"/v3/accounts/{self.bench.exchange.config.account}"

    @property
    def headers(self) -> dict[str, str]:
        """What every request must carry."""
        return {"Authorization": f"Bearer {TOKEN}"}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Send a request; header names have underscores."""
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = json.dumps(body) if isinstance(body, dict | list) else body
        return requests.request(method, self.url + path, data=data, headers=given, timeout=10)

    def get(self, path: str) -> Any:
        """Body of a reply that must be 200; `path` is below the account."""
        reply = self.send("GET", self.account + path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def order(self, units: str = "100", instrument: str = "EUR_USD", **more: Any) -> requests.Response:
        """Send an order, a market order unless `type` says otherwise."""
        order = {"type": "MARKET", "instrument": instrument, "units": units, **more}
        return self.send("POST", f"{self.account}/orders", {"order": order})


def open_exchange(folder: Path, **settings: Any) -> Exchange:
    """An exchange of two synthetic instruments, on a Wednesday noon, whose clock stands still."""
    market = PaperMarket(folder / "store")
    return Exchange.open(market, AccountConfig(), ["EUR_USD", "GBP_JPY"], START_NS, **{"speed": 0.0, **settings})


@contextlib.contextmanager
def serving(folder: Path, heartbeat_s: float = 5.0, **settings: Any) -> Iterator[Client]:
    """Serve such an exchange."""
    with running(lambda: open_exchange(folder, **settings), heartbeat_s) as bench:
        yield Client(bench)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Client]:
    """A broker without a journal."""
    with serving(tmp_path) as client:
        yield client


@pytest.fixture
def lively(tmp_path: Path) -> Iterator[Client]:
    """A broker whose streams have ten heartbeats a second."""
    with serving(tmp_path, heartbeat_s=0.1) as client:
        yield client

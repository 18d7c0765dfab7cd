"""A paper broker on loopback in a thread of this process, with its control surface."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
import uvicorn
import uvloop

from fx_pipeline.broker.paper.control import create_control_app
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.protocol import uvicorn_config
from fx_pipeline.broker.paper.server import create_app

TOKEN = "a-token-for-tests"
_START_TIMEOUT_S = 20


@dataclass
class Bench:
    """Where the broker and its control surface answer.

    Attributes
    ----------
    exchange : Exchange
        Only for looking at, once nothing is asked any more: it lives in the server's thread.
    """

    url: str
    control_url: str
    exchange: Exchange
    token: str = TOKEN

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the control surface, and return its parsed reply."""
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self.token}"}
            reply = session.request(method, self.control_url + path, json=body, headers=headers, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def step(self, seconds: float) -> None:
        """Move the market's clock."""
        self.control("POST", "/clock", {"step_s": seconds})

    def faults(self, **values: Any) -> None:
        """Switch faults."""
        self.control("POST", "/faults", values)


@contextlib.contextmanager
def running(open_exchange: Callable[[], Exchange], heartbeat_s: float = 5.0) -> Iterator[Bench]:
    """Serve an exchange, made in the server's thread, until the context ends."""
    listeners = [socket.socket(), socket.socket()]
    for listener in listeners:
        listener.bind(("127.0.0.1", 0))
    urls = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    servers: list[uvicorn.Server] = []
    opened: list[Exchange] = []

    async def serve() -> None:
        exchange = open_exchange()
        faults = Faults()
        app = create_app(exchange, TOKEN, faults, heartbeat_s)
        apps = (app, create_control_app(exchange, faults, TOKEN, app.state.commit))
        servers.extend(uvicorn.Server(uvicorn_config(app)) for app in apps)
        opened.append(exchange)
        await asyncio.gather(*(server.serve([at]) for server, at in zip(servers, listeners, strict=True)))
        exchange.close()

    thread = threading.Thread(target=uvloop.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while len(servers) < 2 or not all(server.started for server in servers):
            assert thread.is_alive(), "the broker did not start"
            assert time.monotonic() < deadline, "the broker did not start in time"
            time.sleep(0.005)
        yield Bench(*urls, exchange=opened[0])
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(_START_TIMEOUT_S)
        for listener in listeners:
            listener.close()
    assert not thread.is_alive(), "the broker did not end"

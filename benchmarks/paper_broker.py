"""Order round trips of the paper broker on one core, against the least that a server can do over HTTP.

A round trip is a POST of a market order on a kept connection, and its 201 parsed: the order is matched, its
transactions are in the journal, and the journal is on the disk (fsync) before the reply leaves. The broker has a core
of its own, the client another. The peer is a bare uvicorn application on the broker's core that answers a constant.

Prints `orders_per_s` and `p99_ms`, with `p50_ms`, `fsync_ms` (the disk alone), `cpu_share` (of the broker's core),
`serial_orders_per_s` (one connection), `share_of_http_limit` (the broker's rate over the peer's) and `http_p99_ms`
(the peer's). And of an account with 160,000 transactions, `page_ms`, `slowest_read_ms`, `stall_ms`, `quiet_ms` and
`restart_mib`, as `benchmarks.paper_broker_history` says.
"""

import asyncio
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httptools
import numpy as np
import orjson
import uvicorn

from benchmarks.measure import report, wants_json
from benchmarks.paper_broker_history import TRANSACTIONS, history_figures, make_history

TOKEN = "benchmark"
CONNECTIONS, ORDERS, ROUNDS = 8, 2_000, 5
_START = "2024-03-13T12:00"


class OneByOne(asyncio.Protocol):
    """A connection that sends a request whenever the reply to the one before has been read."""

    def __init__(self, request: Callable[[int], bytes], count: int) -> None:
        self._request = request
        self._left = count
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self.latencies_s: list[float] = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport: Any = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Read."""
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, unless everything was answered."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))

    def on_body(self, body: bytes) -> None:
        """Collect the reply."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Check the reply and go on."""
        reply = orjson.loads(b"".join(self._body))
        self._body.clear()
        self.latencies_s.append(time.perf_counter() - self._sent_s)
        if self._parser.get_status_code() != 201 or "orderFillTransaction" not in reply:
            self.done.set_exception(RuntimeError(f"not filled: {reply}"))
            self._transport.close()
        elif self._left:
            self._send()
        else:
            self.done.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._left -= 1
        self._sent_s = time.perf_counter()
        self._transport.write(self._request(self._left))


def order_request(account: str, number: int) -> bytes:
    """One order, bought and sold in turn, so that what is open stays small."""
    units = "100" if number % 2 else "-100"
    body = orjson.dumps({"order": {"type": "MARKET", "instrument": "EUR_USD", "units": units}})
    return (
        f"POST /v3/accounts/{account}/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def serve(app: Callable[[], uvicorn.Config], pipe: Connection, core: int | None) -> None:
    """Run a server on one core; the pipe gets its port, then its CPU seconds for every message."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    server = uvicorn.Server(app())

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def answer() -> None:
            try:
                message = pipe.recv()
            except EOFError:
                # The benchmark is gone.
                message = "gone"
            if message in ("stop", "gone"):
                server.should_exit = True
                loop.remove_reader(pipe.fileno())
            if message != "gone":
                pipe.send(time.process_time())

        loop.add_reader(pipe.fileno(), answer)
        pipe.send(listener.getsockname()[1])
        await server.serve([listener])

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(main())


def broker_config(folder: Path) -> Callable[[], uvicorn.Config]:
    """The paper broker on the synthetic market, with its journal in the folder."""
    return _Broker(folder)


class _Broker:
    # A class, because what a spawned process is given must be picklable.
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> uvicorn.Config:
        from fx_pipeline.broker.paper.config import AccountConfig
        from fx_pipeline.broker.paper.exchange import Exchange
        from fx_pipeline.broker.paper.market import PaperMarket
        from fx_pipeline.broker.paper.protocol import uvicorn_config
        from fx_pipeline.broker.paper.server import create_app

        start_ns = int(np.datetime64(_START, "ns").astype(np.int64))
        config = AccountConfig(balance=Decimal(10_000_000))
        exchange = Exchange.open(
            PaperMarket(self._folder / "store"), config, ["EUR_USD"], start_ns, state_dir=self._folder / "state"
        )
        return uvicorn_config(create_app(exchange, TOKEN))


class _Constant:
    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def __call__(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.answer,
            loop="uvloop",
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self._reply))]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": self._reply})


class Server:
    """A server in a process of its own."""

    def __init__(self, app: Callable[[], uvicorn.Config], core: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(app, other, core), daemon=True)
        self._process.start()
        if not self._pipe.poll(60):
            raise SystemExit("the server did not start: look at the lines above.")
        self.port = self._pipe.recv()
        self.process: int | None = self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        self._pipe.send("cpu")
        return self._pipe.recv()

    def stop(self) -> None:
        """End it."""
        self._pipe.send("stop")
        self._process.join(10)


def drive(port: int, connections: int, orders: int) -> tuple[float, list[float]]:
    """Send orders over several connections; wall seconds and latencies."""
    from fx_pipeline.broker.paper.config import AccountConfig

    account = AccountConfig().account

    async def run() -> tuple[float, list[float]]:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        made = [
            await loop.create_connection(
                lambda: OneByOne(lambda number: order_request(account, number), orders // connections),
                "127.0.0.1",
                port,
            )
            for _ in range(connections)
        ]
        await asyncio.gather(*(protocol.done for _, protocol in made))
        wall_s = time.perf_counter() - began
        return wall_s, [latency for _, protocol in made for latency in protocol.latencies_s]

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def fsync_ms(folder: Path, repeats: int = 50) -> float:
    """Median milliseconds that the disk takes for an append of a kilobyte with fsync."""
    times = []
    with (folder / "probe").open("ab", buffering=0) as file:
        for _ in range(repeats):
            began = time.perf_counter()
            file.write(b"x" * 1024)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def sample_reply(port: int) -> bytes:
    """What the broker answers to an order, for the peer to answer the same."""
    import http.client

    from fx_pipeline.broker.paper.config import AccountConfig

    head, body = order_request(AccountConfig().account, 1).split(b"\r\n\r\n", 1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    path = head.split(b" ")[1].decode()
    connection.request("POST", path, body, {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
    reply = connection.getresponse().read()
    connection.close()
    return reply


def main() -> None:
    """Run the benchmark."""
    as_json = wants_json()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    theirs, ours = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    if ours is not None:
        os.sched_setaffinity(0, {ours})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        disk_ms = fsync_ms(folder)
        broker = Server(broker_config(folder), theirs)
        peer = Server(_Constant(sample_reply(broker.port)), theirs)
        times: dict[str, list[float]] = {"paper broker": [], "constant reply": []}
        latencies: list[float] = []
        limit_latencies: list[float] = []
        serial_s: list[float] = []
        cpu_s = wall = 0.0
        for number in range(ROUNDS + 1):
            before = broker.cpu_s()
            wall_s, found = drive(broker.port, CONNECTIONS, ORDERS)
            used = broker.cpu_s() - before
            limit_s, quickest = drive(peer.port, CONNECTIONS, ORDERS)
            alone_s, _ = drive(broker.port, 1, ORDERS // 10)
            if number:
                times["paper broker"].append(wall_s)
                times["constant reply"].append(limit_s)
                serial_s.append(alone_s)
                latencies += found
                limit_latencies += quickest
                cpu_s, wall = cpu_s + used, wall + wall_s
        broker.stop()
        peer.stop()
        long = folder / "long"
        make_history(long, _START, TRANSACTIONS)
        broker = Server(broker_config(long), theirs)
        history = history_figures(broker.port, broker.process or 0, TOKEN)
        broker.stop()
    rate = ORDERS / statistics.median(times["paper broker"])
    percentiles = statistics.quantiles(latencies, n=100)
    report(
        f"{ORDERS:,} market orders over {CONNECTIONS} connections",
        times,
        {
            "orders_per_s": round(rate),
            "p99_ms": round(percentiles[98] * 1e3, 2),
            "http_p99_ms": round(statistics.quantiles(limit_latencies, n=100)[98] * 1e3, 2),
            "p50_ms": round(percentiles[49] * 1e3, 2),
            "fsync_ms": round(disk_ms, 3),
            "cpu_share": round(cpu_s / wall, 3),
            "serial_orders_per_s": round(ORDERS // 10 / statistics.median(serial_s)),
            "share_of_http_limit": round(rate * statistics.median(times["constant reply"]) / ORDERS, 4),
            **history,
        },
        as_json,
    )


if __name__ == "__main__":
    main()

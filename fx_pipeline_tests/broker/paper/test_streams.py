"""The streams over HTTP: what comes, in which order, and how a stream ends."""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from fx_pipeline.broker.paper import streams
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline_tests.broker.paper.conftest import Client, serving

PRICES = "/pricing/stream?instruments=EUR_USD,GBP_JPY"
TRANSACTIONS = "/transactions/stream"


@pytest.mark.parametrize("path", [PRICES, TRANSACTIONS, "/pricing/stream"])
def test_head_has_the_headers_of_the_stream_and_ends(broker: Client, path: str) -> None:
    with requests.Session() as session:
        # The connection is whole afterwards.
        for _ in range(2):
            reply = session.head(broker.url + broker.account + path, headers=broker.headers, timeout=5)
            assert reply.status_code == (400 if path == "/pricing/stream" else 200)
            assert reply.content == b"" and reply.headers["RequestID"]
            assert session.get(broker.url + broker.account + "/summary", headers=broker.headers, timeout=5).ok


class Reader:
    """Reads a stream in a thread, line by line; `ended` says how it ended."""

    def __init__(self, client: Client, path: str, **headers: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.ended: str | None = None
        given = {**client.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self._reply = requests.get(client.url + client.account + path, headers=given, stream=True, timeout=10)
        assert self._reply.status_code == 200, self._reply.text
        self.headers = self._reply.headers
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._reply.iter_lines(chunk_size=None):
                if line:
                    self.lines.append(json.loads(line))
            self.ended = "cleanly"
        except requests.RequestException:
            self.ended = "cut"

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Lines of a type so far."""
        return [line for line in list(self.lines) if line["type"] == kind]

    def wait(self, condition: Any) -> None:
        """Wait until something holds of this reader."""
        deadline = time.monotonic() + 10
        while not condition(self):
            assert time.monotonic() < deadline, (self.ended, self.lines[-5:])
            time.sleep(0.005)

    def close(self) -> None:
        """Hang up."""
        self._reply.raw._fp.fp.raw._sock.shutdown(socket.SHUT_RDWR) if self.ended is None else None
        self._thread.join(5)


@contextlib.contextmanager
def reading(client: Client, path: str, **headers: str) -> Iterator[Reader]:
    reader = Reader(client, path, **headers)
    try:
        yield reader
    finally:
        with contextlib.suppress(OSError, AttributeError):
            reader.close()


def test_prices_begin_with_a_snapshot_and_miss_no_tick(broker: Client) -> None:
    with reading(broker, PRICES) as reader:
        reader.wait(lambda stream: len(stream.of("PRICE")) == 2)
        assert {line["instrument"] for line in reader.lines} == {"EUR_USD", "GBP_JPY"}
        assert reader.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Encoding" not in reader.headers
        broker.bench.step(3600)
        end = broker.get("/pricing?instruments=EUR_USD")["prices"][0]
        reader.wait(lambda stream: any(line["time"] == end["time"] for line in stream.of("PRICE")))
        candles = broker.send(
            "GET", "/v3/instruments/EUR_USD/candles?granularity=M1&price=B&from=2024-03-13T12:00:00Z"
        ).json()["candles"]
        candles = [candle for candle in candles if candle["complete"]]
        bids = [Decimal(line["bids"][0]["price"]) for line in reader.of("PRICE") if line["instrument"] == "EUR_USD"]
        # Four ticks a minute; that of the first minute's open was the snapshot.
        assert len(bids) >= 4 * len(candles) >= 4 * 55
        for number, candle in enumerate(candles):
            ticks = bids[4 * number : 4 * number + 4]
            assert [ticks[0], max(ticks), min(ticks), ticks[3]] == [Decimal(candle["bid"][side]) for side in "ohlc"]
        times = [line["time"] for line in reader.of("PRICE")]
        assert times[2:] == sorted(times[2:])


def test_heartbeats_come_and_snapshots_can_be_left_out(lively: Client) -> None:
    with reading(lively, f"{PRICES}&snapshot=False") as prices, reading(lively, TRANSACTIONS) as transactions:
        prices.wait(lambda stream: len(stream.lines) >= 3)
        assert prices.lines[0] == {"type": "HEARTBEAT", "time": "2024-03-13T12:00:00.000000000Z"}
        transactions.wait(lambda stream: len(stream.lines) >= 3)
        assert set(transactions.lines[0]) == {"type", "lastTransactionID", "time"}


def test_transactions_arrive_in_order_and_none_is_missed(lively: Client) -> None:
    with reading(lively, TRANSACTIONS) as reader, reading(lively, TRANSACTIONS, Accept_Datetime_Format="UNIX") as unix:
        before = int(lively.get("/summary")["lastTransactionID"])
        for number in range(20):
            lively.order("100" if number % 2 else "-100", stopLossOnFill={"distance": "0.01000"})
        last = lively.get("/summary")["lastTransactionID"]
        reader.wait(lambda stream: stream.lines and stream.lines[-1].get("lastTransactionID") == last)
        found = [line for line in reader.lines if line["type"] != "HEARTBEAT"]
        assert found == lively.get(f"/transactions/sinceid?id={before}")["transactions"]
        unix.wait(lambda stream: stream.lines and stream.lines[-1].get("lastTransactionID") == last)
        assert {line["time"] for line in unix.lines} == {"1710331200.000000000"}
        # No heartbeat tells of a transaction that did not come before it.
        latest = before
        for line in reader.lines:
            latest = int(line["id"]) if "id" in line else latest
            assert "id" in line or int(line["lastTransactionID"]) == latest


@pytest.mark.parametrize(("fault", "ending"), [("drop", "cut"), ("end", "cleanly")])
def test_one_stream_ends_while_the_other_lives(lively: Client, fault: str, ending: str) -> None:
    with reading(lively, PRICES) as prices, reading(lively, TRANSACTIONS) as transactions:
        lively.bench.faults(pricing_stream=fault)
        prices.wait(lambda stream: stream.ended == ending)
        lively.order()
        transactions.wait(lambda stream: stream.of("ORDER_FILL"))
        assert transactions.ended is None
        lively.bench.faults(pricing_stream="", transactions_stream=fault)
        transactions.wait(lambda stream: stream.ended == ending)
        with reading(lively, PRICES) as again:
            again.wait(lambda stream: stream.of("HEARTBEAT"))


def test_a_stalled_stream_is_silent_and_stays_open(lively: Client) -> None:
    with reading(lively, PRICES) as prices, reading(lively, TRANSACTIONS) as transactions:
        prices.wait(lambda stream: len(stream.lines) >= 3)
        lively.bench.faults(pricing_stream="stall")
        # Whatever was under way when the switch was set has come when the other stream has had some heartbeats.
        seen = len(transactions.lines)
        transactions.wait(lambda stream: len(stream.lines) >= seen + 3)
        stalled, seen = len(prices.lines), len(transactions.lines)
        lively.bench.step(60)
        transactions.wait(lambda stream: len(stream.lines) >= seen + 5)
        assert (len(prices.lines), prices.ended) == (stalled, None)
        lively.bench.faults(pricing_stream="")
        prices.wait(lambda stream: len(stream.lines) >= stalled + 8)


def test_prices_stop_and_heartbeats_go_on(lively: Client) -> None:
    lively.bench.faults(heartbeats_only=True)
    with reading(lively, PRICES) as reader:
        lively.bench.step(120)
        reader.wait(lambda stream: len(stream.lines) >= 3)
        assert not reader.of("PRICE")
        lively.bench.faults(heartbeats_only=False, empty_books=True)
        lively.bench.step(60)
        reader.wait(lambda stream: len(stream.of("PRICE")) >= 8)
        assert all(line["bids"] == [] and line["closeoutBid"] for line in reader.of("PRICE"))


def test_a_slow_reader_is_cut_and_blocks_nobody(lively: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BACKLOG", 3000)
    host, port = urlsplit(lively.url).netloc.split(":")
    with socket.socket() as slow, reading(lively, PRICES) as healthy:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        head = [f"GET {lively.account}{PRICES} HTTP/1.1", "Host: x", *map(": ".join, lively.headers.items())]
        slow.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        # More than the operating system keeps between the two.
        for _ in range(5):
            lively.bench.step(10 * 3600)
            newest = lively.get("/pricing?instruments=EUR_USD")["prices"][0]["time"]
            healthy.wait(lambda stream, newest=newest: any(line["time"] == newest for line in stream.of("PRICE")))
        received = 0
        slow.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while data := slow.recv(1 << 16):
                received += len(data)
                assert data[-5:] != b"0\r\n\r\n"
        assert received < sum(len(json.dumps(line)) for line in healthy.lines)
        assert lively.order().status_code == 201


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with serving(tmp_path) as client:
            readers = [stack.enter_context(reading(client, path)) for path in (PRICES, TRANSACTIONS)]
            readers[0].wait(lambda stream: len(stream.lines) == 2)
            assert [reader.ended for reader in readers] == [None, None]
        for reader in readers:
            reader.wait(lambda stream: stream.ended == "cleanly")


def test_streams_are_limited_when_asked_for(lively: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(reading(lively, PRICES))
        lively.bench.faults(rate_limit=True)
        assert lively.send("GET", lively.account + PRICES).status_code == 429


class Market:
    """Stands in for service and exchange: two clocks, and whoever listens to quotes."""

    def __init__(self) -> None:
        self.time_ns = 0
        self.seconds = 0.0
        self.exchange = self.clock = self.faults = self
        self.instruments = ("EUR_USD",)
        self.heartbeats_only = self.empty_books = False

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic(self) -> float:
        return self.seconds

    def subscribe_quotes(self, listener: Any, _names: Any) -> Any:
        self.tell = listener
        return lambda: None


@pytest.mark.parametrize("step_ms", [10, 60, 249, 250, 251, 400])
def test_four_prices_a_second_and_the_last_of_a_window_wins(step_ms: int) -> None:
    market = Market()
    call = type("Call", (), {"query": {"instruments": "EUR_USD", "snapshot": "false"}, "unix": False})()
    call.exchange = market
    feed = streams.PriceFeed(market, call, None)  # type: ignore[arg-type]
    sent: list[tuple[int, Decimal]] = []
    for number in range(200):
        market.time_ns = number * step_ms * 1_000_000
        bid = Decimal(number) / 100_000 + 1
        market.tell(Quote("EUR_USD", market.time_ns, bid, bid, True))
        lines = feed.take().splitlines()
        sent += [(market.time_ns, Decimal(json.loads(line)["bids"][0]["price"])) for line in lines]
    assert all(later[0] - earlier[0] >= 240_000_000 for earlier, later in itertools.pairwise(sent))
    if step_ms >= 250:
        assert len(sent) == 200
    else:
        assert 3.5 <= (len(sent) - 1) / (sent[-1][0] - sent[0][0]) * 1e9 <= 4.2
    # The newest price goes out even when the market's time stands still.
    market.seconds += 0.25
    rest = feed.take()
    assert json.loads(rest.splitlines()[-1] if rest else b"0") or sent[-1][1] == bid
    assert not feed.waiting()


def test_a_clock_far_ahead_of_the_ticks_loses_none() -> None:
    market = Market()
    call = type("Call", (), {"query": {"instruments": "EUR_USD", "snapshot": "false"}, "unix": False})()
    call.exchange = market
    feed = streams.PriceFeed(market, call, None)  # type: ignore[arg-type]
    # The second tick falls into the window of the first; then a busy machine looks two minutes of the market later.
    times = [0, 100_000_000, *(15_000_000_000 * number for number in range(1, 8))]
    sent = b""
    for number, time_ns in enumerate(times):
        market.time_ns = max(time_ns, 0 if number < 1 else 120_000_000_000)
        market.tell(Quote("EUR_USD", time_ns, Decimal(1), Decimal(1), True))
        sent += feed.take()
    assert len(sent.splitlines()) == len(times)

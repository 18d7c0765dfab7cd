"""SIGKILL at random points, fifty times each: of the broker under orders, and of ingestion."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.client import OandaClient
from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.market.atomic import TEMPORARY_PREFIX
from fx_pipeline_tests.broker.paper.fidelity.audit import audit
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, running
from fx_pipeline_tests.chaos.conftest import INSTRUMENT, MONTH

KILLS = 50
ACCOUNT = AccountConfig().account
ROOT = Path(__file__).resolve().parents[2]
_HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


class Nursery:
    """Forks children and kills them."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "fx_pipeline_tests.chaos.nursery"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._newest: int | None = None

    def fork(self, task: str, **arguments: Any) -> int:
        """Start a child; its process id."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"run": task, "with": arguments}) + "\n")
        self._process.stdin.flush()
        self._newest = int(self._process.stdout.readline())
        return self._newest

    def kill(self, child: int) -> None:
        """SIGKILL, if it still runs, and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        while runs(child):
            time.sleep(0.001)

    def close(self) -> None:
        """End, and leave no child behind when a test failed over it."""
        if self._newest is not None:
            self.kill(self._newest)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def runs(process: int) -> bool:
    """Whether a process is still there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), _HEADERS)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def wait_for(port: int, child: int) -> None:
    """Wait until the broker answers."""
    deadline = time.monotonic() + 180
    while True:
        with contextlib.suppress(OSError):
            if ask(port, "GET", "/health")[0] == 200:
                return
        assert runs(child), "the broker ended"
        assert time.monotonic() < deadline, "the broker did not answer"
        time.sleep(0.003)


class Client(threading.Thread):
    """Sends orders on one connection until it breaks; `sent` and `confirmed` say what it knows."""

    def __init__(self, port: int, name: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.sent: dict[str, dict[str, Any]] = {}
        self.confirmed: dict[str, dict[str, Any]] = {}
        self._port, self._client, self._draw = port, name, random.Random(seed)

    def run(self) -> None:
        """Trade."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            for number in range(10**6):
                identity = f"{self._client}-{number}"
                order = self._order(identity)
                self.sent[identity] = order
                connection.request("POST", f"/v3/accounts/{ACCOUNT}/orders", json.dumps({"order": order}), _HEADERS)
                reply = connection.getresponse()
                self.confirmed[identity] = json.loads(reply.read())
        connection.close()

    def _order(self, identity: str) -> dict[str, Any]:
        units = self._draw.choice((-300, -100, 100, 300))
        order: dict[str, Any] = {
            "type": "MARKET", "instrument": "EUR_USD", "units": str(units), "clientExtensions": {"id": identity},
        }  # fmt: skip
        if self._draw.random() < 0.3:
            order["stopLossOnFill"] = {"price": "1.09000" if units > 0 else "1.11000"}
        if self._draw.random() < 0.2:
            order |= {"type": "LIMIT", "price": "1.09500" if units > 0 else "1.10500", "timeInForce": "GTC"}
        return order


def _transactions(port: int, after: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = ask(port, "GET", f"/v3/accounts/{ACCOUNT}/transactions/sinceid?id={after}")[1]
        found += page["transactions"]
        if not page["transactions"] or found[-1]["id"] == page["lastTransactionID"]:
            return found
        after = int(found[-1]["id"])


@pytest.mark.slow
@pytest.mark.parametrize("speed", ["0", "600"])
def test_a_killed_broker_loses_and_doubles_nothing(
    speed: str, nursery: Nursery, replay_store: Path, tmp_path: Path
) -> None:
    draw = random.Random(7)
    port, control = free_port(), free_port()
    arguments = [
        *("--candles", str(replay_store), "--port", str(port), "--control-port", str(control), "--token", TOKEN),
        *("--speed", speed, "--state", str(tmp_path / "state")),
    ]
    # A new account begins where it is told to; one that is continued begins where it was.
    child = nursery.fork("serve", arguments=[*arguments, "--start", "2024-01-16T12:00:00Z"])
    wait_for(port, child)
    known: list[dict[str, Any]] = []
    time_now = ""
    confirmed = 0
    for kill in range(KILLS // 2):
        clients = [Client(port, f"{kill}-{number}", kill * 10 + number) for number in range(2)]
        for client in clients:
            client.start()
        # The market moves under the orders, so that stops, financing and the clock's own records are hit too.
        if speed == "0":
            ask(control, "POST", "/clock", {"step_s": 1800})
        end = time.monotonic() + draw.uniform(0.0, 0.5)
        while time.monotonic() < end:
            before = time_now
            step = {"step_s": draw.choice((15, 15, 60))}
            reply = ask(control, "POST", "/clock", step) if speed == "0" else ask(control, "GET", "/clock")
            time_now = reply[1]["time"]
            assert time_now >= before
        nursery.kill(child)
        for client in clients:
            client.join(20)
            assert not client.is_alive()
        child = nursery.fork("serve", arguments=arguments)
        wait_for(port, child)
        assert ask(control, "GET", "/clock")[1]["time"] >= time_now, "the market's time went back"
        after = _transactions(port, len(known))
        _check(after, clients)
        known += after
        confirmed += sum(len(client.confirmed) for client in clients)
    history = _transactions(port, 0)
    assert history[: len(known)] == known, "what was told once is told otherwise later"
    # The clock may run, so the summary is taken until nothing happened around it.
    while (summary := _summary(port))["lastTransactionID"] != history[-1]["id"]:
        history += _transactions(port, len(history))
    assert audit(history, summary) == []
    assert confirmed > 5 * KILLS
    nursery.kill(child)


def _check(after: list[dict[str, Any]], clients: list[Client]) -> None:
    by_id = {item["id"]: item for item in after}
    created = [
        item["clientExtensions"]["id"]
        for item in after
        if "clientExtensions" in item and item["type"] in ("MARKET_ORDER", "LIMIT_ORDER")
    ]
    assert len(created) == len(set(created)), "an order is doubled"
    for client in clients:
        for identity, reply in client.confirmed.items():
            for name in ("orderCreateTransaction", "orderFillTransaction", "orderCancelTransaction"):
                if name in reply:
                    assert by_id[reply[name]["id"]] == reply[name], f"{name} of {identity} is lost or changed"
        # Of the one order whose reply never came, either is right.
        assert len(set(client.sent) - set(client.confirmed)) <= 1
        assert set(created) <= {identity for other in clients for identity in other.sent}


def _summary(port: int) -> dict[str, Any]:
    found: dict[str, Any] = ask(port, "GET", f"/v3/accounts/{ACCOUNT}/summary")[1]["account"]
    return found


@pytest.mark.slow
def test_the_command_itself_survives_a_kill(replay_store: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [
        *(str(Path(sys.executable).with_name("fx-pipeline")), "broker", "--candles", str(replay_store)),
        *("--port", str(port), "--token", TOKEN, "--speed", "60", "--state", str(tmp_path / "state")),
    ]
    begin = ["--start", "2024-01-16T12:00:00Z"]
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}}
    confirmed = []
    for _ in range(2):
        process = subprocess.Popen([*command, *begin], stderr=subprocess.DEVNULL)
        begin = []
        wait_for(port, process.pid)
        status, reply = ask(port, "POST", f"/v3/accounts/{ACCOUNT}/orders", order)
        assert status == 201
        confirmed.append(reply["orderFillTransaction"])
        process.kill()
        process.wait(20)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(port, process.pid)
    fills = [item for item in _transactions(port, 0) if item["type"] == "ORDER_FILL"]
    assert fills == confirmed
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_ingestion_ends_as_an_undisturbed_one(nursery: Nursery, month_store: Path, tmp_path: Path) -> None:
    market = PaperMarket(month_store, synthetic=False)
    with running(lambda: Exchange.history(market, AccountConfig(), [INSTRUMENT])) as bench:
        quiet = tmp_path / "quiet"
        client = OandaClient("paper", TOKEN, url=bench.url)
        client._page_limit = 700
        began = time.monotonic()
        download_month(client, INSTRUMENT, MONTH, raw_folder(quiet, INSTRUMENT, MONTH))
        build_month(quiet, INSTRUMENT, MONTH)
        whole_s = time.monotonic() - began
        client.close()
        expected = tree(quiet)
        draw = random.Random(11)
        killed = rounds = 0
        while killed < KILLS:
            rounds += 1
            data_dir, done = tmp_path / f"round-{rounds}", tmp_path / f"done-{rounds}"
            arguments = {
                "url": bench.url, "token": TOKEN, "data_dir": str(data_dir), "instrument": INSTRUMENT,
                "month": MONTH, "done": str(done),
            }  # fmt: skip
            # Most kills come in the download, and some in the building of the month that follows it.
            while not done.exists():
                began, uncut = time.monotonic(), not data_dir.exists()
                child = nursery.fork("ingest", **arguments)
                if draw.random() < 0.8:
                    wait_until = time.monotonic() + draw.uniform(0.2, 1.0) * whole_s
                    while time.monotonic() < wait_until and runs(child):
                        time.sleep(0.0005)
                    if runs(child):
                        killed += 1
                        uncut = False
                    nursery.kill(child)
                    assert_whole(data_dir)
                else:
                    while runs(child):
                        time.sleep(0.001)
                if uncut:
                    # Other work may have begun or ended since: kills that come after the end would be none.
                    whole_s = time.monotonic() - began
            assert tree(data_dir) == expected
    assert rounds > 1


def assert_whole(folder: Path) -> None:
    """What others may read meanwhile is never half-written, and a listed page is there as it was listed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX):
            if path.suffix == ".parquet":
                pq.read_table(path)
            if path.name == "manifest.json":
                for page in json.loads(path.read_bytes())["pages"]:
                    body = (path.parent / page["file"]).read_bytes()
                    assert hashlib.sha256(body).hexdigest() == page["sha256"], page["file"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by relative path, without what a killed process left half-written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    }

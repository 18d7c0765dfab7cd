"""The adapter: what it returns, what it repeats, and what it says when something fails."""

import contextlib
import gzip
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from fx_pipeline.broker import client as client_module
from fx_pipeline.broker.client import OandaClient, connection
from fx_pipeline.broker.paper.wire import parse_time
from fx_pipeline.market.errors import BrokerError, ConfigurationError, DataError

TOKEN = "a-token-for-tests"
START = parse_time("2024-01-08T00:00:00Z")


@contextmanager
def answering(
    answer: Callable[[str, int], tuple[int, bytes]], headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server whose answers are given by path and number of the request; yields its URL and the paths asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        # Connections are kept: a client opens no more than two a second.
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answer(self.path, len(asked))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def client_of(url: str, **options: object) -> OandaClient:
    return OandaClient("paper", TOKEN, url=url, retries=2, backoff_s=0.001, **options)  # type: ignore[arg-type]


def page_body(*minutes: str) -> bytes:
    candles = [{"time": f"2024-01-08T{minute}:00.000000000Z", "complete": True, "volume": 1} for minute in minutes]
    return orjson.dumps({"instrument": "GBP_JPY", "granularity": "M1", "candles": candles})


def error_body(text: str) -> bytes:
    return orjson.dumps({"errorMessage": text})


def test_a_page_holds_the_bytes_and_what_they_say(server: str) -> None:
    page = client_of(server).candles_page("GBP_JPY", START, 10)
    candles = orjson.loads(page.body)["candles"]
    assert set(candles[0]) == {"complete", "volume", "time", "bid", "mid", "ask"}
    assert page.time_ns.tolist() == [parse_time(candle["time"]) for candle in candles]
    assert page.complete.tolist() == [True] * 10
    assert (page.source, page.quotes, page.count) == ("imported", "modelled", 10)
    assert "RequestID" in page.headers


def test_the_embedded_server_starts_by_itself(tmp_path) -> None:
    with connection(paper_store=tmp_path) as client:
        page = client.candles_page("EUR_USD", START, 5)
    assert page.source == "synthetic"


def test_threads_have_their_own_connections(server: str) -> None:
    client = client_of(server)
    pages: list[int] = []
    threads = [
        threading.Thread(target=lambda: pages.append(len(client.candles_page("GBP_JPY", START, 100).time_ns)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pages == [100] * 4


def test_no_future_time_is_asked_for() -> None:
    with answering(lambda path, number: (500, b"")) as (url, asked):
        page = client_of(url, now_ns=lambda: START).candles_page("GBP_JPY", START)
    assert (len(page.time_ns), page.broker_ns, asked) == (0, None, [])


def test_a_clock_ahead_of_the_brokers_gives_an_empty_page() -> None:
    refusal = error_body("Invalid value specified for 'from'. Time is in the future")
    with answering(lambda path, number: (400, refusal)) as (url, _):
        page = client_of(url).candles_page("GBP_JPY", START)
    assert (len(page.time_ns), page.broker_ns) == (0, START)


def test_a_refused_page_is_halved_and_stays_so() -> None:
    def answer(path: str, number: int) -> tuple[int, bytes]:
        count = int(path.split("count=")[1].split("&")[0])
        if count > 500:
            return 400, error_body("Maximum value for 'count' exceeded")
        return 200, page_body()

    with answering(answer) as (url, asked):
        client = client_of(url)
        assert client.candles_page("GBP_JPY", START).count == 312
        before = len(asked)
        client.candles_page("GBP_JPY", START)
    assert before == 5
    assert len(asked) == before + 1


def test_a_get_is_repeated_and_then_succeeds() -> None:
    busy = 503, b"<html>busy</html>"
    with answering(lambda path, number: (200, page_body("00:00")) if number == 3 else busy) as (url, asked):
        assert client_of(url).candles_page("GBP_JPY", START).time_ns.tolist() == [START]
    assert len(asked) == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"instrument":"GBP_JPY","granularity":"M1","candles":[{"complete":true,"vol',
        b"<html>login</html>",
        b'{"something":"else"}',
        b"[]",
        b"\xff\xfe",
        b"",
        orjson.dumps({"instrument": "EUR_USD", "granularity": "M1", "candles": []}),
        orjson.dumps({"instrument": "GBP_JPY", "granularity": "S5", "candles": []}),
    ],
)
def test_a_reply_that_is_not_whole_or_not_the_asked_one_is_asked_for_again(body: bytes) -> None:
    with answering(lambda path, number: (200, body if number < 3 else page_body("00:01"))) as (url, asked):
        assert len(client_of(url).candles_page("GBP_JPY", START).time_ns) == 1
    assert len(asked) == 3
    with (
        answering(lambda path, number: (200, body)) as (url, asked),
        pytest.raises(BrokerError, match="cannot be used, 3 times"),
    ):
        client_of(url).candles_page("GBP_JPY", START)
    assert len(asked) == 3


@pytest.mark.parametrize("minutes", [("00:01", "00:00"), ("00:01", "00:01")])
def test_candles_out_of_order_are_asked_for_again(minutes: tuple[str, ...]) -> None:
    with answering(lambda path, number: (200, page_body(*minutes) if number < 3 else page_body())) as (url, asked):
        assert len(client_of(url).candles_page("GBP_JPY", START).time_ns) == 0
    assert len(asked) == 3


def test_candles_before_the_start_are_refused() -> None:
    with (
        answering(lambda path, number: (200, page_body("00:00"))) as (url, _),
        pytest.raises(BrokerError, match="older than was asked"),
    ):
        client_of(url).candles_page("GBP_JPY", START + 60_000_000_000)


def test_pauses_grow_with_jitter_to_a_ceiling_and_heed_retry_after() -> None:
    pauses: list[float] = []
    with answering(lambda path, number: (503, b"")) as (url, asked):
        client = OandaClient("paper", TOKEN, url=url, retries=8, backoff_s=0.5, pause=pauses.append)
        with pytest.raises(BrokerError):
            client.candles_page("GBP_JPY", START)
    assert len(asked) == 9
    for number, pause in enumerate(pauses):
        assert 0.5 * min(0.5 * 2**number, 8.0) <= pause <= 1.5 * min(0.5 * 2**number, 8.0)
    for said, heeded in (("7", 7.0), ("900", 30.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.001), ("-5", 0.001)):
        pauses.clear()
        with (
            answering(lambda path, number: (429, b""), {"Retry-After": said}) as (url, _),
            pytest.raises(BrokerError, match="limits the rate"),
        ):
            client_of(url, pause=pauses.append).candles_page("GBP_JPY", START)
        assert pauses[0] == pytest.approx(heeded, rel=0.6)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, error_body("Insufficient authorization to perform request."), "FX_PAPER_TOKEN"),
        (503, b"<html><h1>Service Unavailable</h1></html>", "503 after 2 retries \\(Service Unavailable\\)"),
        (504, error_body("Timeout waiting for response."), "maintenance"),
        (429, b"", "limits the rate"),
        (400, error_body("Invalid value specified for 'instrument'"), "does not know the instrument"),
        (400, error_body("Invalid value specified for 'price'"), "Invalid value specified for 'price'"),
        (404, b"", "404"),
    ],
)
def test_failures_say_what_to_do(status: int, body: bytes, words: str) -> None:
    with answering(lambda path, number: (status, body)) as (url, _), pytest.raises(BrokerError, match=words) as failure:
        client_of(url).candles_page("GBP_JPY", START)
    assert TOKEN not in str(failure.value)


def test_an_unreachable_host_is_named() -> None:
    with answering(lambda path, number: (200, b"")) as (url, _):
        host = url.removeprefix("http://")
    with pytest.raises(BrokerError, match=f"{host} could not be reached"):
        client_of(url).candles_page("GBP_JPY", START)


def test_the_wrong_token_is_refused_by_the_paper_server(server: str) -> None:
    with pytest.raises(BrokerError, match="refused the token"):
        OandaClient("paper", "another", url=server).candles_page("GBP_JPY", START)


def test_an_unknown_instrument_is_refused_before_anything_is_asked(server: str) -> None:
    with pytest.raises(DataError, match="GBP_JPY"):
        client_of(server).candles_page("GBPJPY", START)


@pytest.mark.parametrize("environment", ["practice", "live"])
@pytest.mark.parametrize("token", ["", "  "])
def test_practice_and_live_need_a_token(environment: str, token: str) -> None:
    with pytest.raises(ConfigurationError, match="FX_OANDA_TOKEN is not set"):
        OandaClient(environment, token)  # type: ignore[arg-type]


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="paper, practice or live"):
        OandaClient("demo", TOKEN)  # type: ignore[arg-type]


def test_the_token_does_not_show(server: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client = client_of(server)
    client.candles_page("GBP_JPY", START, 1)
    assert TOKEN not in repr(client)
    assert TOKEN not in caplog.text
    with pytest.raises(TypeError, match="token"):
        pickle.dumps(client)


def test_proxies_and_netrc_of_the_user_do_not_matter_on_loopback(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert len(client_of(server).candles_page("GBP_JPY", START, 1).time_ns) == 1


def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each byte is in time for the timeout of a read, and together they take five seconds.
    monkeypatch.setattr(client_module, "_BODY_TIMEOUT_S", 0.2)
    gone = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "250")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not gone.wait(0.02):
                    self.wfile.write(b" ")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        client = OandaClient("paper", TOKEN, url=f"http://127.0.0.1:{server.server_port}", retries=0)
        with pytest.raises(BrokerError, match=r"could not be reached .* \(ReadTimeout\)"):
            client.candles_page("GBP_JPY", START)
    finally:
        gone.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("compressed", [False, True])
def test_large_bodies_arrive_whole_on_one_connection(compressed: bool) -> None:
    rows = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(1440)]
    plain = page_body(*rows) + b" " * 3_000_000
    body = gzip.compress(plain) if compressed else plain
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    with answering(lambda path, number: (200, body), headers) as (url, asked):
        client = client_of(url)
        for _ in range(3):
            assert client.candles_page("GBP_JPY", START).body == plain
        pools = client._api().client.get_adapter(url).poolmanager.pools
        assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118
    assert len(asked) == 3

"""The adapter: what it returns, what it repeats, and what it says when something fails."""

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest

from fx_pipeline.broker.client import OandaClient, connection
from fx_pipeline.broker.paper.wire import parse_time
from fx_pipeline.market.errors import BrokerError, ConfigurationError, DataError

TOKEN = "a-token-for-tests"
START = parse_time("2024-01-08T00:00:00Z")


@contextmanager
def answering(answer: Callable[[str, int], tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """A server whose answers are given by path and number of the request; yields its URL and the paths asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, body = answer(self.path, len(asked))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
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


def error_body(text: str) -> bytes:
    return orjson.dumps({"errorMessage": text})


def test_a_page_holds_the_bytes_and_what_they_say(server: str) -> None:
    page = client_of(server).candles_page("GBP_JPY", START, 10)
    assert orjson.loads(page.body)["candles"] == page.candles
    assert len(page.candles) == 10
    assert set(page.candles[0]) == {"complete", "volume", "time", "bid", "mid", "ask"}
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
        threading.Thread(target=lambda: pages.append(len(client.candles_page("GBP_JPY", START, 100).candles)))
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
    assert (page.candles, asked) == ([], [])


def test_a_clock_ahead_of_the_brokers_gives_an_empty_page() -> None:
    refusal = error_body("Invalid value specified for 'from'. Time is in the future")
    with answering(lambda path, number: (400, refusal)) as (url, _):
        assert client_of(url).candles_page("GBP_JPY", START).candles == []


def test_a_refused_page_is_halved_and_stays_so() -> None:
    def answer(path: str, number: int) -> tuple[int, bytes]:
        count = int(path.split("count=")[1].split("&")[0])
        if count > 500:
            return 400, error_body("Maximum value for 'count' exceeded")
        return 200, orjson.dumps({"instrument": "GBP_JPY", "granularity": "M1", "candles": []})

    with answering(answer) as (url, asked):
        client = client_of(url)
        assert client.candles_page("GBP_JPY", START).count == 312
        before = len(asked)
        client.candles_page("GBP_JPY", START)
    assert before == 5
    assert len(asked) == before + 1


def test_a_get_is_repeated_and_then_succeeds() -> None:
    empty = orjson.dumps({"candles": []})
    with answering(lambda path, number: (200, empty) if number == 3 else (503, b"<html>busy</html>")) as (url, asked):
        assert client_of(url).candles_page("GBP_JPY", START).candles == []
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, error_body("Insufficient authorization to perform request."), "FX_PAPER_TOKEN"),
        (503, b"<html><h1>Service Unavailable</h1></html>", "503 after 2 retries \\(Service Unavailable\\)"),
        (504, error_body("Timeout waiting for response."), "maintenance"),
        (429, b"", "limits the rate"),
        (400, error_body("Invalid value specified for 'instrument'"), "does not know the instrument"),
        (400, error_body("Invalid value specified for 'price'"), "Invalid value specified for 'price'"),
        (200, b"<html>login</html>", "not JSON"),
        (200, b'{"something":"else"}', "other than candles"),
        (200, b"[]", "other than candles"),
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
    assert len(client_of(server).candles_page("GBP_JPY", START, 1).candles) == 1

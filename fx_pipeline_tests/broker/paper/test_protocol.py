"""What the server keeps of a request before anybody looks at its token is bounded, however it is sent."""

import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from fx_pipeline.broker.paper.protocol import HEAD_LIMIT
from fx_pipeline_tests.broker.paper.conftest import Client
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN

_CHUNK = b"a" * 16_384
_ENOUGH = 8 << 20


def sent(broker: Client, pieces: Iterator[bytes]) -> tuple[bytes, int]:
    """What the server answers to the pieces of a request, and how many bytes it took before it closed."""
    address = urlsplit(broker.url)
    taken = 0
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                taken += len(piece)
        except (ConnectionError, TimeoutError):
            pass
        reply = b""
        try:
            while part := client.recv(1 << 16):
                reply += part
        except ConnectionError:
            pass
    return reply, taken


def endless(begin: bytes) -> Iterator[bytes]:
    yield begin
    for _ in range(_ENOUGH // len(_CHUNK)):
        yield _CHUNK


def endless_lines(begin: bytes) -> Iterator[bytes]:
    yield begin
    for number in range(_ENOUGH // 4_000):
        yield b"x-%d: %s\r\n" % (number, b"v" * 4_000)


CHUNKED = (
    b"POST /v3/accounts/101-001-1000000-001/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" % TOKEN.encode()
)


@pytest.mark.parametrize(
    "pieces",
    [
        endless(b"GET /"),
        endless(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "),
        endless(b"GET / HTTP/1.1\r\nHost: x\r\n"),
        endless_lines(b"GET / HTTP/1.1\r\nHost: x\r\n"),
        endless_lines(b"POST /v3/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"),
        endless_lines(CHUNKED),
    ],
    ids=["address", "token", "header name", "headers", "headers of a write", "trailers"],
)
def test_a_head_without_end_is_cut_off(broker: Client, pieces: Iterator[bytes]) -> None:
    reply, taken = sent(broker, pieces)
    assert taken < _ENOUGH
    # The reply may be lost with the connection: more arrives than is read.
    assert reply == b"" or re.match(rb"HTTP/1.1 4(31|00|01|13) ", reply), reply[:80]
    assert broker.get("/summary")["account"]["id"]


@pytest.mark.parametrize("size", [HEAD_LIMIT - 500, HEAD_LIMIT + 1, 3 * HEAD_LIMIT])
def test_the_limit_of_a_head_does_not_depend_on_how_it_arrives(broker: Client, size: int) -> None:
    head = (
        b"GET /v3/accounts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nx-long: %s\r\n\r\n"
    )
    request = head % (TOKEN.encode(), b"v" * size)
    for step in (len(request), 50_000):
        reply, _ = sent(broker, (request[begin : begin + step] for begin in range(0, len(request), step)))
        if size < HEAD_LIMIT:
            assert reply.startswith(b"HTTP/1.1 200 ")
        elif reply:
            status, _, body = reply.partition(b"\r\n\r\n")
            assert status.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
            assert str(HEAD_LIMIT) in json.loads(body)["errorMessage"]


def test_many_requests_in_one_piece_are_no_head(broker: Client) -> None:
    one = b"GET /v3/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nx-long: %s\r\n\r\n"
    requests = (one % (TOKEN.encode(), b"v" * 4_000)) * 60 + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert len(requests) > 3 * HEAD_LIMIT
    reply, _ = sent(broker, iter([requests[:100_001], requests[100_001:]]))
    assert reply.count(b"HTTP/1.1 200 ") == 61


def test_a_long_body_in_small_pieces_is_no_head(broker: Client) -> None:
    order = json.dumps({"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}, "x": "y" * 300_000})
    head = (
        f"POST {broker.account}/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    body = b"".join(b"3\r\n%s\r\n" % order[at : at + 3].encode() for at in range(0, len(order) // 3 * 3, 3))
    rest = order[len(order) // 3 * 3 :].encode()
    tail = (b"%x\r\n%s\r\n" % (len(rest), rest) if rest else b"") + b"0\r\n\r\n"
    data = head + body + tail
    reply, _ = sent(broker, (data[at : at + 65_536] for at in range(0, len(data), 65_536)))
    assert reply.startswith(b"HTTP/1.1 201 "), reply[:200]


@pytest.mark.parametrize("surface", [False, True], ids=["broker", "control"])
def test_a_body_without_the_token_is_not_read(broker: Client, surface: bool) -> None:
    path = "/price" if surface else f"{broker.account}/orders"
    base = broker.bench.control_url if surface else broker.url
    address = urlsplit(base)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 401 ")


def test_a_body_of_more_than_a_mebibyte_is_refused(broker: Client) -> None:
    body = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}, "x": "y" * (1 << 20)}
    assert broker.send("POST", f"{broker.account}/orders", body).status_code == 413

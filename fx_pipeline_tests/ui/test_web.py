"""The web server's process, before the guard is asked."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from starlette.responses import PlainTextResponse

from fx_pipeline.ui.web import HEAD_LIMIT, _server


@contextmanager
def serving() -> Iterator[int]:
    """A server of one line; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _server(PlainTextResponse("ok"))
        thread = Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def answer(port: int, begin: bytes, part: bytes, times: int) -> bytes:
    """Send the part so often; return the first line of what comes back, nothing where the connection was cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
        try:
            connection.sendall(begin)
            for _ in range(times):
                connection.sendall(part)
            return connection.recv(64).partition(b"\r\n")[0]
        except ConnectionError:
            return b""


def test_headers_without_end_are_not_kept() -> None:
    floods = (
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 4096),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Y: aaaaaaaaa\r\n" * 256),
        (b"GET /", b"a" * 4096),
    )
    with serving() as port:
        for begin, part in floods:
            assert answer(port, begin, part, 64) in (b"", b"HTTP/1.1 400 Bad Request"), begin
        head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
        assert answer(port, head, b"a" * (HEAD_LIMIT // 2) + b"\r\n\r\n", 1) == b"HTTP/1.1 200 OK"

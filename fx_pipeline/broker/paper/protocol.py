"""How the paper broker sits on uvicorn: what a connection can do beyond ASGI, and the server's configuration."""

import asyncio
import sys
from typing import Any

import orjson
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "fx_pipeline.connection"
#: Of a request beside its body: the address, headers and trailers. The parser has no limit of its own.
HEAD_LIMIT = 1 << 16


class Connection:
    """The connection of a request.

    Attributes
    ----------
    closing : bool
        Whether the server is shutting down: a stream ends then.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.closing = False

    def cut(self) -> None:
        """Close the connection at once, whatever was or was not sent."""
        self._transport.abort()


class PaperProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol that hands its connection to the application, bounds what is kept of a request before
    anybody looks at its token, and refuses in JSON."""

    connection: Connection
    _refused = False
    # Bytes in a row that were neither the body's nor the end of a request, and whether the newest bytes were.
    _pending = 0
    _moved = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.connection = Connection(transport)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._moved = False
        super().data_received(data)
        self._pending = 0 if self._moved else self._pending + len(data)
        if self._pending > HEAD_LIMIT:
            self._refuse_head()

    def on_message_begin(self) -> None:
        self._moved = True
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {_EXTENSION: self.connection}

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        if not self._refused:
            super().on_message_complete()

    def shutdown(self) -> None:
        self.connection.closing = True
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", msg)

    def _refuse_head(self) -> None:
        message = f"The request has more than {HEAD_LIMIT} bytes of address and headers"
        self._refuse(b"431 Request Header Fields Too Large", message)

    def _refuse(self, status: bytes, message: str) -> None:
        if self._refused:
            return
        self._refused = True
        body = orjson.dumps({"errorMessage": message})
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()


def connection_of(scope: Scope) -> Connection | None:
    """Return the request's connection; None under another server than this project's."""
    found: Connection | None = scope.get("extensions", {}).get(_EXTENSION)
    return found


def uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    """Return how uvicorn serves the paper broker or its control surface.

    No access log, because URLs hold account ids; no `Date` from uvicorn, because the broker's clock is the market's.
    """
    return uvicorn.Config(
        app,
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        http=PaperProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        proxy_headers=False,
        # Clients hold connections for long; one that is closed under a POST leaves its outcome unknown.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=1,
    )

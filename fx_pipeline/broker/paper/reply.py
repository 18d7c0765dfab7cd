"""Replies in OANDA's form: JSON or gzip, RFC 3339 or UNIX times, the headers that every reply carries."""

import asyncio
import gzip
import re
from email.utils import formatdate
from functools import lru_cache

import orjson
from starlette.types import Receive, Scope, Send

from fx_pipeline.broker.paper.desk.codes import INVALID_PARAMETER
from fx_pipeline.broker.paper.desk.times import SECOND_NS, time_of, time_text
from fx_pipeline.broker.paper.protocol import connection_of
from fx_pipeline.broker.paper.wire import WireError

_TIME_VALUE = re.compile(rb'("(?:\w*[tT]ime(?:stamp)?|from|to|since)":")(\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z)"')
#: Of a body that arrives slowly.
_PIECES = 100
_ACCEPTED = re.compile(r"\s*(gzip|\*)\s*(?:;\s*q\s*=\s*([\d.]+))?\s*", re.IGNORECASE)


class Refusal(WireError):
    """A request that is answered with an error and, where OANDA gives one, its code.

    Attributes
    ----------
    code : str or None
        `errorCode` of the body.
    html : bool
        Whether the body is a web page with the message, as proxies answer, in place of JSON.
    """

    def __init__(self, status: int, message: str, code: str | None = None, html: bool = False) -> None:
        super().__init__(status, message)
        self.code = code
        self.html = html


def invalid(parameter: str, detail: str = "") -> Refusal:
    """Return the refusal of a parameter's value."""
    return Refusal(400, f"Invalid value specified for '{parameter}'{detail}", INVALID_PARAMETER)


class Reply:
    """A reply, ready to be sent.

    Attributes
    ----------
    status : int
        HTTP status.
    body : bytes
        As `packed` says.
    headers : dict of str to str
        In addition to those that every reply has.
    media_type : str
        Content type.
    packed : bool
        Whether the body is compressed already.
    """

    __slots__ = ("body", "headers", "media_type", "packed", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        media_type: str = "application/json",
        packed: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.media_type = media_type
        self.packed = packed

    async def send(
        self, send: Send, request_id: str, now_ns: int, compress: bool, head: bool = False, drip_s: float = 0.0
    ) -> None:
        """Send the reply; the answer to HEAD has no body. The body may take `drip_s` to leave."""
        headers = common_headers(request_id, now_ns, self.media_type)
        body = self.body
        if compress:
            body = body if self.packed else _pack(body)
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", b"%d" % len(body)))
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if drip_s and not head:
            length = -(-len(body) // _PIECES)
            while len(body) > length:
                await send({"type": "http.response.body", "body": body[:length], "more_body": True})
                await asyncio.sleep(drip_s / _PIECES)
                body = body[length:]
        await send({"type": "http.response.body", "body": b"" if head else body})


def compressed(reply: Reply) -> Reply:
    """Return the reply with its body compressed: for a thread, so that the event loop need not do it."""
    return Reply(reply.status, _pack(reply.body), reply.headers, reply.media_type, packed=True)


def refused(error: WireError) -> Reply:
    """Return the reply that refuses a request."""
    if isinstance(error, Refusal) and error.html:
        page = f"<html><head><title>{error.message}</title></head><body><h1>{error.message}</h1></body></html>"
        return Reply(error.status, page.encode(), media_type="text/html")
    body = {"errorMessage": error.message}
    if isinstance(error, Refusal) and error.code:
        body["errorCode"] = error.code
    return Reply(error.status, orjson.dumps(body))


def common_headers(request_id: str, now_ns: int, media_type: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of every reply and stream. `Date` is the market's clock."""
    return [
        (b"requestid", request_id.encode()),
        (b"date", _date(now_ns // SECOND_NS)),
        (b"content-type", media_type.encode()),
        (b"vary", b"Accept-Encoding"),
    ]


def accepts_gzip(header: str) -> bool:
    """Return whether an Accept-Encoding header takes gzip."""
    for part in header.split(","):
        found = _ACCEPTED.fullmatch(part)
        if found and (found[2] is None or found[2].strip("0.")):
            return True
    return False


def format_time(time_ns: int, unix: bool) -> str:
    """Return a time as RFC 3339 with nine decimals, or as UNIX seconds with nine decimals."""
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS:09d}" if unix else time_text(time_ns)


def with_unix_times(body: bytes) -> bytes:
    """Return a JSON body with the times under its time keys as UNIX seconds with nine decimals."""
    # A quote inside a JSON string is escaped, so what looks like a key is one.
    return _TIME_VALUE.sub(_unix, body)


async def cut_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection without a reply.

    Raises
    ------
    RuntimeError
        Under a server that cannot do it.
    """
    connection = connection_of(scope)
    if connection is None:
        raise RuntimeError("this server cannot cut a connection: run the broker under its own uvicorn configuration.")
    connection.cut()
    while (await receive())["type"] != "http.disconnect":
        pass


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)


def _unix(found: re.Match[bytes]) -> bytes:
    time_ns = time_of(found[2].decode())
    # A time of year 0 has the form of a time and is none.
    return found[0] if time_ns is None else b'%s%s"' % (found[1], format_time(time_ns, unix=True).encode())


@lru_cache(maxsize=8)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()

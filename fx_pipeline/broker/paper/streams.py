"""The two streams: prices and transactions, one JSON object a line, with heartbeats.

A tick reaches a stream's queue while the desk works; a task of the stream sends it. A reader that is too slow fills
its queue and is cut off: nothing is skipped in silence, and nobody else waits for it.
"""

import abc
import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import orjson
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fx_pipeline.broker.paper.endpoint import reply_to_failure
from fx_pipeline.broker.paper.pricing import price_body, stream_line
from fx_pipeline.broker.paper.protocol import connection_of
from fx_pipeline.broker.paper.quotes import Quote
from fx_pipeline.broker.paper.reply import (
    Refusal,
    common_headers,
    cut_connection,
    format_time,
    invalid,
    with_unix_times,
)
from fx_pipeline.broker.paper.routes.accounts import instrument_names
from fx_pipeline.broker.paper.routes.pricing import flag
from fx_pipeline.broker.paper.service import MAXIMUM_STREAMS, Call, Service

WINDOW_NS, _WINDOW_S = 250_000_000, 0.25
#: Entries that wait for a reader at most: 45 days of one instrument's ticks in one step of the clock.
BACKLOG = 1 << 18
_CHUNK_LINES = 512
_LOOK_S, _LOOK_SOON_S = 0.1, 0.02


class Feed(abc.ABC):
    """What waits between the desk and the reader of a stream.

    Parameters
    ----------
    service : Service
        What the endpoints share.
    call : Call
        The request.
    cut : callable or None
        Closes the connection.

    Attributes
    ----------
    fault : str
        Name of the switch of `Faults` that concerns it.
    durable : bool
        Whether what it says must be on the disk before.
    news : asyncio.Event
        Set when there is something to send.
    overflown : bool
        Whether more than `BACKLOG` entries waited: they are lost, and the stream must be cut.
    """

    fault: ClassVar[str]
    durable: ClassVar[bool]
    _unsubscribe: Callable[[], None]

    def __init__(self, service: Service, call: Call, cut: Callable[[], None] | None) -> None:
        self.news = asyncio.Event()
        self.overflown = False
        self._service = service
        self._unix = call.unix
        self._cut = cut
        self._entries: deque[Any] = deque()

    def append(self, entry: Any) -> None:
        """Let an entry wait for the reader."""
        if self.overflown:
            return
        if len(self._entries) >= BACKLOG:
            self.overflown = True
            self._entries.clear()
            # The stream's own task may be stuck in sending to the slow reader.
            if self._cut is not None:
                self._cut()
        else:
            self._entries.append(entry)
        self.news.set()

    @abc.abstractmethod
    def take(self) -> bytes:
        """Return the next lines, or nothing."""

    @abc.abstractmethod
    def heartbeat(self) -> bytes:
        """Return a heartbeat's line."""

    def waiting(self) -> bool:
        """Whether something will be due without further news."""
        return False

    def close(self) -> None:
        """End the subscription."""
        self._unsubscribe()

    def _chunk(self) -> list[Any]:
        return [self._entries.popleft() for _ in range(min(len(self._entries), _CHUNK_LINES))]

    def _line(self, message: dict[str, Any]) -> bytes:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)

    def _time(self) -> str:
        return format_time(self._service.exchange.clock.now_ns(), self._unix)


class PriceFeed(Feed):
    """Prices of some instruments: at most four a second each, of which the last of a window wins.

    The window is one of the market's time, so that a replay at many times real time loses nothing that a stream in
    real time has; a price that waits for the window's end goes out after as long in real time at the latest.
    """

    fault = "pricing_stream"
    durable = False

    def __init__(self, service: Service, call: Call, cut: Callable[[], None] | None) -> None:
        super().__init__(service, call, cut)
        if "instruments" not in call.query:
            raise invalid("instruments")
        names = instrument_names(call)
        self._sent_ns: dict[str, int] = dict.fromkeys(names, -WINDOW_NS)
        self._held: dict[str, tuple[Quote, float]] = {}
        if flag(call, "snapshot", True):
            for name in names:
                self.append(call.exchange.quote(name))
                self._sent_ns[name] = call.now_ns
        self._unsubscribe = call.exchange.subscribe_quotes(self.on_quote, names)

    def on_quote(self, quote: Quote) -> None:
        """Take a tick."""
        name = quote.instrument
        if name in self._held and quote.time_ns - self._sent_ns[name] >= WINDOW_NS:
            self._send(self._held.pop(name)[0], self._sent_ns[name] + WINDOW_NS)
        if quote.time_ns - self._sent_ns[name] >= WINDOW_NS:
            self._send(quote, quote.time_ns)
        else:
            held = self._held.get(name)
            self._held[name] = (quote, self._service.monotonic() if held is None else held[1])
            self.news.set()

    def take(self) -> bytes:
        """Return the next lines, or nothing."""
        now_ns, now_s = self._service.exchange.clock.now_ns(), self._service.monotonic()
        for name, (quote, since_s) in list(self._held.items()):
            if now_ns - self._sent_ns[name] >= WINDOW_NS or now_s - since_s >= _WINDOW_S:
                del self._held[name]
                # The clock may be far ahead of the ticks that are still to come: the window's end counts.
                self._send(quote, min(now_ns, self._sent_ns[name] + WINDOW_NS))
        faults = self._service.faults
        if faults.heartbeats_only:
            self._entries.clear()
            return b""
        quotes = self._chunk()
        if faults.empty_books:
            bodies = ({**price_body(quote, None, self._unix), "bids": [], "asks": []} for quote in quotes)
            return b"".join(map(self._line, bodies))
        return b"".join([stream_line(quote, self._unix) for quote in quotes])

    def heartbeat(self) -> bytes:
        """Return a heartbeat's line."""
        return self._line({"type": "HEARTBEAT", "time": self._time()})

    def waiting(self) -> bool:
        """Whether a price is held until its window ends."""
        return bool(self._held)

    def _send(self, quote: Quote, sent_ns: int) -> None:
        self._sent_ns[quote.instrument] = sent_ns
        self.append(quote)


class TransactionFeed(Feed):
    """Every transaction of the account from the subscription on."""

    fault = "transactions_stream"
    durable = True

    def __init__(self, service: Service, call: Call, cut: Callable[[], None] | None) -> None:
        super().__init__(service, call, cut)
        self._unsubscribe = call.exchange.subscribe_transactions(self.append)

    def take(self) -> bytes:
        """Return the next lines, or nothing."""
        lines = b"".join(map(self._line, self._chunk()))
        return with_unix_times(lines) if self._unix else lines

    def heartbeat(self) -> bytes:
        """Return a heartbeat's line; its `lastTransactionID` tells a reader what it has missed."""
        last = self._service.exchange.desk.last_transaction_id
        return self._line({"type": "HEARTBEAT", "lastTransactionID": last, "time": self._time()})


def stream_routes(service: Service) -> list[Route]:
    """Return the routes of the two streams."""
    account = "/v3/accounts/{account}"
    return [
        Route(f"{account}/pricing/stream", _StreamEndpoint(service, PriceFeed), methods=["GET"]),
        Route(f"{account}/transactions/stream", _StreamEndpoint(service, TransactionFeed), methods=["GET"]),
    ]


class _StreamEndpoint:
    def __init__(self, service: Service, feed: Callable[[Service, Call, Callable[[], None] | None], Feed]) -> None:
        self._service = service
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        headers = dict(scope["headers"])
        request_id = service.next_request_id()
        connection = connection_of(scope)
        try:
            await service.admit(scope, headers)
            if service.faults.rate_limit and service.streams >= MAXIMUM_STREAMS:
                raise Refusal(429, f"More than {MAXIMUM_STREAMS} streams are open.")
            call = service.call(scope, headers, request_id)
            feed = self._feed(service, call, None if connection is None else connection.cut)
        except Exception as error:
            head = scope["method"] == "HEAD"
            await reply_to_failure(error).send(send, request_id, service.server_time_ns(), compress=False, head=head)
            return
        start = common_headers(request_id, service.server_time_ns(), "application/octet-stream")
        if scope["method"] == "HEAD":
            feed.close()
            await send({"type": "http.response.start", "status": 200, "headers": start})
            await send({"type": "http.response.body", "body": b""})
            return
        service.streams += 1
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": start})
            if await self._run(feed, send, lambda: gone.done() or (connection is not None and connection.closing)):
                await send({"type": "http.response.body", "body": b""})
            else:
                gone.cancel()
                await cut_connection(scope, receive)
        finally:
            service.streams -= 1
            feed.close()
            gone.cancel()

    async def _run(self, feed: Feed, send: Send, over: Callable[[], bool]) -> bool:
        """Send until it is over, and return whether the stream ends cleanly rather than being cut."""
        service = self._service
        beat_s = service.monotonic() + service.heartbeat_s
        while not over():
            fault = getattr(service.faults, feed.fault)
            if fault == "end":
                return True
            if fault == "drop" or feed.overflown:
                return False
            feed.news.clear()
            now_s = service.monotonic()
            if fault == "stall":
                beat_s = now_s + service.heartbeat_s
            else:
                lines = feed.take()
                if not lines and now_s >= beat_s:
                    lines, beat_s = feed.heartbeat(), now_s + service.heartbeat_s
                if lines:
                    if feed.durable:
                        await service.commit.settle()
                    await send({"type": "http.response.body", "body": lines, "more_body": True})
                    # A reader that keeps up never makes `send` wait: others have their turn between two chunks.
                    await asyncio.sleep(0)
                    continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feed.news.wait(), _LOOK_SOON_S if feed.waiting() else _LOOK_S)
        return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

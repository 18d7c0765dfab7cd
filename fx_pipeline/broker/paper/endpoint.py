"""An endpoint as an ASGI application: from the bytes of a request to those of its reply."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from starlette.types import Receive, Scope, Send

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.reply import (
    Refusal,
    Reply,
    accepts_gzip,
    compressed,
    cut_connection,
    refused,
    with_unix_times,
)
from fx_pipeline.broker.paper.service import Answer, Call, Service
from fx_pipeline.broker.paper.wire import WireError
from fx_pipeline.market.errors import FxPipelineError

Handler = Callable[[Call], Answer | Outcome]

Given = TypeVar("Given")

_BODY_LIMIT = 1 << 20
#: A body from this size on is compressed by a thread.
_LARGE_BYTES = 1 << 15
_logger = logging.getLogger(__name__)


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class Endpoint:
    """One method of one path, as an ASGI application.

    Parameters
    ----------
    service : Service
        What the endpoints share.
    handler : callable
        Does the work; it runs on the event loop, alone, unless `aside`.
    writes : bool
        Whether it changes the account: it then takes a body, and replies may be lost or late.
    aside : bool
        Whether a thread runs the handler while the account goes on: it must read nothing that changes.
    """

    def __init__(self, service: Service, handler: Handler, writes: bool = False, aside: bool = False) -> None:
        self._service = service
        self._handler = handler
        self._writes = writes
        self._aside = aside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        service = self._service
        headers = dict(scope["headers"])
        request_id = service.next_request_id()
        compress = accepts_gzip(headers.get(b"accept-encoding", b"").decode("latin-1"))
        try:
            reply = await self._answer(scope, receive, headers, request_id)
            if compress and len(reply.body) > _LARGE_BYTES:
                reply = await self._in_thread(compressed, reply)
            if self._writes and reply.status < 300:
                if service.faults.take("lose_reply", scope["path"]):
                    await cut_connection(scope, receive)
                    return
                if service.faults.late_reply_s:
                    await asyncio.sleep(service.faults.late_reply_s)
        except ClientGone:
            return
        except Exception as error:
            reply = reply_to_failure(error)
        head, drip_s = scope["method"] == "HEAD", service.faults.drip_s
        await reply.send(send, request_id, service.server_time_ns(), compress, head, drip_s)

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes], request_id: str) -> Reply:
        service = self._service
        await service.admit(scope, headers)
        body = await json_body(receive) if self._writes else None
        call = service.call(scope, headers, request_id, body)
        desk = service.exchange.desk
        before = int(desk.last_transaction_id)
        if self._writes:
            desk.allow_duplicate_client_ids = service.faults.duplicate_client_ids
        reply = await self._in_thread(self._work, call) if self._aside else self._work(call)
        if self._writes:
            service.wrote(before)
        await service.commit.settle()
        return reply

    def _work(self, call: Call) -> Reply:
        answer = self._handler(call)
        outcome, extra = answer if isinstance(answer, Answer) else (answer, {})
        payload = orjson.dumps(outcome.body)
        return Reply(outcome.status, with_unix_times(payload) if call.unix else payload, extra)

    async def _in_thread(self, work: Callable[[Given], Reply], given: Given) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._service.read_pool, work, given)


def reply_to_failure(error: Exception) -> Reply:
    """Return the reply to a request that could not be answered; what is no refusal is logged."""
    if isinstance(error, WireError):
        return refused(error)
    if isinstance(error, FxPipelineError):
        _logger.error("%s", error)
        return refused(WireError(500, str(error)))
    _logger.error("a request failed", exc_info=error)
    return refused(WireError(500, "The paper broker failed; its log says where."))


async def json_body(receive: Receive) -> Any:
    """Return a request's body as parsed JSON; None where there is none.

    Raises
    ------
    Refusal
        If it is larger than a mebibyte, or no JSON.
    ClientGone
        If the connection ends before the body does.
    """
    parts = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts += message.get("body", b"")
        if len(parts) > _BODY_LIMIT:
            raise Refusal(413, f"The body is larger than {_BODY_LIMIT} bytes")
        more = message.get("more_body", False)
    if not parts:
        return None
    try:
        return orjson.loads(bytes(parts))
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"Invalid JSON: {error}") from error

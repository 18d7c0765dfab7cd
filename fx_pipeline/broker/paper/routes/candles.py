"""Endpoints of candles: by instrument, below the account, and the latest of several."""

import asyncio
from collections.abc import Callable

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fx_pipeline.broker.paper.candles import candles_reply
from fx_pipeline.broker.paper.endpoint import reply_to_failure
from fx_pipeline.broker.paper.reply import Reply, accepts_gzip, compressed, invalid
from fx_pipeline.broker.paper.service import Call, Service

_LATEST_PARAMETERS = ("smooth", "dailyAlignment", "alignmentTimezone", "weeklyAlignment", "units")
_MAXIMUM_SPECIFICATIONS = 100
Work = Callable[[Service, Call], Reply]


def candle_routes(service: Service) -> list[Route]:
    """Return the three routes of candles."""
    one, latest = _CandleEndpoint(service, _candles), _CandleEndpoint(service, _latest)
    return [
        Route("/v3/instruments/{instrument}/candles", one, methods=["GET"]),
        Route("/v3/accounts/{account}/instruments/{instrument}/candles", one, methods=["GET"]),
        Route("/v3/accounts/{account}/candles/latest", latest, methods=["GET"]),
    ]


class _CandleEndpoint:
    # The work takes long and touches no desk: a thread does it, so that orders do not wait for it.
    def __init__(self, service: Service, work: Work) -> None:
        self._service = service
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        headers = dict(scope["headers"])
        request_id = service.next_request_id()
        compress = accepts_gzip(headers.get(b"accept-encoding", b"").decode("latin-1"))
        try:
            await service.admit(scope, headers)
            call = service.call(scope, headers, request_id)
            loop = asyncio.get_running_loop()
            reply = await loop.run_in_executor(service.read_pool, self._reply, call, compress)
        except Exception as error:
            reply = reply_to_failure(error)
        head, drip_s = scope["method"] == "HEAD", service.faults.drip_s
        await reply.send(send, request_id, service.server_time_ns(), compress, head, drip_s)

    def _reply(self, call: Call, compress: bool) -> Reply:
        reply = self._work(self._service, call)
        return compressed(reply) if compress else reply


def _candles(service: Service, call: Call) -> Reply:
    market, name = call.exchange.market, call.path["instrument"]
    body, headers = candles_reply(market, name, call.query, call.now_ns, call.unix, service.faults, call.unmixed)
    return Reply(200, body, headers)


def _latest(service: Service, call: Call) -> Reply:
    specifications = call.query.get("candleSpecifications", "").split(",")
    if len(specifications) > _MAXIMUM_SPECIFICATIONS:
        raise invalid("candleSpecifications")
    shared = {name: call.query[name] for name in _LATEST_PARAMETERS if name in call.query}
    bodies = []
    for specification in specifications:
        parts = specification.split(":")
        if len(parts) != 3:
            raise invalid("candleSpecifications")
        # The newest complete candle, and the one that runs.
        query = {**shared, "granularity": parts[1], "price": parts[2], "count": "2"}
        market = call.exchange.market
        bodies.append(candles_reply(market, parts[0], query, call.now_ns, call.unix, service.faults)[0])
    return Reply(200, b'{"latestCandles":[' + b",".join(bodies) + b"]}")

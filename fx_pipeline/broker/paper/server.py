"""The paper broker over HTTP: OANDA's v20 endpoints for the unmodified clients."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from fx_pipeline.broker.paper.clock import ReplayClock
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.reply import refused
from fx_pipeline.broker.paper.routes.accounts import account_routes
from fx_pipeline.broker.paper.routes.candles import candle_routes
from fx_pipeline.broker.paper.routes.orders import order_routes
from fx_pipeline.broker.paper.routes.positions import position_routes
from fx_pipeline.broker.paper.routes.pricing import pricing_routes
from fx_pipeline.broker.paper.routes.trades import trade_routes
from fx_pipeline.broker.paper.routes.transactions import transaction_routes
from fx_pipeline.broker.paper.service import Service
from fx_pipeline.broker.paper.streams import stream_routes
from fx_pipeline.broker.paper.wire import WireError
from fx_pipeline.market.errors import FxPipelineError

# A market whose clock is changed from outside is looked at again after this long.
_LONGEST_WAIT_S, _SHORTEST_WAIT_S = 0.25, 0.001
# Between two attempts at what fails.
_LONGEST_PAUSE_S = 60.0
_logger = logging.getLogger(__name__)


def create_app(exchange: Exchange, token: str, faults: Faults | None = None, heartbeat_s: float = 5.0) -> FastAPI:
    """Return the paper broker's application.

    While it runs, it moves the exchange along with the clock, and it owns the exchange's event loop: everything that
    touches the exchange runs there, its control surface too.

    Parameters
    ----------
    exchange : Exchange
        Market, desk and journal; the caller closes it.
    token : str
        Bearer token that every request but `/health` must carry.
    faults : Faults, optional
        The switches; all off when absent.
    heartbeat_s : float
        Seconds between a stream's heartbeats.

    Raises
    ------
    ConfigurationError
        If no client could send the token.
    """
    service = Service(exchange, token, faults or Faults(), heartbeat_s)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pacing = asyncio.create_task(_keep_pace(service))
        try:
            yield
        finally:
            pacing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pacing
            service.close()

    app = bare_app(lifespan)
    app.state.commit = service.commit

    async def health(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    app.router.add_route("/health", health)
    for routes in (
        *(order_routes, pricing_routes, candle_routes, account_routes, trade_routes, position_routes),
        # A stream's path would be a transaction's, if it came later.
        *(stream_routes, transaction_routes),
    ):
        app.router.routes.extend(routes(service))
    return app


def bare_app(lifespan: Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]) -> FastAPI:
    """Return an application without documentation pages, that answers every unknown path and method in JSON."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.add_middleware(_EncodedPaths)

    @app.exception_handler(HTTPException)
    async def on_http_error(_request: Request, error: HTTPException) -> Response:
        reply = refused(WireError(error.status_code, str(error.detail)))
        return Response(reply.body, reply.status, error.headers, reply.media_type)

    return app


class _EncodedPaths:
    """Matches routes against the path as it was sent: a client id may hold a slash, percent-encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["raw_path"].decode("ascii")
        await self._app(scope, receive, send)


async def _keep_pace(service: Service) -> None:
    exchange = service.exchange
    failures = 0
    while True:
        try:
            now_ns = exchange.advance()
            if exchange.dirty:
                await service.commit.settle()
            wait_s, failures = _wait_s(exchange, now_ns), 0
        except Exception as error:
            # Requests meet the same error and say it to their clients. The quote at which it happened is still the next
            # one, so that trying again leaves nothing out, and what passes by itself needs nobody.
            expected = isinstance(error, FxPipelineError)
            _logger.error("the market stands still: %s", error, exc_info=None if expected else error)
            wait_s, failures = min(2.0**failures, _LONGEST_PAUSE_S), failures + 1
        await asyncio.sleep(wait_s)


def _wait_s(exchange: Exchange, now_ns: int) -> float:
    due_ns, clock = exchange.next_due_ns(), exchange.clock
    if due_ns is None or not isinstance(clock, ReplayClock):
        return _LONGEST_WAIT_S
    return min(max((due_ns - now_ns) / 1e9 / clock.speed, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

"""The paper server: OANDA's candles endpoint over HTTP, for the unmodified clients.

Beyond OANDA's own, its replies carry headers: `FX-Source` (imported or synthetic), `FX-Quotes` (quoted, modelled, or
mixed) and `FX-Revision` (a name of the data of the month of `from`; other data have another name). A page that is
asked for by `from` and `count` ends where its quotes change their origin, so it is never mixed; a reply bounded by
`to` is always whole.
"""

import gzip
import itertools
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.broker.paper.wire import WireError, candles_body, parse_candle_query
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError
from fx_pipeline.market.instrument import instrument as find_instrument

_UNAUTHORIZED = "Insufficient authorization to perform request."


def create_app(store: Path, token: str, synthetic: bool = True, now_ns: Callable[[], int] = time.time_ns) -> FastAPI:
    """Return the paper server's application.

    Parameters
    ----------
    store : Path
        Folder of the candle store.
    token : str
        Bearer token that every request but `/health` must carry.
    synthetic : bool
        Whether an instrument without imported candles gets the synthetic market.
    now_ns : callable
        The server's clock, UTC nanoseconds.

    Raises
    ------
    ConfigurationError
        If the token is empty.
    """
    if not token:
        raise ConfigurationError("the paper server needs a token: choose any text of one character or more.")
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    market = PaperMarket(store, synthetic)
    expected = f"Bearer {token}".encode()
    request_ids = itertools.count(1)

    def reply(body: bytes, request: Request, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        sent = {"RequestID": f"{next(request_ids):018d}", "Vary": "Accept-Encoding", **(headers or {})}
        if "gzip" in request.headers.get("accept-encoding", "").lower():
            body = gzip.compress(body, compresslevel=1, mtime=0)
            sent["Content-Encoding"] = "gzip"
        return Response(body, status, sent, media_type="application/json")

    def refuse(request: Request, status: int, message: str) -> Response:
        return reply(orjson.dumps({"errorMessage": message}), request, status)

    @app.exception_handler(WireError)
    def on_wire_error(request: Request, error: WireError) -> Response:
        return refuse(request, error.status, error.message)

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> Response:
        return refuse(request, error.status_code, str(error.detail))

    @app.exception_handler(FxPipelineError)
    def on_broken_store(request: Request, error: FxPipelineError) -> Response:
        return refuse(request, 500, str(error))

    @app.get("/health")
    def health(request: Request) -> Response:
        return reply(b'{"status":"ok"}', request)

    @app.get("/v3/instruments/{name}/candles")
    def candles(name: str, request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if not secrets.compare_digest(given, expected):
            raise WireError(401, _UNAUTHORIZED)
        try:
            find_instrument(name)
        except DataError as error:
            raise WireError(400, "Invalid value specified for 'instrument'") from error
        now = now_ns()
        query = parse_candle_query(request.query_params, now)
        start = 0 if query.start_ns is None else query.start_ns
        end = now if query.end_ns is None else query.end_ns
        if query.count is None:
            # A range holds at most 5,000 minutes, which the query has checked.
            bars = market.forward(name, start, end, limit=(end - start) // 60_000_000_000 + 1)
        elif query.start_ns is None:
            bars = market.backward(name, start, end, query.count)
        else:
            bars = _same_origin(market.forward(name, start, end, query.count))
        unix = request.headers.get("accept-datetime-format", "").upper() == "UNIX"
        body = candles_body(name, bars, query.sides, now, unix)
        headers = {"FX-Revision": market.revision(name, start)}
        source = market.source(name)
        if source is not None:
            headers["FX-Source"] = source
        if len(bars.time):
            kinds = np.unique(bars.quotes_modelled)
            headers["FX-Quotes"] = "mixed" if len(kinds) > 1 else "modelled" if kinds[0] else "quoted"
        return reply(body, request, headers=headers)

    return app


def _same_origin(bars: Bars) -> Bars:
    changes = np.flatnonzero(bars.quotes_modelled != bars.quotes_modelled[:1])
    return bars.part(0, int(changes[0])) if len(changes) else bars

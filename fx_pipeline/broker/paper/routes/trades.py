"""Endpoints of trades: list, look up, close, dependent orders, extensions."""

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.routes.lists import page, visible
from fx_pipeline.broker.paper.service import Answer, Call, Service


def trade_routes(service: Service) -> list[Route]:
    """Return the routes of `/trades` and `/openTrades`."""
    trades = "/v3/accounts/{account}/trades"
    one = f"{trades}/{{specifier}}"
    return [
        Route(trades, Endpoint(service, _list), methods=["GET"]),
        Route("/v3/accounts/{account}/openTrades", Endpoint(service, _open), methods=["GET"]),
        Route(one, Endpoint(service, _get), methods=["GET"]),
        Route(f"{one}/close", Endpoint(service, _close, writes=True), methods=["PUT"]),
        Route(f"{one}/orders", Endpoint(service, _set_orders, writes=True), methods=["PUT"]),
        Route(f"{one}/clientExtensions", Endpoint(service, _extensions, writes=True), methods=["PUT"]),
    ]


def _list(call: Call) -> Answer:
    return page(call, "trades", call.desk.trades)


def _open(call: Call) -> Outcome:
    return visible(call, "trades", call.desk.open_trades())


def _get(call: Call) -> Outcome:
    return visible(call, "trade", call.desk.trade(call.path["specifier"]))


def _close(call: Call) -> Outcome:
    body = {} if call.body is None else call.body
    return call.desk.close_trade(call.path["specifier"], body, call.now_ns, call.request_id)


def _set_orders(call: Call) -> Outcome:
    body = {} if call.body is None else call.body
    return call.desk.set_trade_orders(call.path["specifier"], body, call.now_ns, call.request_id)


def _extensions(call: Call) -> Outcome:
    body = {} if call.body is None else call.body
    return call.desk.set_trade_extensions(call.path["specifier"], body, call.now_ns, call.request_id)

"""Endpoints of orders: create, list, look up, replace, cancel, extensions."""

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.routes.lists import page, visible
from fx_pipeline.broker.paper.service import Answer, Call, Service


def order_routes(service: Service) -> list[Route]:
    """Return the routes of `/orders` and `/pendingOrders`."""
    orders = "/v3/accounts/{account}/orders"
    one = f"{orders}/{{specifier}}"
    return [
        Route(orders, Endpoint(service, _create, writes=True), methods=["POST"]),
        Route(orders, Endpoint(service, _list), methods=["GET"]),
        Route("/v3/accounts/{account}/pendingOrders", Endpoint(service, _pending), methods=["GET"]),
        Route(one, Endpoint(service, _get), methods=["GET"]),
        Route(one, Endpoint(service, _replace, writes=True), methods=["PUT"]),
        Route(f"{one}/cancel", Endpoint(service, _cancel, writes=True), methods=["PUT"]),
        Route(f"{one}/clientExtensions", Endpoint(service, _extensions, writes=True), methods=["PUT"]),
    ]


def _create(call: Call) -> Answer:
    return _located(call, call.desk.create_order(call.required("order"), call.now_ns, call.request_id))


def _list(call: Call) -> Answer:
    return page(call, "orders", call.desk.orders)


def _pending(call: Call) -> Outcome:
    return visible(call, "orders", call.desk.pending_orders())


def _get(call: Call) -> Outcome:
    return visible(call, "order", call.desk.order(call.path["specifier"]))


def _replace(call: Call) -> Answer:
    order = call.required("order")
    outcome = call.desk.replace_order(call.path["specifier"], order, call.now_ns, call.request_id)
    return _located(call, outcome)


def _cancel(call: Call) -> Outcome:
    return call.desk.cancel_order(call.path["specifier"], call.now_ns, call.request_id)


def _extensions(call: Call) -> Outcome:
    body = {} if call.body is None else call.body
    return call.desk.set_order_extensions(call.path["specifier"], body, call.now_ns, call.request_id)


def _located(call: Call, outcome: Outcome) -> Answer:
    created = outcome.body.get("orderCreateTransaction")
    return Answer(outcome, {"Location": f"{call.account_url}/orders/{created['id']}"} if created else {})

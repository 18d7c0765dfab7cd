"""Endpoints of transactions: pages, by id, by range, since an id."""

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.desk.times import time_of
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.reply import Refusal, invalid
from fx_pipeline.broker.paper.service import Call, Service

_DEFAULT_PAGE, _MAXIMUM_PAGE = 100, 1000


def transaction_routes(service: Service) -> list[Route]:
    """Return the routes of `/transactions` but for the stream."""
    transactions = "/v3/accounts/{account}/transactions"
    return [
        Route(transactions, Endpoint(service, _pages, aside=True), methods=["GET"]),
        Route(f"{transactions}/idrange", Endpoint(service, _range, aside=True), methods=["GET"]),
        Route(f"{transactions}/sinceid", Endpoint(service, _since, aside=True), methods=["GET"]),
        Route(f"{transactions}/{{transaction}}", Endpoint(service, _get), methods=["GET"]),
    ]


def _pages(call: Call) -> Outcome:
    size = call.query.get("pageSize", str(_DEFAULT_PAGE))
    if not (size.isascii() and size.isdecimal() and len(size) < 10 and 1 <= int(size) <= _MAXIMUM_PAGE):
        raise Refusal(400, "The page size specified is invalid", "INVALID_PAGESIZE")
    from_ns, to_ns = _time(call, "from"), _time(call, "to")
    url = f"{call.account_url}/transactions"
    return call.desk.transaction_pages(from_ns, to_ns, int(size), _types(call), url, call.now_ns)


def _range(call: Call) -> Outcome:
    return call.desk.transactions_range(call.query.get("from", ""), call.query.get("to", ""), _types(call))


def _since(call: Call) -> Outcome:
    return call.desk.transactions_since(call.query.get("id", ""))


def _get(call: Call) -> Outcome:
    return call.desk.transaction(call.path["transaction"])


def _types(call: Call) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in call.query["type"].split(",")) if "type" in call.query else None


def _time(call: Call, name: str) -> int | None:
    if name not in call.query:
        return None
    time_ns = time_of(call.query[name])
    if time_ns is None:
        raise invalid(name)
    return time_ns

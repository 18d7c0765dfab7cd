"""Endpoint of prices: the newest quote of the instruments that are asked for."""

from typing import Any

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.desk.times import time_of, time_text
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.pricing import price_body
from fx_pipeline.broker.paper.reply import invalid
from fx_pipeline.broker.paper.routes.accounts import instrument_names
from fx_pipeline.broker.paper.service import Call, Service


def pricing_routes(service: Service) -> list[Route]:
    """Return the route of `/pricing`."""

    def prices(call: Call) -> Outcome:
        return _prices(call, service.faults.empty_books)

    return [Route("/v3/accounts/{account}/pricing", Endpoint(service, prices), methods=["GET"])]


def flag(call: Call, name: str, default: bool) -> bool:
    """Return a boolean query parameter; Python's `True` is taken too.

    Raises
    ------
    Refusal
        If it is neither true nor false.
    """
    text = call.query.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise invalid(name)
    return text == "true"


def _prices(call: Call, empty_books: bool) -> Outcome:
    if "instruments" not in call.query:
        raise invalid("instruments")
    names = instrument_names(call)
    desk = call.desk if flag(call, "includeUnitsAvailable", True) else None
    since_ns = _since(call)
    quotes = [call.exchange.quote(name) for name in names]
    prices = [price_body(quote, desk, unix=False) for quote in quotes if quote.time_ns > since_ns]
    if empty_books:
        prices = [{**price, "bids": [], "asks": []} for price in prices]
    body: dict[str, Any] = {"time": time_text(call.now_ns), "prices": prices}
    if flag(call, "includeHomeConversions", False):
        body["homeConversions"] = call.desk.home_conversions(names)
    return Outcome(200, body)


def _since(call: Call) -> int:
    if "since" not in call.query:
        return -1
    since_ns = time_of(call.query["since"])
    if since_ns is None:
        raise invalid("since")
    return since_ns

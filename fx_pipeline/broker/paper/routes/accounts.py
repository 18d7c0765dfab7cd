"""Endpoints of the account: list, details, summary, instruments, changes, configuration."""

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.reply import invalid
from fx_pipeline.broker.paper.service import Call, Service


def account_routes(service: Service) -> list[Route]:
    """Return the routes below `/v3/accounts`."""
    account = "/v3/accounts/{account}"
    return [
        Route("/v3/accounts", Endpoint(service, _accounts), methods=["GET"]),
        Route(account, Endpoint(service, _account), methods=["GET"]),
        Route(f"{account}/summary", Endpoint(service, _summary), methods=["GET"]),
        Route(f"{account}/instruments", Endpoint(service, _instruments), methods=["GET"]),
        Route(f"{account}/changes", Endpoint(service, _changes), methods=["GET"]),
        Route(f"{account}/configuration", Endpoint(service, _configure, writes=True), methods=["PATCH"]),
    ]


def instrument_names(call: Call) -> list[str]:
    """Return the names of the query parameter `instruments`.

    Raises
    ------
    Refusal
        If one of them is not traded here.
    """
    names = [name.strip() for name in call.query["instruments"].split(",")]
    if set(names) - set(call.exchange.instruments):
        raise invalid("instruments")
    # Each once, in the order in which they were asked for.
    return list(dict.fromkeys(names))


def _accounts(call: Call) -> Outcome:
    return call.desk.accounts()


def _account(call: Call) -> Outcome:
    return call.desk.account()


def _summary(call: Call) -> Outcome:
    return call.desk.summary()


def _instruments(call: Call) -> Outcome:
    return call.desk.instruments(instrument_names(call) if "instruments" in call.query else None)


def _changes(call: Call) -> Outcome:
    return call.desk.changes(call.query.get("sinceTransactionID", ""))


def _configure(call: Call) -> Outcome:
    return call.desk.configure({} if call.body is None else call.body, call.now_ns, call.request_id)

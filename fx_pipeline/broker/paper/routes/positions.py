"""Endpoints of positions: list, look up, close."""

from starlette.routing import Route

from fx_pipeline.broker.paper.desk import Outcome
from fx_pipeline.broker.paper.endpoint import Endpoint
from fx_pipeline.broker.paper.service import Answer, Call, Service


def position_routes(service: Service) -> list[Route]:
    """Return the routes of `/positions` and `/openPositions`."""
    positions = "/v3/accounts/{account}/positions"
    one = f"{positions}/{{instrument}}"
    return [
        Route(positions, Endpoint(service, _list), methods=["GET"]),
        Route("/v3/accounts/{account}/openPositions", Endpoint(service, _open), methods=["GET"]),
        Route(one, Endpoint(service, _get), methods=["GET"]),
        Route(f"{one}/close", Endpoint(service, _close, writes=True), methods=["PUT"]),
    ]


def _list(call: Call) -> Outcome:
    return call.desk.positions()


def _open(call: Call) -> Outcome:
    return call.desk.open_positions()


def _get(call: Call) -> Outcome:
    return call.desk.position(call.path["instrument"])


def _close(call: Call) -> Answer:
    instrument = call.path["instrument"]
    body = {} if call.body is None else call.body
    outcome = call.desk.close_position(instrument, body, call.now_ns, call.request_id)
    return Answer(outcome, {"Location": f"{call.account_url}/positions/{instrument}"} if outcome.status == 200 else {})

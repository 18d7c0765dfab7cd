"""The control surface: an application of its own, on its own port, that moves the clock, the market and the faults."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response

from fx_pipeline.broker.paper.clock import ReplayClock, SteppedClock
from fx_pipeline.broker.paper.commit import GroupCommit
from fx_pipeline.broker.paper.desk.times import SECOND_NS, time_of, time_text
from fx_pipeline.broker.paper.endpoint import json_body, reply_to_failure
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import FaultError, Faults
from fx_pipeline.broker.paper.server import bare_app
from fx_pipeline.broker.paper.service import UNAUTHORIZED
from fx_pipeline.market.errors import ConfigurationError, DataError

# A long step is taken in pieces, so that streams send what it brings before more comes.
_PIECE_NS = 3600 * SECOND_NS
_LONGEST_STEP_S = 40 * 366 * 86_400
_PATHS = {
    "GET /faults": "the switches: value, default, type, bounds and meaning of each",
    "POST /faults": '{"name": value, ...} sets switches',
    "DELETE /faults": "switches everything off",
    "GET /clock": "the market's time and speed",
    "POST /clock": '{"step_s": seconds} or {"until": time} moves a stopped clock; {"speed": x} sets its speed, 0 stops',
    "POST /price": '{"instrument": name, "pips": number} moves all further prices',
    "POST /halt": '{"instrument": name, "halted": true or false} halts trading or resumes it',
    "POST /deposit": '{"amount": number} adds to the balance',
}
Action = Callable[[Any], Awaitable[dict[str, Any]]]


class _BadRequest(ValueError):
    pass


class _Control:
    def __init__(self, exchange: Exchange, faults: Faults, token: str, commit: GroupCommit) -> None:
        self.exchange = exchange
        self.faults = faults
        self.commit = commit
        self._expected = f"Bearer {token}".encode()
        self._stepping = asyncio.Lock()

    def authorized(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return secrets.compare_digest(given, self._expected)

    async def paths(self, _body: Any) -> dict[str, Any]:
        return _PATHS

    async def show_faults(self, _body: Any) -> dict[str, Any]:
        return self.faults.describe()

    async def set_faults(self, body: Any) -> dict[str, Any]:
        self.faults.set(_object(body))
        return self.faults.describe()

    async def reset_faults(self, _body: Any) -> dict[str, Any]:
        self.faults.reset()
        return self.faults.describe()

    async def show_clock(self, _body: Any) -> dict[str, Any]:
        clock = self.exchange.clock
        speed = clock.speed if isinstance(clock, ReplayClock) else 0.0 if isinstance(clock, SteppedClock) else 1.0
        return {"time": time_text(self.exchange.advance()), "speed": speed}

    async def move_clock(self, body: Any) -> dict[str, Any]:
        wishes = _object(body)
        if len(wishes) != 1 or not wishes.keys() <= {"step_s", "until", "speed"}:
            raise _BadRequest('give one of "step_s", "until" and "speed".')
        async with self._stepping:
            if "speed" in wishes:
                self.exchange.set_speed(float(_number(wishes, "speed")))
            else:
                await self._step(self._target_ns(wishes))
        return await self.show_clock(None)

    async def jump_price(self, body: Any) -> dict[str, Any]:
        name = _text(_object(body), "instrument")
        self.exchange.jump_price(name, _number(body, "pips"))
        quote = self.exchange.quote(name)
        return {"instrument": name, "bid": str(quote.bid), "ask": str(quote.ask)}

    async def halt(self, body: Any) -> dict[str, Any]:
        name, halted = _text(_object(body), "instrument"), body.get("halted")
        if not isinstance(halted, bool):
            raise _BadRequest('"halted" is true or false.')
        self.exchange.halt(name, halted)
        return {"instrument": name, "tradeable": self.exchange.quote(name).tradeable}

    async def deposit(self, body: Any) -> dict[str, Any]:
        amount = _number(_object(body), "amount")
        desk = self.exchange.desk
        # The counter of the broker's own requests starts at 1.
        request_id = f"{int(desk.last_transaction_id) + 1}{0:010d}"
        return {"transactions": desk.deposit(amount, self.exchange.advance(), request_id)}

    def _target_ns(self, wishes: dict[str, Any]) -> int:
        if "until" in wishes:
            until_ns = time_of(wishes["until"])
            if until_ns is None:
                raise _BadRequest('"until" is an RFC 3339 or UNIX time, as text.')
            return until_ns
        step_s = _number(wishes, "step_s")
        if not 0 <= step_s <= _LONGEST_STEP_S:
            raise _BadRequest(f'"step_s" lies between 0 and {_LONGEST_STEP_S}.')
        return self.exchange.clock.now_ns() + int(step_s * SECOND_NS)

    async def _step(self, to_ns: int) -> None:
        exchange = self.exchange
        # All of it is refused, or none.
        exchange.check_step(to_ns)
        while exchange.next_due_ns() is not None and to_ns - exchange.clock.now_ns() > _PIECE_NS:
            exchange.step(exchange.clock.now_ns() + _PIECE_NS)
            await asyncio.sleep(0)
        exchange.step(to_ns)


def create_control_app(exchange: Exchange, faults: Faults, token: str, commit: GroupCommit) -> FastAPI:
    """Return the control surface of a paper broker. It must run on the broker's event loop.

    Parameters
    ----------
    exchange : Exchange
        The broker's.
    faults : Faults
        The switches that the broker's application was made with.
    token : str
        Bearer token that every request must carry; switches do not touch it.
    commit : GroupCommit
        The broker's (`app.state.commit` of `create_app`): of two on one journal, one would not see that the other's
        fsync is still under way.
    """
    control = _Control(exchange, faults, token, commit)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield

    app = bare_app(lifespan)

    def add(path: str, method: str, action: Action) -> None:
        async def endpoint(request: Request) -> Response:
            if not control.authorized(request):
                return _reply(401, {"errorMessage": UNAUTHORIZED})
            try:
                body = await action(await json_body(request.receive))
                await control.commit.settle()
            except (_BadRequest, FaultError, ConfigurationError, DataError) as error:
                return _reply(400, {"errorMessage": str(error)})
            except Exception as error:
                failed = reply_to_failure(error)
                return Response(failed.body, failed.status, media_type=failed.media_type)
            return _reply(200, body)

        app.router.add_route(path, endpoint, methods=[method])

    add("/", "GET", control.paths)
    add("/faults", "GET", control.show_faults)
    add("/faults", "POST", control.set_faults)
    add("/faults", "DELETE", control.reset_faults)
    add("/clock", "GET", control.show_clock)
    add("/clock", "POST", control.move_clock)
    add("/price", "POST", control.jump_price)
    add("/halt", "POST", control.halt)
    add("/deposit", "POST", control.deposit)
    return app


def _reply(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise _BadRequest("the body is to be a JSON object.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise _BadRequest(f'"{name}" is to be text.')
    return value


def _number(body: dict[str, Any], name: str) -> Decimal:
    value = body.get(name)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(str(value))
            if number.is_finite():
                return number
    raise _BadRequest(f'"{name}" is to be a number.')

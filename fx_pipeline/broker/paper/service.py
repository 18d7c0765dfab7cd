"""What the endpoints of the paper broker share: who may ask, which faults strike, how a request is read."""

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from fx_pipeline.broker.paper.commit import GroupCommit
from fx_pipeline.broker.paper.desk import Desk, Outcome
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.faults import Faults
from fx_pipeline.broker.paper.reply import Refusal, invalid
from fx_pipeline.market.errors import ConfigurationError

UNAUTHORIZED = "Insufficient authorization to perform request."
REQUESTS_PER_S, MAXIMUM_STREAMS = 120, 20
_TOO_MANY = "Rate limit violation: too many requests."
_READ_THREADS = 2
_ACCOUNT_ID = re.compile(r"\d+-\d+-\d+-\d+")


@dataclass(slots=True)
class Call:
    """One request, checked so far as every endpoint needs it.

    Attributes
    ----------
    exchange : Exchange
        Brought up to `now_ns`.
    now_ns : int
        The market's time, UTC nanoseconds.
    request_id : str
        For the reply's header and for transactions.
    path, query : dict of str to str
        Decoded path and query parameters.
    body : Any
        Parsed JSON; None where there was none.
    unix : bool
        Whether UNIX times are asked for.
    unmixed : bool
        Whether a page of candles must not mix quoted and modelled prices: this project's own client asks for that.
    base_url : str
        Scheme and host as the client named them.
    hidden_after : int or None
        Orders and trades with a greater id are not to be seen yet.
    """

    exchange: Exchange
    now_ns: int
    request_id: str
    path: dict[str, str]
    query: dict[str, str]
    body: Any
    unix: bool
    unmixed: bool
    base_url: str
    hidden_after: int | None

    @property
    def desk(self) -> Desk:
        """The account's desk."""
        return self.exchange.desk

    @property
    def account_url(self) -> str:
        """Absolute URL of the account."""
        return f"{self.base_url}/v3/accounts/{self.desk.account_id}"

    def required(self, key: str) -> Any:
        """Return a member of the JSON body that must be there.

        Raises
        ------
        Refusal
            If there is no body, or it is not an object with that member.
        """
        if self.body is None:
            raise Refusal(400, "Missing JSON body")
        if not isinstance(self.body, dict) or key not in self.body:
            raise invalid(key)
        return self.body[key]


def check_token(token: str) -> None:
    """Check that clients can send a token.

    Raises
    ------
    ConfigurationError
        If it is empty, or has blanks at its ends or characters that no header can carry.
    """
    if not token or not token.isascii() or not token.isprintable() or token != token.strip():
        raise ConfigurationError(
            "the paper broker needs a token that clients can send: one printable ASCII character or more, without "
            "blanks at the ends."
        )


class Answer(NamedTuple):
    """What an endpoint says: the desk's outcome, and headers of its own such as Location."""

    outcome: Outcome
    headers: dict[str, str]


class Service:
    """The exchange behind the endpoints, with what they share.

    Parameters
    ----------
    exchange : Exchange
        Market, desk and journal.
    token : str
        Bearer token that every request must carry.
    faults : Faults
        The switches.
    heartbeat_s : float
        Seconds between a stream's heartbeats.
    monotonic : callable
        Clock of rate limits and lags, seconds.

    Raises
    ------
    ConfigurationError
        As `check_token`.
    """

    def __init__(
        self,
        exchange: Exchange,
        token: str,
        faults: Faults,
        heartbeat_s: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_token(token)
        self.exchange = exchange
        self.faults = faults
        self.heartbeat_s = heartbeat_s
        self.monotonic = monotonic
        self.commit = GroupCommit(exchange)
        #: For work that takes long and touches nothing that changes, so that ticks and orders do not wait for it.
        self.read_pool = ThreadPoolExecutor(_READ_THREADS, "reads")
        self.streams = 0
        self._expected = f"Bearer {token}".encode()
        self._requests = 0
        self._allowance, self._refilled = float(REQUESTS_PER_S), monotonic()
        self._writes: deque[tuple[float, int]] = deque()

    def next_request_id(self) -> str:
        """Return an id that no other request of the account has, also after a restart."""
        self._requests += 1
        # A request that changes anything moves the transaction id on, so the counter may start anew with the process.
        return f"{int(self.exchange.desk.last_transaction_id) + 1}{self._requests:010d}"

    def server_time_ns(self) -> int:
        """Return what the server's clock shows: the market's time and the skew that was asked for."""
        return self.exchange.clock.now_ns() + round(self.faults.clock_skew_s * 1e9)

    def authorize(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a request without the right token.

        Raises
        ------
        Refusal
            Status 401.
        """
        given = headers.get(b"authorization", b"")
        if not secrets.compare_digest(given, self._expected) or self.faults.refuse_token:
            raise Refusal(401, UNAUTHORIZED)

    async def admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Check the token, the limits and the faults that strike before any work.

        Raises
        ------
        Refusal
            If the request ends here.
        """
        self.authorize(headers)
        faults, path = self.faults, scope["path"]
        if faults.rate_limit:
            self._spend()
        if faults.take("status_429", path):
            raise Refusal(429, _TOO_MANY)
        if faults.take("status_503", path):
            raise Refusal(503, "503 Service Temporarily Unavailable", html=True)
        if faults.take("status_504", path):
            raise Refusal(504, "Timeout waiting for response.")
        if faults.slow_reply_s:
            await asyncio.sleep(faults.slow_reply_s)

    def call(self, scope: Scope, headers: dict[bytes, bytes], request_id: str, body: Any = None) -> Call:
        """Bring the exchange up to now and return the request; its account must be this one.

        Raises
        ------
        Refusal
            If the account is unknown.
        """
        path = {name: unquote(value) for name, value in scope["path_params"].items()}
        account = path.get("account")
        if account is not None and account != self.exchange.desk.account_id:
            if not _ACCOUNT_ID.fullmatch(account):
                raise invalid("accountID")
            raise Refusal(404, "The Account specified does not exist", "NO_SUCH_ACCOUNT")
        host = headers.get(b"host", b"localhost").decode("latin-1")
        return Call(
            exchange=self.exchange,
            now_ns=self.exchange.advance(),
            request_id=request_id,
            path=path,
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            body=body,
            unix=headers.get(b"accept-datetime-format", b"").upper() == b"UNIX",
            unmixed=headers.get(b"fx-unmixed", b"").lower() == b"true",
            base_url=f"{scope['scheme']}://{host}",
            hidden_after=self._hidden_after(),
        )

    def wrote(self, last_id_before: int) -> None:
        """Note that a request wrote: what has a greater id lags behind in reads while `read_lag_s` asks for it."""
        if self.faults.read_lag_s and int(self.exchange.desk.last_transaction_id) > last_id_before:
            self._writes.append((self.monotonic(), last_id_before))

    def close(self) -> None:
        """End the threads."""
        self.commit.close()
        self.read_pool.shutdown(cancel_futures=True)

    def _hidden_after(self) -> int | None:
        while self._writes and self.monotonic() - self._writes[0][0] >= self.faults.read_lag_s:
            self._writes.popleft()
        return self._writes[0][1] if self._writes else None

    def _spend(self) -> None:
        now = self.monotonic()
        self._allowance = min(self._allowance + (now - self._refilled) * REQUESTS_PER_S, REQUESTS_PER_S)
        self._refilled = now
        if self._allowance < 1:
            raise Refusal(429, _TOO_MANY)
        self._allowance -= 1

"""The adapter over oandapyV20: the one way in which this project talks to OANDA, or to the paper server.

Requests are oandapyV20's, sent over its session. Replies are read here: the library parses every body into Python
objects, which for candles takes longer than the download.
"""

import contextlib
import email.utils
import ipaddress
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import requests
import urllib3
from oandapyV20 import API
from oandapyV20.endpoints.instruments import InstrumentsCandles
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS
from requests.auth import AuthBase

from fx_pipeline.broker.decode import read_outline, read_times
from fx_pipeline.broker.limits import PacedAdapter, Window
from fx_pipeline.market.addresses import server_address
from fx_pipeline.market.calendar import NEW_YORK
from fx_pipeline.market.errors import BrokerError, ConfigurationError, DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.timeframe import M1, Timeframe

Environment = Literal["paper", "practice", "live"]
MAXIMUM_COUNT = 5000
_SMALLEST_COUNT = 50
_TIMEOUT_S = (3.05, 10.0)
#: The timeout begins anew with every byte: this is for the whole body.
_BODY_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20
_LONGEST_PAUSE_S, _LONGEST_RETRY_AFTER_S = 8.0, 30.0
#: OANDA's advice for one client: 100 requests and 2 new connections a second.
_REQUESTS_A_SECOND, _CONNECTIONS_A_SECOND = 100, 2
_KEPT_HEADERS = ("RequestID", "Date", "FX-Source", "FX-Quotes", "FX-Revision", "FX-Time")
_WORTH_REPEATING = (429, 500, 502, 503, 504)
_TOO_MANY = "Maximum value for 'count' exceeded"
_IN_FUTURE = "Time is in the future"
#: OANDA's defaults, said all the same: days begin at 17:00 New York, and the house's bars rely on it.
_ALIGNMENT = {"dailyAlignment": 17, "alignmentTimezone": NEW_YORK}


@dataclass(frozen=True)
class CandlesPage:
    """One reply of the candles endpoint.

    Attributes
    ----------
    body : bytes
        The reply as received, decompressed; empty when nothing was asked or the broker said that it is too early.
    headers : mapping of str to str
        Those of RequestID, Date, FX-Source, FX-Quotes, FX-Revision and FX-Time that it had.
    time_ns : (T,) int64
        Opens of the reply's candles, UTC nanoseconds, in order.
    complete : (T,) bool
        Which of them are final.
    start_ns, count : int
        What was asked for.
    source : str
        "practice", "live", or what the paper server says: "imported" or "synthetic".
    quotes : str
        "quoted", or "modelled" where bid and ask come from the cost model; a few bars may differ (`quotes_word`).
    broker_ns : int or None
        The broker's time as far as the reply tells it; when the start lay in its future, that start.
    """

    body: bytes
    headers: Mapping[str, str]
    time_ns: npt.NDArray[np.int64]
    complete: npt.NDArray[np.bool_]
    start_ns: int
    count: int
    source: str
    quotes: str
    broker_ns: int | None = None


class OandaClient:
    """OANDA v20 through oandapyV20: timeouts, limits, retries of GET, clear errors, one connection a thread.

    Parameters
    ----------
    environment : str
        "practice" or "live", or "paper" with `url`.
    token : str
        Bearer token. It is never logged and does not show in `repr`.
    account : str
        Account id; candles do not need one.
    url : str, optional
        Base URL of the paper server.
    now_ns : callable
        Clock, UTC nanoseconds: no future time is ever asked for.
    retries : int
        How often a GET is repeated after a failure to connect or read, a reply that is not whole, 429 or 5xx.
    backoff_s : float
        First pause between retries; it doubles up to 8 s, with jitter. A Retry-After of up to 30 s is heeded.
    pause : callable
        Sleeps for so many seconds.

    Raises
    ------
    ConfigurationError
        If the environment is unknown, or its token or URL is missing.
    """

    def __init__(
        self,
        environment: Environment,
        token: str,
        account: str = "",
        url: str | None = None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        retries: int = 4,
        backoff_s: float = 0.5,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if environment not in ("paper", "practice", "live"):
            raise ConfigurationError(f"FX_OANDA_ENVIRONMENT is {environment!r}: use paper, practice or live.")
        if environment == "paper":
            if not url:
                raise ConfigurationError("the paper environment needs the URL of a paper server.")
            try:
                url = server_address(url)
            except ConfigurationError as error:
                raise ConfigurationError(f"FX_PAPER_URL: {error}") from error
            name = f"paper:{url}"
            # A private name leaves the library's own entries intact, and lets several servers coexist.
            TRADING_ENVIRONMENTS[name] = {"api": url.rstrip("/"), "stream": url.rstrip("/")}
        else:
            name = environment
        if not token.strip():
            origin = "take that of the paper server" if environment == "paper" else "make one on OANDA's site"
            raise ConfigurationError(
                f"{_token_setting(environment)} is not set, and {environment} needs a token for "
                f"{TRADING_ENVIRONMENTS[name]['api']}: {origin} and set it in the environment or in .env. The embedded "
                "paper server needs none."
            )
        if not token.isascii() or not token.isprintable() or token != token.strip():
            raise ConfigurationError(
                f"{_token_setting(environment)} has blanks or characters that no token has: copy it again."
            )
        self.environment = environment
        self.account = account
        self.url = TRADING_ENVIRONMENTS[name]["api"]
        self._name = name
        self._token = token
        self._now_ns = now_ns
        self._retries = retries
        self._backoff_s = backoff_s
        self._pause = pause
        self._jitter = random.Random()
        # A server on this machine is the user's own, and owes nobody a share of its time.
        limited = not _is_loopback(self.url)
        self._requests = Window(_REQUESTS_A_SECOND, 1.0, pause) if limited else None
        self._connections = Window(_CONNECTIONS_A_SECOND, 1.0, pause) if limited else None
        self._page_limit = MAXIMUM_COUNT
        self._local = threading.local()
        self._opened: list[API] = []

    def __repr__(self) -> str:
        return f"OandaClient(environment={self.environment!r}, url={self.url!r})"

    def __reduce__(self) -> Any:
        raise TypeError("OandaClient is not pickled: it holds a token. Make one where it is needed.")

    def close(self) -> None:
        """Close the connections of all threads."""
        for api in self._opened:
            api.close()

    def candles_page(
        self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT, timeframe: Timeframe = M1
    ) -> CandlesPage:
        """Return the first `count` candles of a timeframe from `start_ns` on, bid, mid and ask.

        When the server refuses the page as too large, half of it is asked for, now and later. A start that is not in
        the past gives an empty page, and nothing is asked. The candles are those of the instrument, in order, and none
        is said twice: a reply in which they are not is asked for again, like one that is cut.

        Parameters
        ----------
        start_ns : int
            UTC nanoseconds, the open of a bar.
        count : int
            At most 5,000.
        timeframe : Timeframe
            Longer ones than an hour are asked for as aligned to 17:00 New York.

        Raises
        ------
        DataError
            If the instrument is unknown.
        BrokerError
            If the broker refuses, cannot be reached, or its answer cannot be used.
        """
        find_instrument(instrument)
        count = min(count, self._page_limit)
        if start_ns >= self._now_ns():
            return self._nothing(start_ns, count, None)
        moment = f"{np.datetime_as_string(np.datetime64(start_ns, 'ns'), unit='ns')}Z"
        what = f"candles of {instrument}"

        def read(reply: _Reply) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
            time_ns, complete = read_outline(reply.body, instrument, timeframe.name)
            if len(time_ns) and (time_ns[0] < start_ns or np.any(np.diff(time_ns) <= 0)):
                raise DataError("its candles are out of order, or older than was asked")
            return time_ns, complete

        while True:
            asked = {"price": "MBA", "granularity": timeframe.name, "from": moment, "count": count}
            request = InstrumentsCandles(instrument, asked | (_ALIGNMENT if timeframe.aligned_to_day else {}))
            try:
                reply, (time_ns, complete) = self._get(request, what, read)
            except _Refused as refused:
                if _TOO_MANY in refused.message and count > _SMALLEST_COUNT:
                    count = self._page_limit = max(count // 2, _SMALLEST_COUNT)
                    continue
                if _IN_FUTURE in refused.message:
                    # This machine's clock is ahead of the broker's: there is nothing yet from that time on.
                    return self._nothing(start_ns, count, start_ns)
                raise refused.error from refused
            break
        headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        source = headers.get("FX-Source", "imported") if self.environment == "paper" else self.environment
        quotes = headers.get("FX-Quotes", "quoted")
        return CandlesPage(
            reply.body, headers, time_ns, complete, start_ns, count, source, quotes, _broker_time(headers)
        )

    def _nothing(self, start_ns: int, count: int, broker_ns: int | None) -> CandlesPage:
        empty = np.empty(0, np.int64), np.empty(0, np.bool_)
        return CandlesPage(b"", {}, *empty, start_ns, count, self.environment, "quoted", broker_ns)

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc

    def _api(self) -> API:
        api = getattr(self._local, "api", None)
        if api is None:
            api = API(self._token, environment=self._name)
            if self._connections is not None:
                for scheme in ("https://", "http://"):
                    api.client.mount(scheme, PacedAdapter(self._connections))
            # Without an explicit authentication, an entry of the user's .netrc would replace the token.
            api.client.auth = _BearerToken(self._token)
            if self.environment == "paper":
                # A page is kept with one word on where its quotes come from; see `quotes_word`.
                api.client.headers["FX-Unmixed"] = "true"
            if _is_loopback(self.url):
                # Proxies of the user's environment have no business there, and compression costs more than it saves.
                api.client.trust_env = False
                api.client.headers["Accept-Encoding"] = "identity"
            self._local.api = api
            self._opened.append(api)
        return api

    def _get(self, request: InstrumentsCandles, what: str, read: Callable[["_Reply"], Any]) -> tuple["_Reply", Any]:
        # Repeats what may get better by itself. What is asked changes nothing at the broker, so that it is safe.
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                reply = self._send(request)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                if last:
                    raise self._unreachable(error, what) from error
                self._wait(attempt, None)
                continue
            if reply.status in _WORTH_REPEATING and not last:
                self._wait(attempt, reply.headers.get("Retry-After"))
                continue
            if reply.status != 200:
                said = _message(reply.body.decode(errors="replace"))
                raise _Refused(said, self._explain(reply.status, said, what))
            try:
                return reply, read(reply)
            except DataError as error:
                if last:
                    raise BrokerError(
                        f"{self._host} answered {what} with something that cannot be used, {self._retries + 1} times: "
                        f"{error}. Run again later: what was downloaded is kept."
                    ) from error
                self._wait(attempt, None)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, request: InstrumentsCandles) -> "_Reply":
        if self._requests is not None:
            self._requests.enter()
        session = self._api().client
        with session.get(f"{self.url}/{request}", params=request.params, timeout=_TIMEOUT_S, stream=True) as reply:
            return _Reply(reply.status_code, reply.headers, _body(reply.raw, time.monotonic() + _BODY_TIMEOUT_S))

    def _wait(self, attempt: int, retry_after: str | None) -> None:
        pause = min(self._backoff_s * 2.0**attempt, _LONGEST_PAUSE_S) * self._jitter.uniform(0.5, 1.5)
        if retry_after is not None:
            pause = max(pause, min(_seconds(retry_after), _LONGEST_RETRY_AFTER_S))
        self._pause(pause)

    def _unreachable(self, error: Exception, what: str) -> BrokerError:
        return BrokerError(
            f"{self._host} could not be reached for {what} ({type(error).__name__}). Check the network and "
            f"whether the host is right for FX_OANDA_ENVIRONMENT={self.environment}, then run again: what was "
            "downloaded is kept."
        )

    def _explain(self, status: int, said: str, what: str) -> BrokerError:
        if status in (401, 403):
            return BrokerError(
                f"{self._host} refused the token for {what} ({status}: {said}). "
                f"{_token_setting(self.environment)} must be a token of the {self.environment} environment; practice "
                "and live have different ones."
            )
        if status == 429:
            return BrokerError(f"{self._host} limits the rate of requests (429): wait a minute and run again.")
        if status >= 500:
            return BrokerError(
                f"{self._host} answered {what} with {status} after {self._retries} retries ({said}). OANDA is "
                "often under maintenance at weekends: run again later, what was downloaded is kept."
            )
        if "'instrument'" in said:
            return BrokerError(f"{self._host} does not know the instrument of {what}: {said}.")
        return BrokerError(f"{self._host} refused {what} ({status}): {said}")


class _Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _BearerToken(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Refused(Exception):
    def __init__(self, message: str, error: BrokerError) -> None:
        super().__init__(message)
        self.message = message
        self.error = error


@contextlib.contextmanager
def connection(
    environment: Environment = "paper",
    token: str = "",
    account: str = "",
    paper_url: str | None = None,
    paper_store: Path = Path("data/paper"),
) -> Iterator[OandaClient]:
    """Connect to an environment, and disconnect on leaving.

    Parameters
    ----------
    environment : str
        "paper", "practice" or "live".
    token, account : str
        Of OANDA, or of the paper server at `paper_url`; the embedded one needs none.
    paper_url : str, optional
        A running paper server. Without it, "paper" starts the embedded one on `paper_store`.
    paper_store : Path
        Candle store of the embedded paper server.

    Yields
    ------
    OandaClient
    """
    with contextlib.ExitStack() as stack:
        url = paper_url if environment == "paper" else None
        if environment == "paper" and url is None:
            from fx_pipeline.broker.paper.embedded import embedded_server

            url, token = stack.enter_context(embedded_server(paper_store))
        client = OandaClient(environment, token, account, url)
        stack.callback(client.close)
        yield client


def _body(raw: urllib3.HTTPResponse, deadline: float) -> bytes:
    # Whatever has arrived is taken at once, so that the time is looked at however slowly it comes.
    parts = []
    while part := raw.read1(_CHUNK_BYTES, decode_content=True):
        parts.append(part)
        if time.monotonic() > deadline:
            raise requests.ReadTimeout(f"the body was not there after {_BODY_TIMEOUT_S:g} s")
    return b"".join(parts)


def _token_setting(environment: str) -> str:
    return "FX_PAPER_TOKEN" if environment == "paper" else "FX_OANDA_TOKEN"


def _message(body: str) -> str:
    # Errors come as JSON from the service, and as HTML from what stands before it.
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict) and "errorMessage" in parsed:
            return str(parsed["errorMessage"])[:300]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())[:200]


def _broker_time(headers: Mapping[str, str]) -> int | None:
    # A replaying paper server has a time of its own; others have the header that every server sends.
    with contextlib.suppress(DataError):
        if "FX-Time" in headers:
            return int(read_times([headers["FX-Time"]])[0])
    with contextlib.suppress(ValueError):
        if "Date" in headers:
            return int(email.utils.parsedate_to_datetime(headers["Date"]).timestamp()) * 1_000_000_000
    return None


def _seconds(retry_after: str) -> float:
    # A number, or a date, which is not worth a clock: the usual pause is taken.
    with contextlib.suppress(ValueError):
        return float(retry_after)
    return 0.0


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"

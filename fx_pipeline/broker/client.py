"""The adapter over oandapyV20: the one way in which this project talks to OANDA, or to the paper server."""

import contextlib
import ipaddress
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import requests
from oandapyV20 import API
from oandapyV20.endpoints.instruments import InstrumentsCandles
from oandapyV20.exceptions import V20Error
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import Retry

from fx_pipeline.market.errors import BrokerError, ConfigurationError
from fx_pipeline.market.instrument import instrument as find_instrument

Environment = Literal["paper", "practice", "live"]
MAXIMUM_COUNT = 5000
_SMALLEST_COUNT = 50
_TIMEOUT_S = (3.05, 10.0)
_KEPT_HEADERS = ("RequestID", "Date", "FX-Source", "FX-Quotes", "FX-Revision")
_TOO_MANY = "Maximum value for 'count' exceeded"
_IN_FUTURE = "Time is in the future"


@dataclass(frozen=True)
class CandlesPage:
    """One reply of the candles endpoint.

    Attributes
    ----------
    body : bytes
        The reply as received, decompressed.
    headers : mapping of str to str
        Those of RequestID, Date, FX-Source, FX-Quotes and FX-Revision that it had.
    candles : list of dict
        The reply's candles.
    start_ns, count : int
        What was asked for.
    source : str
        "practice", "live", or what the paper server says: "imported" or "synthetic".
    quotes : str
        "quoted", or "modelled" where bid and ask come from the cost model.
    """

    body: bytes
    headers: Mapping[str, str]
    candles: list[dict[str, Any]]
    start_ns: int
    count: int
    source: str
    quotes: str


class OandaClient:
    """OANDA v20 through oandapyV20: timeouts, retries of GET, clear errors, one connection a thread.

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
        How often a GET is repeated after a failure to connect or read, 429 or 5xx.
    backoff_s : float
        First pause between retries; it doubles up to 8 s, with jitter.

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
    ) -> None:
        if environment not in ("paper", "practice", "live"):
            raise ConfigurationError(f"FX_OANDA_ENVIRONMENT is {environment!r}: use paper, practice or live.")
        if environment == "paper":
            if not url:
                raise ConfigurationError("the paper environment needs the URL of a paper server.")
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

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        """Return the first `count` M1 candles from `start_ns` on, bid, mid and ask.

        When the server refuses the page as too large, half of it is asked for, now and later. A start that is not in
        the past gives an empty page, and nothing is asked.

        Parameters
        ----------
        start_ns : int
            UTC nanoseconds.
        count : int
            At most 5,000.

        Raises
        ------
        DataError
            If the instrument is unknown.
        BrokerError
            If the broker refuses, cannot be reached, or its answer cannot be read.
        """
        find_instrument(instrument)
        count = min(count, self._page_limit)
        if start_ns >= self._now_ns():
            return CandlesPage(b"", {}, [], start_ns, count, self.environment, "quoted")
        moment = f"{np.datetime_as_string(np.datetime64(start_ns, 'ns'), unit='ns')}Z"
        while True:
            request = InstrumentsCandles(
                instrument, {"price": "MBA", "granularity": "M1", "from": moment, "count": count}
            )
            try:
                reply = self._get(request, f"candles of {instrument}")
            except _Refused as refused:
                if _TOO_MANY in refused.message and count > _SMALLEST_COUNT:
                    count = self._page_limit = max(count // 2, _SMALLEST_COUNT)
                    continue
                if _IN_FUTURE in refused.message:
                    # This machine's clock is ahead of the broker's: there is nothing yet from that time on.
                    return CandlesPage(b"", {}, [], start_ns, count, self.environment, "quoted")
                raise refused.error from refused
            break
        headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        candles = request.response.get("candles") if isinstance(request.response, dict) else None
        if not isinstance(candles, list):
            raise BrokerError(f"{self._host} answered something other than candles of {instrument}: try again later.")
        source = headers.get("FX-Source", "imported") if self.environment == "paper" else self.environment
        quotes = headers.get("FX-Quotes", "quoted")
        return CandlesPage(reply.content, headers, candles, start_ns, count, source, quotes)

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc

    def _api(self) -> API:
        api = getattr(self._local, "api", None)
        if api is None:
            api = API(self._token, environment=self._name, request_params={"timeout": _TIMEOUT_S})
            retry = Retry(
                total=self._retries,
                connect=min(self._retries, 2),
                backoff_factor=self._backoff_s,
                backoff_jitter=self._backoff_s,
                backoff_max=8.0,
                retry_after_max=30,
                status_forcelist={429, 500, 502, 503, 504},
                # The default holds PUT, which closes trades.
                allowed_methods={"GET"},
                raise_on_status=False,
            )
            for scheme in ("https://", "http://"):
                api.client.mount(scheme, HTTPAdapter(max_retries=retry))
            # Without an explicit authentication, an entry of the user's .netrc would replace the token.
            api.client.auth = _BearerToken(self._token)
            # Proxies of the user's environment have no business on loopback.
            api.client.trust_env = not _is_loopback(self.url)
            # The library keeps the parsed body only; the raw one and its headers are wanted too.
            api.client.hooks["response"].append(self._keep)
            self._local.api = api
            self._opened.append(api)
        return api

    def _keep(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._local.reply = response

    def _get(self, request: InstrumentsCandles, what: str) -> requests.Response:
        try:
            self._api().request(request)
        except V20Error as error:
            raise _Refused(_message(str(error.msg)), self._explain(error, what)) from error
        # The library decodes with the standard json module; requests' own decoding error derives from this one too.
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BrokerError(f"{self._host} answered {what} with something that is not JSON: try again.") from error
        except requests.RequestException as error:
            raise BrokerError(
                f"{self._host} could not be reached for {what} ({type(error).__name__}). Check the network and "
                f"whether the host is right for FX_OANDA_ENVIRONMENT={self.environment}, then run again: what was "
                "downloaded is kept."
            ) from error
        reply: requests.Response = self._local.reply
        return reply

    def _explain(self, error: V20Error, what: str) -> BrokerError:
        said = _message(str(error.msg))
        if error.code in (401, 403):
            return BrokerError(
                f"{self._host} refused the token for {what} ({error.code}: {said}). "
                f"{_token_setting(self.environment)} must be a token of the {self.environment} environment; practice "
                "and live have different ones."
            )
        if error.code == 429:
            return BrokerError(f"{self._host} limits the rate of requests (429): wait a minute and run again.")
        if error.code >= 500:
            return BrokerError(
                f"{self._host} answered {what} with {error.code} after {self._retries} retries ({said}). OANDA is "
                "often under maintenance at weekends: run again later, what was downloaded is kept."
            )
        if "'instrument'" in said:
            return BrokerError(f"{self._host} does not know the instrument of {what}: {said}.")
        return BrokerError(f"{self._host} refused {what} ({error.code}): {said}")


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


def _token_setting(environment: str) -> str:
    return "FX_PAPER_TOKEN" if environment == "paper" else "FX_OANDA_TOKEN"


def _message(body: str) -> str:
    # Errors come as JSON from the service, and as HTML from what stands before it.
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict) and "errorMessage" in parsed:
            return str(parsed["errorMessage"])[:300]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())[:200]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"

"""The unmodified oandapyV20 against a broker, each of whose replies is judged by the strict schema on its way."""

import contextlib
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
from oandapyV20 import API
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades, transactions
from oandapyV20.exceptions import V20Error
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema

TIMEOUT_S = 20


@contextlib.contextmanager
def oanda_api(url: str, token: str, timeout_s: tuple[float, float] = (3.05, TIMEOUT_S)) -> Iterator[API]:
    """The client as OANDA's users have it, pointed at `url`."""
    # A private name leaves the library's own entries intact.
    name = f"test:{url}"
    TRADING_ENVIRONMENTS[name] = {"api": url, "stream": url}
    with API(token, environment=name, request_params={"timeout": timeout_s}) as api:
        api.client.trust_env = False
        yield api


class Trader:
    """Calls the API through oandapyV20, and keeps what the strict schema said about each reply.

    Attributes
    ----------
    problems : list of str
        What was wrong with any reply.
    seen : set of (str, str, int)
        Method, path template and status of every judged reply.
    """

    def __init__(self, api: API, account: str, schema: StrictSchema) -> None:
        self.api = api
        self.account = account
        self.problems: list[str] = []
        self.seen: set[tuple[str, str, int]] = set()
        self._schema = schema
        api.client.hooks["response"].append(self._judge)

    def _judge(self, response: requests.Response, *_: Any, **__: Any) -> None:
        path = urlsplit(response.url).path
        if path.endswith("/stream"):
            return
        method = str(response.request.method)
        body = response.json()
        where = f"{method} {path} {response.status_code}"
        self.seen.add((method, self._schema.template(path), response.status_code))
        self.problems += [
            f"{where}: {text}" for text in self._schema.problems(method, path, response.status_code, body)
        ]
        request_id = response.headers.get("RequestID", "")
        if not request_id.isdigit():
            self.problems.append(f"{where}: RequestID is {request_id!r}")
        for name, transaction in body.items():
            if name.endswith("Transaction") and transaction.get("requestID") != request_id:
                self.problems.append(f"{where}: {name} has requestID {transaction.get('requestID')}, not {request_id}")

    def ask(self, endpoint: Any) -> Any:
        """Send a request and return the parsed reply."""
        return self.api.request(endpoint)

    def refused(self, endpoint: Any) -> tuple[int, dict[str, Any]]:
        """Send a request that must be refused, and return its status and body."""
        try:
            reply = self.api.request(endpoint)
        except V20Error as error:
            return int(error.code), json.loads(error.msg)
        raise AssertionError(f"{type(endpoint).__name__} was not refused: {reply}")

    def order(self, **order: Any) -> dict[str, Any]:
        """Create an order; the reply."""
        reply: dict[str, Any] = self.ask(orders.OrderCreate(self.account, {"order": order}))
        return reply

    def market(self, instrument: str, units: int, **more: Any) -> dict[str, Any]:
        """Create a market order; the reply."""
        return self.order(type="MARKET", instrument=instrument, units=str(units), **more)

    def price(self, instrument: str) -> dict[str, Any]:
        """The price as a snapshot gives it."""
        (price,) = self.ask(pricing.PricingInfo(self.account, {"instruments": instrument}))["prices"]
        found: dict[str, Any] = price
        return found

    def quote(self, instrument: str) -> tuple[Decimal, Decimal]:
        """Best bid and ask."""
        price = self.price(instrument)
        return Decimal(price["bids"][0]["price"]), Decimal(price["asks"][0]["price"])

    def trade(self, trade_id: str) -> dict[str, Any]:
        """Details of a trade."""
        found: dict[str, Any] = self.ask(trades.TradeDetails(self.account, trade_id))["trade"]
        return found

    def summary(self) -> dict[str, Any]:
        """The account's summary."""
        found: dict[str, Any] = self.ask(accounts.AccountSummary(self.account))["account"]
        return found

    def since(self, transaction_id: str) -> list[dict[str, Any]]:
        """All transactions after one."""
        reply = self.ask(transactions.TransactionsSinceID(self.account, {"id": transaction_id}))
        found: list[dict[str, Any]] = reply["transactions"]
        return found

    def history(self) -> list[dict[str, Any]]:
        """All transactions of the account, page by page as OANDA lists them."""
        last = self.summary()["lastTransactionID"]
        params = {"from": "1", "to": last}
        found: list[dict[str, Any]] = self.ask(transactions.TransactionIDRange(self.account, params))["transactions"]
        return found

    def look_at_everything(self, instrument: str) -> None:
        """Send every request that changes nothing."""
        account = self.account
        for endpoint in (
            accounts.AccountList(),
            accounts.AccountDetails(account),
            accounts.AccountSummary(account),
            accounts.AccountInstruments(account),
            accounts.AccountInstruments(account, {"instruments": instrument}),
            accounts.AccountChanges(account, {"sinceTransactionID": "1"}),
            instruments.InstrumentsCandles(instrument, {"granularity": "M1", "count": 5, "price": "MBA"}),
            instruments.InstrumentsCandles(instrument, {"granularity": "H1", "count": 3}),
            instruments.InstrumentsCandles(instrument, {"granularity": "D", "count": 2, "price": "B"}),
            pricing.PricingInfo(account, {"instruments": instrument}),
            pricing.PricingInfo(account, {"instruments": instrument, "includeHomeConversions": True}),
            orders.OrderList(account),
            orders.OrderList(account, {"state": "ALL", "count": 5}),
            orders.OrdersPending(account),
            trades.TradesList(account),
            trades.TradesList(account, {"state": "ALL", "instrument": instrument}),
            trades.OpenTrades(account),
            positions.PositionList(account),
            positions.OpenPositions(account),
            transactions.TransactionList(account),
            transactions.TransactionsSinceID(account, {"id": "1"}),
            transactions.TransactionIDRange(account, {"from": "1", "to": "2"}),
            transactions.TransactionDetails(account, "1"),
        ):
            self.ask(endpoint)


class Listener(threading.Thread):
    """Reads a stream through a client of its own until it ends.

    Attributes
    ----------
    lines : list of dict
        What came, in order.
    failure : Exception or None
        What ended it, unless it ended cleanly.
    """

    def __init__(self, url: str, token: str, endpoint: Any, read_timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(daemon=True)
        self.lines: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self._url, self._token, self._endpoint = url, token, endpoint
        self._timeout = (3.05, read_timeout_s)
        self.started_reading = threading.Event()

    def run(self) -> None:
        """Read."""
        with oanda_api(self._url, self._token, self._timeout) as api:
            try:
                for line in api.request(self._endpoint):
                    self.lines.append(line)
                    self.started_reading.set()
            except requests.RequestException as error:
                self.failure = error

    def prices(self, instrument: str) -> list[tuple[str, str, str]]:
        """Time, bid and ask of the prices of an instrument."""
        return [
            (line["time"], line["bids"][0]["price"], line["asks"][0]["price"])
            for line in list(self.lines)
            if line["type"] == "PRICE" and line["instrument"] == instrument
        ]

    def transactions(self) -> list[dict[str, Any]]:
        """Transactions without the heartbeats."""
        return [line for line in list(self.lines) if line["type"] != "HEARTBEAT"]

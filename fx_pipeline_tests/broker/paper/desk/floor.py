"""A desk with its quotes, clock and record, and what must always hold of it."""

import itertools
from decimal import Decimal
from typing import Any

import numpy as np

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.desk import Batch, Desk, Outcome
from fx_pipeline.broker.paper.quotes import Quote

#: Wednesday, 08:00 New York.
START_NS = int(np.datetime64("2024-01-10T13:00", "ns").astype(np.int64))
SECOND_NS = 1_000_000_000
INSTRUMENTS = ("EUR_USD", "GBP_USD", "GBP_JPY", "USD_JPY")
PRICES = {
    "EUR_USD": ("1.10000", "1.10010"),
    "GBP_USD": ("1.27000", "1.27020"),
    "GBP_JPY": ("185.000", "185.030"),
    "USD_JPY": ("145.000", "145.010"),
}


class Floor:
    """A desk that is open, with a quote of every instrument.

    Attributes
    ----------
    desk : Desk
    batches : list of Batch
        What was recorded.
    now_ns : int
    """

    def __init__(self, instruments: tuple[str, ...] = INSTRUMENTS, quoted: bool = True, **terms: Any) -> None:
        self.config = AccountConfig(**terms)
        self.instruments = instruments
        self.batches: list[Batch] = []
        self.now_ns = START_NS
        self.desk = Desk(self.config, instruments, self.batches.append)
        self.desk.open(START_NS)
        if quoted:
            for name in instruments:
                self.quote(name, *PRICES[name])

    def quote(self, name: str, bid: str, ask: str, tradeable: bool = True) -> list[dict[str, Any]]:
        """Show the desk a quote, one second later."""
        self.now_ns += SECOND_NS
        return self.desk.on_quote(Quote(name, self.now_ns, Decimal(bid), Decimal(ask), tradeable))

    def order(self, kind: str, **order: Any) -> Outcome:
        """Place an order of EUR_USD unless told otherwise."""
        linked = "tradeID" in order or "clientTradeID" in order
        body = {"type": kind, **({} if linked else {"instrument": "EUR_USD"}), **order}
        return self.desk.create_order(body, self.now_ns, str(self.desk.last_transaction_id))

    def market(self, units: str, **order: Any) -> Outcome:
        """Place a market order of EUR_USD unless told otherwise."""
        return self.order("MARKET", units=units, **order)

    def opened(self, units: str, **order: Any) -> str:
        """Open a trade and return its id."""
        outcome = self.market(units, **order)
        assert outcome.status == 201, outcome
        return str(outcome.body["orderFillTransaction"]["tradeOpened"]["tradeID"])

    def trade(self, number: str) -> dict[str, Any]:
        """A trade as the API shows it."""
        found: dict[str, Any] = self.desk.trade(number).body["trade"]
        return found

    def summary(self) -> dict[str, Any]:
        """The account's summary."""
        found: dict[str, Any] = self.desk.summary().body["account"]
        return found

    def restored(self) -> Desk:
        """A new desk from the record, in the same market."""
        desk = Desk(self.config, self.instruments)
        desk.restore(self.batches)
        desk.show(quote for name in self.instruments if (quote := self.desk.quote(name)) is not None)
        return desk


def kinds(transactions: list[dict[str, Any]]) -> list[str]:
    """Types of transactions, with the reasons of cancellations and fills."""
    shown = ("ORDER_CANCEL", "ORDER_FILL")
    return [f"{item['type']} {item['reason']}" if item["type"] in shown else item["type"] for item in transactions]


def check_invariants(floor: Floor) -> None:
    """Assert everything that must hold of a desk between two calls."""
    desk = floor.desk
    history = desk.transactions
    assert [item["id"] for item in history] == [str(number) for number in range(1, len(history) + 1)]
    assert all(before["time"] <= after["time"] for before, after in itertools.pairwise(history))
    account = desk.account().body["account"]
    balance = sum((Decimal(item.get(name, "0")) for item in history if "REJECT" not in item["type"]
                   for name in ("amount", "pl", "financing")), Decimal(0))  # fmt: skip
    assert Decimal(account["balance"]) == balance
    assert Decimal(account["NAV"]) == balance + Decimal(account["unrealizedPL"])
    trades, orders = account["trades"], account["orders"]
    assert Decimal(account["unrealizedPL"]) == sum(Decimal(trade["unrealizedPL"]) for trade in trades)
    assert Decimal(account["pl"]) == sum(Decimal(position["pl"]) for position in account["positions"])
    assert Decimal(account["financing"]) == sum(Decimal(position["financing"]) for position in account["positions"])
    assert account["openTradeCount"] == len(trades)
    assert account["pendingOrderCount"] == len(orders)
    open_ids = {trade["id"] for trade in trades}
    assert all(order["tradeID"] in open_ids for order in orders if "tradeID" in order)
    for position in account["positions"]:
        _check_position(position, trades, floor.config.hedging)
    if not trades:
        assert account["marginUsed"] == account["positionValue"] == account["unrealizedPL"] == "0.0000"


def _check_position(position: dict[str, Any], trades: list[dict[str, Any]], hedging: bool) -> None:
    units = {"long": Decimal(0), "short": Decimal(0)}
    costs = {"long": Decimal(0), "short": Decimal(0)}
    ids: dict[str, list[str]] = {"long": [], "short": []}
    for trade in trades:
        if trade["instrument"] == position["instrument"]:
            held = Decimal(trade["currentUnits"])
            assert 0 < abs(held) <= abs(Decimal(trade["initialUnits"]))
            side = "long" if held > 0 else "short"
            units[side] += held
            costs[side] += held * Decimal(trade["price"])
            ids[side].append(trade["id"])
    assert hedging or not (ids["long"] and ids["short"])
    for side in ("long", "short"):
        assert Decimal(position[side]["units"]) == units[side]
        assert position[side].get("tradeIDs", []) == ids[side]
        assert ("averagePrice" in position[side]) == bool(ids[side])
        if ids[side]:
            average = Decimal(position[side]["averagePrice"])
            assert average == (costs[side] / units[side]).quantize(average)

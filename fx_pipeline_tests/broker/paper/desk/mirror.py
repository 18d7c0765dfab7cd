"""A client that never asks for the whole account twice: it follows GET /changes, as OANDA advises."""

from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk import Desk

_TRADE_VALUES = ("unrealizedPL", "marginUsed")
_LINKED = {"TAKE_PROFIT": "takeProfit", "STOP_LOSS": "stopLoss", "TRAILING_STOP_LOSS": "trailingStopLoss"}


class Mirror:
    """What a client knows of the account since it asked for its details."""

    def __init__(self, desk: Desk) -> None:
        account = desk.account().body["account"]
        self.since = account["lastTransactionID"]
        self.balance = Decimal(account["balance"])
        self.orders = {order["id"]: order for order in account["orders"]}
        self.trades = {trade["id"]: trade for trade in account["trades"]}
        self.positions = {position["instrument"]: position for position in account["positions"]}
        self.values: dict[str, Any] = {}

    def follow(self, desk: Desk) -> "Mirror":
        """Take the changes since the last time."""
        body = desk.changes(self.since).body
        changes, state = body["changes"], body["state"]
        for order in changes["ordersCreated"]:
            self.orders[order["id"]] = order
        for order in (*changes["ordersCancelled"], *changes["ordersFilled"]):
            self.orders.pop(order["id"], None)
        for trade in (*changes["tradesOpened"], *changes["tradesReduced"]):
            self.trades[trade["id"]] = trade
        for trade in changes["tradesClosed"]:
            self.trades.pop(trade["id"], None)
        for position in changes["positions"]:
            self.positions[position["instrument"]] = position
        fresh = {trade["id"] for name in ("tradesOpened", "tradesReduced") for trade in changes[name]}
        for transaction in changes["transactions"]:
            self._take(transaction, fresh)
        for value in state["trades"]:
            self.trades[value["id"]] |= {name: value[name] for name in _TRADE_VALUES}
        for value in state["orders"]:
            self.orders[value["id"]] |= {"trailingStopValue": value["trailingStopValue"]}
        self.values = {name: value for name, value in state.items() if isinstance(value, str)}
        self.since = body["lastTransactionID"]
        return self

    def _take(self, transaction: dict[str, Any], fresh: set[str]) -> None:
        kind = transaction["type"]
        if "accountBalance" in transaction:
            self.balance = Decimal(transaction["accountBalance"])
        if kind == "ORDER_CLIENT_EXTENSIONS_MODIFY" and transaction["orderID"] in self.orders:
            order = self.orders[transaction["orderID"]]
            order["clientExtensions"] = order.get("clientExtensions", {}) | transaction["clientExtensionsModify"]
        if kind == "TRADE_CLIENT_EXTENSIONS_MODIFY" and transaction["tradeID"] in self.trades:
            trade = self.trades[transaction["tradeID"]]
            trade["clientExtensions"] = trade.get("clientExtensions", {}) | transaction["tradeClientExtensionsModify"]
        if kind == "DAILY_FINANCING":
            for position in transaction["positionFinancings"]:
                for paid in position["openTradeFinancings"]:
                    trade = self.trades.get(paid["tradeID"])
                    # A trade that came with the changes holds the payment already.
                    if trade is not None and trade["id"] not in fresh:
                        trade["financing"] = str(Decimal(trade["financing"]) + Decimal(paid["financing"]))


def known(account: dict[str, Any]) -> dict[str, Any]:
    """What a mirror of the account must hold: all but what only the account's own view shows."""
    linked: dict[str, dict[str, str]] = {}
    for order in account["orders"]:
        if order["type"] in _LINKED:
            linked.setdefault(order["tradeID"], {})[order["type"]] = order["id"]
    for trade in account["trades"]:
        shown = {kind: trade[f"{name}OrderID"] for kind, name in _LINKED.items() if f"{name}OrderID" in trade}
        assert shown == linked.get(trade["id"], {})
    return {
        "balance": Decimal(account["balance"]),
        "orders": {order["id"]: order for order in account["orders"]},
        "trades": {trade["id"]: _plain_trade(trade) for trade in account["trades"]},
        "positions": {position["instrument"]: _held(position) for position in account["positions"]},
    }


def mirrored(mirror: Mirror) -> dict[str, Any]:
    """The same of a mirror."""
    return {
        "balance": mirror.balance,
        "orders": mirror.orders,
        "trades": {number: _plain_trade(trade) for number, trade in mirror.trades.items()},
        "positions": {name: _held(position) for name, position in mirror.positions.items()},
    }


def _plain_trade(trade: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trade.items() if not name.endswith("OrderID")}


def _held(position: dict[str, Any]) -> dict[str, Any]:
    sides = {side: {name: position[side].get(name) for name in ("units", "averagePrice", "tradeIDs", "pl", "financing")}
             for side in ("long", "short")}  # fmt: skip
    return {"pl": position["pl"], "financing": position["financing"], **sides}

"""A batch under construction: transactions with their ids, not yet recorded and not yet applied."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from fx_pipeline.broker.paper.desk.state import Order, State, Trade, Transaction
from fx_pipeline.broker.paper.desk.times import time_text

_ACCOUNT = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,9})")


class Batch(NamedTuple):
    """Transactions that take effect together.

    Attributes
    ----------
    time_ns : int
        Market time, UTC nanoseconds; never before that of an earlier batch.
    transactions : list of dict
        In OANDA's wire form.
    trailing : dict of str to str
        By order id, prices that pending orders remember and that changed since the last batch: levels of trailing
        stops, initial market prices of touched orders.
    """

    time_ns: int
    transactions: list[Transaction]
    trailing: dict[str, str]


class Identity(NamedTuple):
    """The numbers in an account id: site, division, user, account."""

    account: str
    site: int
    division: int
    user: int
    number: int

    @classmethod
    def of(cls, account: str) -> "Identity":
        """Read an account id of OANDA's form; an id of another form gets ones."""
        found = _ACCOUNT.fullmatch(account)
        site, division, user, number = map(int, found.groups()) if found else (1, 1, 1, 1)
        return cls(account, site, division, user, number)


class Draft:
    """Collects the transactions of one batch.

    Attributes
    ----------
    balance : Decimal
        The account's balance after the transactions so far.
    marks : dict of str to str
        See `Batch.trailing`.
    """

    def __init__(self, state: State, identity: Identity, time_ns: int, request_id: str | None) -> None:
        self.transactions: list[Transaction] = []
        self.marks: dict[str, str] = {}
        self.time_ns = max(time_ns, state.time_ns)
        self.balance: Decimal = state.balance
        self._next = state.last_id + 1
        self._attached: dict[int, dict[str, Order]] = {}
        base: dict[str, Any] = {"accountID": identity.account, "userID": identity.user, "batchID": str(self._next)}
        if request_id is not None:
            base["requestID"] = request_id
        base["time"] = time_text(self.time_ns)
        self._base = base

    @property
    def next_id(self) -> str:
        """Id that the next transaction will have."""
        return str(self._next)

    def add(self, kind: str, fields: Mapping[str, Any]) -> Transaction:
        """Append a transaction and return it."""
        transaction = {"type": kind, **fields, "id": str(self._next), **self._base}
        self._next += 1
        self.transactions.append(transaction)
        return transaction

    def cancel(self, order: Order, reason: str, **fields: str) -> Transaction:
        """Append the cancellation of an order."""
        body: dict[str, Any] = {"orderID": str(order.number)}
        if "id" in order.extensions:
            body["clientOrderID"] = order.extensions["id"]
        if order.trade is not None:
            self._attached.get(order.trade, {}).pop(order.kind, None)
        return self.add("ORDER_CANCEL", {**body, "reason": reason, **fields})

    def attached(self, trade: Trade) -> dict[str, Order]:
        """Return the pending orders of a trade after the transactions so far, by kind; the caller adds to it."""
        found = self._attached.get(trade.number)
        if found is None:
            found = {kind: order for kind, order in trade.attached.items() if order.state == "PENDING"}
            self._attached[trade.number] = found
        return found

    def batch(self) -> Batch:
        """Return what was collected."""
        return Batch(self.time_ns, self.transactions, self.marks)

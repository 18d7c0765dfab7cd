"""The account's state: what the fold over its transactions leaves."""

from bisect import bisect_left
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop

import orjson

from fx_pipeline.broker.paper.desk.log import Log, Transaction
from fx_pipeline.broker.paper.desk.money import ZERO

#: The kinds of orders that hang on a trade, by the name that a trade's body gives them.
LINKED = {"STOP_LOSS": "stopLoss", "TRAILING_STOP_LOSS": "trailingStopLoss", "TAKE_PROFIT": "takeProfit"}


@dataclass(slots=True)
class Order:
    """An order of any kind.

    Attributes
    ----------
    number : int
        Id, that of its create transaction.
    kind : str
        MARKET, LIMIT, STOP, MARKET_IF_TOUCHED, TAKE_PROFIT, STOP_LOSS or TRAILING_STOP_LOSS.
    source : dict or bytes
        Its create transaction; as JSON once it has ended.
    instrument : str
    buying : bool
        Whether its fill buys.
    units, price, bound, distance : Decimal or None
        Signed units (None: those of the trade), threshold, worst price, trailing distance.
    expires_ns : int or None
        When it expires, UTC nanoseconds.
    trade : int or None
        Id of the trade that it closes.
    mark : Decimal or None
        What the order remembers of the market: a trailing stop's level, a touched order's initial market price.
    state : str
        PENDING, FILLED or CANCELLED.
    end : bytes or None
        The transaction that filled or cancelled it, as JSON.
    """

    number: int
    kind: str
    source: Transaction | bytes
    instrument: str
    buying: bool
    units: Decimal | None
    price: Decimal | None
    bound: Decimal | None
    distance: Decimal | None
    expires_ns: int | None
    trade: int | None
    extensions: dict[str, str]
    trade_extensions: dict[str, str]
    mark: Decimal | None = None
    state: str = "PENDING"
    end: bytes | None = None

    @property
    def created(self) -> Transaction:
        """Its create transaction."""
        if isinstance(self.source, dict):
            return self.source
        found: Transaction = orjson.loads(self.source)
        return found

    @property
    def ended(self) -> Transaction | None:
        """The transaction that filled or cancelled it."""
        return None if self.end is None else orjson.loads(self.end)


@dataclass(slots=True)
class Trade:
    """A trade, open or closed.

    Attributes
    ----------
    number : int
        Id, that of the fill which opened it.
    price : Decimal
        Entry price.
    initial_units, units : Decimal
        Signed; `units` is what is still open.
    margin : str
        Initial margin, home currency.
    realized, financing : Decimal
        Home currency.
    closed_value : Decimal
        Sum of closed units times closing price, quote currency.
    attached : dict of str to Order
        By kind, the newest order of each that hangs on the trade.
    """

    number: int
    instrument: str
    price: Decimal
    open_time: str
    initial_units: Decimal
    units: Decimal
    margin: str
    extensions: dict[str, str]
    realized: Decimal = ZERO
    financing: Decimal = ZERO
    closed_value: Decimal = ZERO
    closing: list[str] = field(default_factory=list)
    close_time: str | None = None
    attached: dict[str, Order] = field(default_factory=dict)

    @property
    def long(self) -> bool:
        """Whether the trade was bought."""
        return self.initial_units > 0


@dataclass(slots=True)
class Side:
    """The long or the short trades of an instrument.

    Attributes
    ----------
    units : Decimal
        Open units, signed.
    cost : Decimal
        Sum of units times entry price over the open trades, signed, quote currency.
    pl, financing : Decimal
        Over the account's life, home currency.
    trades : dict of int to Trade
        The open ones, oldest first.
    """

    units: Decimal = ZERO
    cost: Decimal = ZERO
    pl: Decimal = ZERO
    financing: Decimal = ZERO
    trades: dict[int, Trade] = field(default_factory=dict)


@dataclass(slots=True)
class Position:
    """An instrument that was traded at least once."""

    instrument: str
    long: Side = field(default_factory=Side)
    short: Side = field(default_factory=Side)

    @property
    def open(self) -> bool:
        """Whether any trade of it is open."""
        return bool(self.long.trades or self.short.trades)

    def side(self, long: bool) -> Side:
        """Return one side."""
        return self.long if long else self.short


@dataclass(slots=True)
class State:
    """Everything that the account's transactions say, and nothing else.

    Attributes
    ----------
    transactions : Log
        All transactions, index = id - 1.
    times_ns : list of int
        Their times.
    balance, pl, financing : Decimal
        Home currency.
    margin_rate : Decimal or None
        Least margin rate that the client asked for.
    orders, trades : dict
        All, by id, oldest first.
    pending, open_trades, open_positions : dict
        Those that are alive; `pending_by` also by instrument.
    expiring : dict of int to Order
        Pending orders with a time of expiry.
    expiries : list of (int, int)
        Heap of time of expiry and id, of these and of some that are pending no more.
    order_ids, trade_ids : dict of str to list of int
        Pending orders and open trades by client id, oldest first.
    financed_ns : int
        When financing was charged last.
    """

    transactions: Log = field(default_factory=Log)
    times_ns: list[int] = field(default_factory=list)
    balance: Decimal = ZERO
    pl: Decimal = ZERO
    financing: Decimal = ZERO
    alias: str = ""
    margin_rate: Decimal | None = None
    created_time: str = ""
    last_fill_time: str | None = None
    orders: dict[int, Order] = field(default_factory=dict)
    pending: dict[int, Order] = field(default_factory=dict)
    pending_by: dict[str, dict[int, Order]] = field(default_factory=dict)
    expiring: dict[int, Order] = field(default_factory=dict)
    expiries: list[tuple[int, int]] = field(default_factory=list, compare=False)
    trades: dict[int, Trade] = field(default_factory=dict)
    open_trades: dict[int, Trade] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    open_positions: dict[str, Position] = field(default_factory=dict)
    order_ids: dict[str, list[int]] = field(default_factory=dict)
    trade_ids: dict[str, list[int]] = field(default_factory=dict)
    financed_ns: int = 0

    @property
    def last_id(self) -> int:
        """Id of the newest transaction, 0 before the first."""
        return len(self.transactions)

    @property
    def time_ns(self) -> int:
        """Time of the newest transaction."""
        return self.times_ns[-1] if self.times_ns else 0

    def next_expiring(self) -> Order | None:
        """Return the pending order that expires first, the oldest of several."""
        while self.expiries and self.expiries[0][1] not in self.expiring:
            heappop(self.expiries)
        return self.expiring[self.expiries[0][1]] if self.expiries else None

    def first_at(self, time_ns: int) -> int:
        """Return the id of the first transaction at or after a time (one beyond the last where there is none)."""
        return bisect_left(self.times_ns, time_ns) + 1

    def find_order(self, specifier: str) -> Order | None:
        """Return the order of an id, or the oldest pending one of an `@` client id."""
        if specifier.startswith("@"):
            found = self.order_ids.get(specifier[1:])
            return self.orders[found[0]] if found else None
        return self.orders.get(number_of(specifier))

    def find_trade(self, specifier: str) -> Trade | None:
        """Return the trade of an id, or the oldest open one of an `@` client id."""
        if specifier.startswith("@"):
            found = self.trade_ids.get(specifier[1:])
            return self.trades[found[0]] if found else None
        return self.trades.get(number_of(specifier))


def number_of(text: str) -> int:
    """Read a transaction, order or trade id; 0, which no transaction has, where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def is_specifier(text: str) -> bool:
    """Whether a text can name an order or a trade: an id, or `@` and a client id."""
    return len(text) > 1 if text.startswith("@") else number_of(text) > 0

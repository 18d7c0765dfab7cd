"""The one fold: how a transaction changes the state, in trading and in restoring alike."""

import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from heapq import heappush

from fx_pipeline.broker.paper.desk.money import ZERO
from fx_pipeline.broker.paper.desk.state import LINKED, Order, Position, State, Trade, Transaction
from fx_pipeline.broker.paper.desk.times import next_rollover_ns, time_of

# One object for all who have none: nothing changes extensions in place.
_NO_EXTENSIONS: dict[str, str] = {}


def apply_batch(state: State, time_ns: int, transactions: list[Transaction], marks: Mapping[str, str]) -> None:
    """Fold the transactions of one batch, and what its orders then remember of the market, into the state."""
    for transaction in transactions:
        state.transactions.append(transaction)
        state.times_ns.append(time_ns)
        change = _CHANGES.get(transaction["type"])
        if change is not None:
            change(state, transaction)
    for number, mark in marks.items():
        state.orders[int(number)].mark = Decimal(mark)


def order_of(transaction: Transaction, state: State) -> Order:
    """Return the pending order that a create transaction stands for."""
    get = transaction.get
    number = get("tradeID")
    trade = None if number is None else int(number)
    units = _decimal(get("units"))
    if trade is None:
        instrument, buying = transaction["instrument"], units is None or units > ZERO
    else:
        linked = state.trades[trade]
        instrument, buying = linked.instrument, not linked.long
    return Order(
        number=int(transaction["id"]),
        kind=sys.intern(transaction["type"].removesuffix("_ORDER")),
        source=transaction,
        instrument=sys.intern(instrument),
        buying=buying,
        units=units,
        price=_decimal(get("price")),
        bound=_decimal(get("priceBound")),
        distance=_decimal(get("distance")),
        expires_ns=_expiry(transaction),
        trade=trade,
        extensions=get("clientExtensions") or _NO_EXTENSIONS,
        trade_extensions=get("tradeClientExtensions") or _NO_EXTENSIONS,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _expiry(transaction: Transaction) -> int | None:
    force = transaction["timeInForce"]
    if force == "GTD":
        return time_of(transaction["gtdTime"])
    if force == "GFD":
        created_ns = time_of(transaction["time"])
        return None if created_ns is None else next_rollover_ns(created_ns)
    return None


def _create(state: State, transaction: Transaction) -> None:
    state.created_time = transaction["time"]


def _configure(state: State, transaction: Transaction) -> None:
    state.alias = transaction.get("alias", state.alias)
    if "marginRate" in transaction:
        state.margin_rate = Decimal(transaction["marginRate"])


def _transfer(state: State, transaction: Transaction) -> None:
    state.balance += Decimal(transaction["amount"])


def _order(state: State, transaction: Transaction) -> None:
    order = order_of(transaction, state)
    state.orders[order.number] = order
    state.pending[order.number] = order
    state.pending_by.setdefault(order.instrument, {})[order.number] = order
    if order.expires_ns is not None:
        state.expiring[order.number] = order
        heappush(state.expiries, (order.expires_ns, order.number))
    if order.trade is not None:
        state.trades[order.trade].attached[order.kind] = order
    _index(state.order_ids, order.extensions, order.number)


def _end_order(state: State, order: Order, ending: str) -> None:
    # It is the newest transaction that ends it. The order and the log share their JSON.
    order.state = ending
    order.source, order.end = state.transactions.lines[order.number - 1], state.transactions.lines[-1]
    del state.pending[order.number]
    mine = state.pending_by[order.instrument]
    del mine[order.number]
    if not mine:
        del state.pending_by[order.instrument]
    state.expiring.pop(order.number, None)
    _unindex(state.order_ids, order.extensions, order.number)


def _cancel(state: State, transaction: Transaction) -> None:
    order = state.orders[int(transaction["orderID"])]
    _end_order(state, order, "CANCELLED")
    if order.trade is not None and transaction["reason"] != "LINKED_TRADE_CLOSED":
        # A closed trade keeps showing the orders that it had; an open one shows only those that it has.
        attached = state.trades[order.trade].attached
        if attached.get(order.kind) is order:
            del attached[order.kind]


def _fill(state: State, transaction: Transaction) -> None:
    _end_order(state, state.orders[int(transaction["orderID"])], "FILLED")
    pl, financing = Decimal(transaction["pl"]), Decimal(transaction["financing"])
    state.balance += pl + financing
    state.pl += pl
    state.financing += financing
    state.last_fill_time = transaction["time"]
    for part in transaction.get("tradesClosed", ()):
        _reduce(state, part, transaction)
    if "tradeReduced" in transaction:
        _reduce(state, transaction["tradeReduced"], transaction)
    if "tradeOpened" in transaction:
        _open(state, transaction["tradeOpened"], transaction)


def _open(state: State, part: Transaction, transaction: Transaction) -> None:
    name, units, price = transaction["instrument"], Decimal(part["units"]), Decimal(part["price"])
    trade = Trade(
        number=int(part["tradeID"]),
        instrument=sys.intern(name),
        price=price,
        open_time=transaction["time"],
        initial_units=units,
        units=units,
        margin=part["initialMarginRequired"],
        extensions=part.get("clientExtensions") or _NO_EXTENSIONS,
    )
    position = state.positions.get(name)
    if position is None:
        position = state.positions[name] = Position(name)
    side = position.side(trade.long)
    side.units += units
    side.cost += units * price
    side.trades[trade.number] = trade
    state.open_positions[name] = position
    state.trades[trade.number] = trade
    state.open_trades[trade.number] = trade
    _index(state.trade_ids, trade.extensions, trade.number)


def _reduce(state: State, part: Transaction, transaction: Transaction) -> None:
    trade = state.open_trades[int(part["tradeID"])]
    units, pl = Decimal(part["units"]), Decimal(part["realizedPL"])
    trade.units += units
    trade.closed_value -= units * Decimal(part["price"])
    trade.realized += pl
    trade.closing.append(transaction["id"])
    position = state.positions[trade.instrument]
    side = position.side(trade.long)
    side.units += units
    side.cost += units * trade.price
    side.pl += pl
    if trade.units == ZERO:
        trade.close_time = transaction["time"]
        del side.trades[trade.number]
        del state.open_trades[trade.number]
        _unindex(state.trade_ids, trade.extensions, trade.number)
        if not position.open:
            del state.open_positions[trade.instrument]


def _finance(state: State, transaction: Transaction) -> None:
    financing = Decimal(transaction["financing"])
    state.balance += financing
    state.financing += financing
    state.financed_ns = time_of(transaction["time"]) or state.financed_ns
    for part in transaction["positionFinancings"]:
        position = state.positions[part["instrument"]]
        for paid in part["openTradeFinancings"]:
            trade = state.trades[int(paid["tradeID"])]
            amount = Decimal(paid["financing"])
            trade.financing += amount
            position.side(trade.long).financing += amount


def _modify_order(state: State, transaction: Transaction) -> None:
    order = state.orders[int(transaction["orderID"])]
    if "clientExtensionsModify" in transaction:
        _unindex(state.order_ids, order.extensions, order.number)
        order.extensions = order.extensions | transaction["clientExtensionsModify"]
        _index(state.order_ids, order.extensions, order.number)
    order.trade_extensions = order.trade_extensions | transaction.get("tradeClientExtensionsModify", {})


def _modify_trade(state: State, transaction: Transaction) -> None:
    trade = state.trades[int(transaction["tradeID"])]
    _unindex(state.trade_ids, trade.extensions, trade.number)
    trade.extensions = trade.extensions | transaction["tradeClientExtensionsModify"]
    _index(state.trade_ids, trade.extensions, trade.number)


def _index(index: dict[str, list[int]], extensions: Mapping[str, str], number: int) -> None:
    name = extensions.get("id")
    if name is not None:
        index.setdefault(name, []).append(number)


def _unindex(index: dict[str, list[int]], extensions: Mapping[str, str], number: int) -> None:
    name = extensions.get("id")
    numbers = index.get(name) if name is not None else None
    if name is not None and numbers and number in numbers:
        numbers.remove(number)
        if not numbers:
            del index[name]


_CHANGES: dict[str, Callable[[State, Transaction], None]] = {
    "CREATE": _create,
    "CLIENT_CONFIGURE": _configure,
    "TRANSFER_FUNDS": _transfer,
    "MARKET_ORDER": _order,
    "LIMIT_ORDER": _order,
    "STOP_ORDER": _order,
    "MARKET_IF_TOUCHED_ORDER": _order,
    **{f"{kind}_ORDER": _order for kind in LINKED},
    "ORDER_FILL": _fill,
    "ORDER_CANCEL": _cancel,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": _modify_order,
    "TRADE_CLIENT_EXTENSIONS_MODIFY": _modify_trade,
    "DAILY_FINANCING": _finance,
}

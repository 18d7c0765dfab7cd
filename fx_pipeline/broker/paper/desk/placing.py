"""Placing an order: checks against account and market, then fill, cancellation or rest."""

from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.apply import order_of
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.fills import Reduction, fill_closing, fill_entry
from fx_pipeline.broker.paper.desk.money import ZERO
from fx_pipeline.broker.paper.desk.requests import ENTRY_KINDS, Rejected, Request, check_details, check_entry
from fx_pipeline.broker.paper.desk.state import Order, Trade, Transaction, is_specifier
from fx_pipeline.broker.paper.desk.triggers import first_mark, triggers


def check_order(account: Account, request: Request, now_ns: int, replaced: Order | None = None) -> None:
    """Check an order against the rules, the account and the market, and normalise its fields.

    Parameters
    ----------
    replaced : Order, optional
        The pending order that it takes the place of.

    Raises
    ------
    Rejected
        With OANDA's reason.
    """
    fields = request.fields
    entry = request.kind in ENTRY_KINDS
    if replaced is not None and (request.kind == "MARKET" or entry != (replaced.trade is None)):
        raise Rejected("REPLACING_ORDER_INVALID")
    if entry:
        name = fields.get("instrument")
        check_entry(request, None if name is None else account.book.terms[name], now_ns)
        if replaced is not None and name != replaced.instrument:
            raise Rejected("REPLACING_ORDER_INVALID")
        if request.kind in ("MARKET", "MARKET_IF_TOUCHED") and name not in account.book.quotes:
            raise Rejected("INSTRUMENT_PRICE_UNKNOWN")
    else:
        trade = _linked_trade(account, fields)
        if replaced is not None and replaced.trade != trade.number:
            raise Rejected("REPLACING_TRADE_ID_INVALID")
        if replaced is not None and replaced.kind != request.kind:
            raise Rejected("REPLACING_ORDER_INVALID")
        if replaced is None and request.kind in trade.attached:
            raise Rejected(f"{request.kind}_ORDER_ALREADY_EXISTS")
        check_linked(account, request.kind, fields, trade, now_ns)
    check_client_id(account, fields, replaced)


def check_client_id(account: Account, fields: dict[str, Any], replaced: Order | None = None) -> None:
    """Check that an order's client id is free among the pending orders.

    Raises
    ------
    Rejected
        CLIENT_ORDER_ID_ALREADY_EXISTS.
    """
    taken = account.state.order_ids.get(fields.get("clientExtensions", {}).get("id"), ())
    if not account.duplicates and any(replaced is None or number != replaced.number for number in taken):
        raise Rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")


def check_linked(account: Account, kind: str, fields: dict[str, Any], trade: Trade, now_ns: int) -> None:
    """Check the terms of an order that hangs on a trade; a stop given by distance gets its price.

    Raises
    ------
    Rejected
        With OANDA's reason.
    """
    terms = account.book.terms[trade.instrument]
    check_details(fields, "", kind, terms, now_ns)
    quote = account.book.quotes.get(trade.instrument)
    if "distance" in fields:
        if quote is None:
            raise Rejected("INSTRUMENT_PRICE_UNKNOWN")
        if kind == "STOP_LOSS":
            distance = Decimal(fields["distance"])
            price = quote.ask - distance if trade.long else quote.bid + distance
            if price <= ZERO:
                raise Rejected("PRICE_DISTANCE_MAXIMUM_EXCEEDED")
            fields["price"] = terms.price_text(price)


def _linked_trade(account: Account, fields: dict[str, Any]) -> Trade:
    state = account.state
    number, client = fields.get("tradeID"), fields.get("clientTradeID")
    if number is None and client is None:
        raise Rejected("TRADE_ID_UNSPECIFIED")
    specifier = f"@{client}" if number is None else number
    trade = state.find_trade(specifier) if is_specifier(specifier) else None
    if trade is None or trade.close_time is not None:
        raise Rejected("TRADE_DOESNT_EXIST")
    if client is not None and trade.extensions.get("id") != client:
        raise Rejected("TRADE_IDENTIFIER_INCONSISTENCY")
    fields["tradeID"] = str(trade.number)
    if "id" in trade.extensions:
        fields["clientTradeID"] = trade.extensions["id"]
    return trade


def settle(account: Account, draft: Draft, created: Transaction) -> Order:
    """Decide what becomes of an order whose create transaction is in the draft: filled, cancelled or left to rest."""
    if created["type"] == "MARKET_ORDER":
        order = order_of(created, account.state)
        reason = fill_entry(account, draft, order)
        if reason is not None:
            draft.cancel(order, reason)
        return order
    order = rest(account, draft, created)
    quote = account.tradeable(order.instrument)
    if quote is not None and triggers(order, quote):
        trigger(account, draft, order)
    elif created["timeInForce"] in ("FOK", "IOC"):
        draft.cancel(order, "MARKET_HALTED" if quote is None else "TIME_IN_FORCE_EXPIRED")
    return order


def rest(account: Account, draft: Draft, created: Transaction) -> Order:
    """Return the pending order of a create transaction in the draft, with what it remembers of the market."""
    order = order_of(created, account.state)
    quote = account.book.quotes.get(order.instrument)
    if order.kind in ("MARKET_IF_TOUCHED", "TRAILING_STOP_LOSS") and quote is not None:
        mark = first_mark(order.kind, created["triggerCondition"], order.buying, order.distance, quote)
        order.mark = account.book.terms[order.instrument].price(mark)
        draft.marks[created["id"]] = f"{order.mark:f}"
    if order.trade is not None:
        draft.attached(account.state.trades[order.trade])[order.kind] = order
    return order


def trigger(account: Account, draft: Draft, order: Order) -> None:
    """Fill a triggered order, or cancel it with the reason for which it cannot be filled."""
    if order.trade is not None:
        trade = account.state.trades[order.trade]
        reason = fill_closing(account, draft, order, [Reduction(trade, abs(trade.units))], f"{order.kind}_ORDER")
    else:
        reason = fill_entry(account, draft, order)
    if reason is not None:
        draft.cancel(order, reason)


def ending(draft: Draft, order: Order) -> tuple[Transaction | None, Transaction | None]:
    """Return the fill and the cancellation of an order in a draft, None where there is none."""
    number = str(order.number)
    mine = [transaction for transaction in draft.transactions if transaction.get("orderID") == number]
    fill = next((transaction for transaction in mine if transaction["type"] == "ORDER_FILL"), None)
    cancel = next((transaction for transaction in mine if transaction["type"] == "ORDER_CANCEL"), None)
    return fill, cancel


def replace(draft: Draft, old: Order, kind: str, fields: dict[str, Any]) -> tuple[Transaction, Transaction]:
    """Append the cancellation of an order and the creation of the one that takes its place."""
    number = str(int(draft.next_id) + 1)
    cancelled = draft.cancel(old, "CLIENT_REQUEST_REPLACED", replacedByOrderID=number)
    body = {
        **fields,
        "reason": "REPLACEMENT",
        "replacesOrderID": str(old.number),
        "cancellingTransactionID": cancelled["id"],
    }
    return cancelled, draft.add(f"{kind}_ORDER", body)

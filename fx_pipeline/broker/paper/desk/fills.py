"""Filling an order: which trades it reduces, what it opens, at which price, and what it brings."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.margin import available, position_margin, unit_value
from fx_pipeline.broker.paper.desk.money import NOTHING, TWO, ZERO, fine_text, money, money_text, plain_text
from fx_pipeline.broker.paper.desk.requests import ON_FILL
from fx_pipeline.broker.paper.desk.state import Order, Position, Trade, Transaction
from fx_pipeline.broker.paper.desk.times import time_of, time_text
from fx_pipeline.broker.paper.desk.triggers import first_mark
from fx_pipeline.broker.paper.quotes import Quote

#: Top-of-book liquidity that a fill's `fullPrice` shows; the desk fills any size at the top of the book.
_LIQUIDITY = "10000000"
_NO_FINE = "0.00000000000000"
_NO_REDUCE_COSTS = {
    "financing": "0.0000",
    "baseFinancing": _NO_FINE,
    "guaranteedExecutionFee": "0.0000",
    "quoteGuaranteedExecutionFee": "0",
    "baseFinancingHomeConversionCost": _NO_FINE,
    "guaranteedExecutionFeeHomeConversionCost": "0",
}


class Reduction(NamedTuple):
    """A part of a fill that closes units of a trade; `units` is positive."""

    trade: Trade
    units: Decimal


class Plan(NamedTuple):
    """What a fill does.

    Attributes
    ----------
    quote : Quote
        The market that it fills at.
    price : Decimal
        Ask of a buy, bid of a sell.
    reductions : sequence of Reduction
        Oldest trade first.
    opened : Decimal
        Signed units of the trade that it opens, 0 for none.
    """

    quote: Quote
    price: Decimal
    reductions: Sequence[Reduction]
    opened: Decimal


def fill_entry(account: Account, draft: Draft, order: Order) -> str | None:
    """Fill an entry order at the newest quote, with the orders that it attaches on fill.

    Returns
    -------
    str or None
        Why it must be cancelled instead; None when it was filled.
    """
    quote = account.tradeable(order.instrument)
    if quote is None:
        return "MARKET_HALTED"
    price = quote.ask if order.buying else quote.bid
    if order.bound is not None and (price > order.bound if order.buying else price < order.bound):
        return "BOUNDS_VIOLATION"
    plan = _split(account, order, quote, price)
    if isinstance(plan, str):
        return plan
    if plan.opened != ZERO:
        reason = _cannot_open(account, draft, order, plan)
        if reason is not None:
            return reason
    fill = write_fill(account, draft, order, plan, f"{order.kind}_ORDER")
    if plan.opened != ZERO:
        _attach_on_fill(account, draft, order, plan, fill)
    return None


def fill_closing(
    account: Account, draft: Draft, order: Order, reductions: Sequence[Reduction], reason: str
) -> str | None:
    """Fill an order that closes given trades: a stop, a target, a close of a trade or of a position.

    Returns
    -------
    str or None
        MARKET_HALTED where nothing can be filled; None when it was filled.
    """
    quote = account.tradeable(order.instrument)
    if quote is None:
        return "MARKET_HALTED"
    price = quote.ask if order.buying else quote.bid
    write_fill(account, draft, order, Plan(quote, price, reductions, ZERO), reason)
    return None


def oldest_first(trades: Sequence[Trade], units: Decimal) -> list[Reduction]:
    """Spread units to close over trades, the oldest first."""
    found = []
    for trade in trades:
        if units == ZERO:
            break
        part = min(units, abs(trade.units))
        found.append(Reduction(trade, part))
        units -= part
    return found


def _split(account: Account, order: Order, quote: Quote, price: Decimal) -> Plan | str:
    wanted = abs(order.units or ZERO)
    rule = order.created["positionFill"]
    if rule == "DEFAULT":
        rule = "OPEN_ONLY" if account.hedging else "REDUCE_FIRST"
    position = account.state.positions.get(order.instrument)
    against = list(position.side(not order.buying).trades.values()) if position is not None else []
    if rule == "OPEN_ONLY":
        if against and not account.hedging:
            # A net position cannot hold both sides.
            return "INSUFFICIENT_LIQUIDITY"
        return Plan(quote, price, (), wanted if order.buying else -wanted)
    reductions = oldest_first(against, wanted)
    left = wanted - sum((part.units for part in reductions), ZERO)
    if rule == "REDUCE_ONLY":
        if not reductions or (left and order.created["timeInForce"] == "FOK"):
            return "INSUFFICIENT_LIQUIDITY"
        left = ZERO
    return Plan(quote, price, reductions, left if order.buying else -left)


def _cannot_open(account: Account, draft: Draft, order: Order, plan: Plan) -> str | None:
    state, created = account.state, order.created
    taken = not account.duplicates
    if taken and order.trade_extensions.get("id") in state.trade_ids:
        return "CLIENT_TRADE_ID_ALREADY_EXISTS"
    exit_price = plan.quote.bid if order.buying else plan.quote.ask
    for name, kind in ON_FILL.items():
        details = created.get(name)
        if details is None:
            continue
        if details.get("clientExtensions", {}).get("id") in state.order_ids and taken:
            return f"{kind}_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"
        if details["timeInForce"] == "GTD" and (time_of(details["gtdTime"]) or 0) <= draft.time_ns:
            return f"{kind}_ON_FILL_GTD_TIMESTAMP_IN_PAST"
        if kind == "STOP_LOSS":
            stop = _stop_price(details, plan.price, order.buying)
            if stop <= ZERO:
                return "STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED"
            if exit_price <= stop if order.buying else exit_price >= stop:
                return "STOP_LOSS_ON_FILL_LOSS"
        if kind == "TAKE_PROFIT":
            target = Decimal(details["price"])
            if exit_price >= target if order.buying else exit_price <= target:
                return "TAKE_PROFIT_ON_FILL_LOSS"
            if target < plan.price if order.buying else target > plan.price:
                return "LOSING_TAKE_PROFIT"
    return "INSUFFICIENT_MARGIN" if _lacks_margin(account, order.instrument, plan) else None


def _lacks_margin(account: Account, instrument: str, plan: Plan) -> bool:
    now = account.state.positions.get(instrument) or Position(instrument)
    before = position_margin(account, now)
    reduced = sum((part.units for part in plan.reductions), ZERO)
    long, short = now.long.units, -now.short.units
    if plan.opened > ZERO:
        long, short = long + plan.opened, short - reduced
    else:
        long, short = long - reduced, short - plan.opened
    after = max(long, short) * unit_value(account, instrument, plan.price) * account.margin_rate(instrument)
    return after > before and after - before > available(account)


def _stop_price(details: Transaction, entry: Decimal, buying: bool) -> Decimal:
    if "price" in details:
        return Decimal(details["price"])
    distance = Decimal(details["distance"])
    return entry - distance if buying else entry + distance


def write_fill(account: Account, draft: Draft, order: Order, plan: Plan, reason: str) -> Transaction:
    """Append the fill of an order, and the cancellations of the orders that hung on the trades it closes."""
    terms = account.book.terms[order.instrument]
    factors, base = account.book.factors(terms.quote), account.book.factors(terms.base)
    half_spread = (plan.quote.ask - plan.quote.bid) / TWO * factors.mid
    price = terms.price_text(plan.price)
    quote_pl = conversion = ZERO
    pl = spread_cost = NOTHING
    closed: list[dict[str, Any]] = []
    reduced: dict[str, Any] | None = None
    units = plan.opened
    for trade, part in plan.reductions:
        signed = -part if trade.long else part
        units += signed
        trade_quote_pl = -signed * (plan.price - trade.price)
        trade_pl = money(factors.of(trade_quote_pl))
        cost = factors.of(trade_quote_pl) - trade_quote_pl * factors.mid
        trade_spread = money(part * half_spread)
        body = {
            "tradeID": str(trade.number),
            "units": plain_text(signed),
            "realizedPL": str(trade_pl),
            "price": price,
            "halfSpreadCost": str(trade_spread),
            "plHomeConversionCost": fine_text(cost),
            "homeConversionCost": fine_text(cost),
            **_NO_REDUCE_COSTS,
        }
        if part == abs(trade.units):
            closed.append(body)
        else:
            reduced = body
        quote_pl, pl = quote_pl + trade_quote_pl, pl + trade_pl
        spread_cost, conversion = spread_cost + trade_spread, conversion + cost
    opened: dict[str, Any] | None = None
    if plan.opened != ZERO:
        open_spread = money(abs(plan.opened) * half_spread)
        spread_cost += open_spread
        value = abs(plan.opened) * terms.mid(plan.quote) * factors.mid
        opened = {
            "price": price,
            "tradeID": draft.next_id,
            "units": plain_text(plan.opened),
            "guaranteedExecutionFee": "0.0000",
            "quoteGuaranteedExecutionFee": "0",
            "halfSpreadCost": str(open_spread),
            "initialMarginRequired": money_text(value * account.margin_rate(order.instrument)),
        }
        if order.trade_extensions:
            opened["clientExtensions"] = order.trade_extensions
    draft.balance += pl
    fields: dict[str, Any] = {"orderID": str(order.number)}
    if "id" in order.extensions:
        fields["clientOrderID"] = order.extensions["id"]
    fields |= {
        "instrument": order.instrument,
        "units": plain_text(units),
        "requestedUnits": plain_text(order.units if order.units is not None else units),
        "price": price,
        "pl": str(pl),
        "quotePL": f"{quote_pl:f}",
        "commission": "0.0000",
        "accountBalance": str(draft.balance),
        "gainQuoteHomeConversionFactor": factors.gain_text,
        "lossQuoteHomeConversionFactor": factors.loss_text,
        "homeConversionFactors": {
            "gainQuoteHome": {"factor": factors.gain_text},
            "lossQuoteHome": {"factor": factors.loss_text},
            "gainBaseHome": {"factor": base.gain_text},
            "lossBaseHome": {"factor": base.loss_text},
        },
        "halfSpreadCost": str(spread_cost),
        "plHomeConversionCost": fine_text(conversion),
        "homeConversionCost": fine_text(conversion),
        **_NO_REDUCE_COSTS,
        "fullVWAP": price,
        "reason": reason,
        "fullPrice": _full_price(plan.quote, terms.price_text(plan.quote.bid), terms.price_text(plan.quote.ask)),
    }
    if opened is not None:
        fields["tradeOpened"] = opened
    if closed:
        fields["tradesClosed"] = closed
    if reduced is not None:
        fields["tradeReduced"] = reduced
    fill = draft.add("ORDER_FILL", fields)
    for trade, part in plan.reductions:
        if part == abs(trade.units):
            for attached in list(draft.attached(trade).values()):
                if attached.number != order.number:
                    draft.cancel(attached, "LINKED_TRADE_CLOSED")
    return fill


def _full_price(quote: Quote, bid: str, ask: str) -> dict[str, Any]:
    return {
        "closeoutBid": bid,
        "closeoutAsk": ask,
        "time": time_text(quote.time_ns),
        "bids": [{"price": bid, "liquidity": _LIQUIDITY}],
        "asks": [{"price": ask, "liquidity": _LIQUIDITY}],
    }


def _attach_on_fill(account: Account, draft: Draft, order: Order, plan: Plan, fill: Transaction) -> None:
    terms = account.book.terms[order.instrument]
    for name, kind in ON_FILL.items():
        details = order.created.get(name)
        if details is None:
            continue
        fields: dict[str, Any] = {"tradeID": fill["id"]}
        if "id" in order.trade_extensions:
            fields["clientTradeID"] = order.trade_extensions["id"]
        fields |= details
        if kind == "STOP_LOSS":
            fields["price"] = terms.price_text(_stop_price(details, plan.price, order.buying))
            fields["guaranteed"] = False
        fields |= {"triggerCondition": "DEFAULT", "reason": "ON_FILL", "orderFillTransactionID": fill["id"]}
        made = draft.add(f"{kind}_ORDER", fields)
        if kind == "TRAILING_STOP_LOSS":
            draft.marks[made["id"]] = terms.price_text(
                first_mark(kind, "DEFAULT", not order.buying, Decimal(details["distance"]), plan.quote)
            )

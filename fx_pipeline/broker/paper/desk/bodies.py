"""Orders, trades, positions and the account as OANDA's GET replies show them."""

from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.margin import (
    closeout_percent,
    position_margin,
    side_unrealized,
    totals,
    trade_margin,
    trade_unrealized,
)
from fx_pipeline.broker.paper.desk.money import ZERO, money_text, plain_text
from fx_pipeline.broker.paper.desk.state import LINKED, Order, Position, Side, Trade
from fx_pipeline.broker.paper.desk.triggers import watched_price

# What a create transaction says of itself and not of its order.
_NOT_OF_THE_ORDER = frozenset(
    "id accountID userID batchID requestID time type reason orderFillTransactionID cancellingTransactionID "
    "clientExtensions tradeClientExtensions partialFill".split()
)
_SHARE_STEP = Decimal("0.00001")


def order_body(order: Order) -> dict[str, Any]:
    """Return an order as GET /orders/{specifier} shows it."""
    created = order.created
    body = {"id": created["id"], "createTime": created["time"], "type": order.kind}
    body |= {name: value for name, value in created.items() if name not in _NOT_OF_THE_ORDER}
    if "partialFill" in created:
        body["partialFill"] = "DEFAULT_FILL"
    if order.extensions:
        body["clientExtensions"] = order.extensions
    if order.trade_extensions:
        body["tradeClientExtensions"] = order.trade_extensions
    if order.kind == "TRAILING_STOP_LOSS" and order.mark is not None:
        body["trailingStopValue"] = f"{order.mark:f}"
    body["state"] = order.state
    ended = order.ended
    if ended is None:
        return body
    if order.state == "CANCELLED":
        body |= {"cancellingTransactionID": ended["id"], "cancelledTime": ended["time"]}
        if "replacedByOrderID" in ended:
            body["replacedByOrderID"] = ended["replacedByOrderID"]
        return body
    body |= {"fillingTransactionID": ended["id"], "filledTime": ended["time"]}
    if "tradeOpened" in ended:
        body["tradeOpenedID"] = ended["tradeOpened"]["tradeID"]
    if "tradeReduced" in ended:
        body["tradeReducedID"] = ended["tradeReduced"]["tradeID"]
    if "tradesClosed" in ended:
        body["tradeClosedIDs"] = [part["tradeID"] for part in ended["tradesClosed"]]
    return body


def trade_body(account: Account, trade: Trade, summary: bool) -> dict[str, Any]:
    """Return a trade as GET /trades/{specifier} shows it; a summary names its orders by id only."""
    terms = account.book.terms[trade.instrument]
    body: dict[str, Any] = {
        "id": str(trade.number),
        "instrument": trade.instrument,
        "price": terms.price_text(trade.price),
        "openTime": trade.open_time,
        "initialUnits": plain_text(trade.initial_units),
        "initialMarginRequired": trade.margin,
        "state": "CLOSED" if trade.close_time else "OPEN",
        "currentUnits": plain_text(trade.units),
        "realizedPL": money_text(trade.realized),
        "financing": money_text(trade.financing),
        "dividendAdjustment": "0.0000",
    }
    if trade.close_time is None:
        body["unrealizedPL"] = money_text(trade_unrealized(account, trade))
        body["marginUsed"] = money_text(trade_margin(account, trade))
    if trade.closing:
        body["averageClosePrice"] = terms.price_text(trade.closed_value / (trade.initial_units - trade.units))
        body["closingTransactionIDs"] = list(trade.closing)
    if trade.close_time is not None:
        body["closeTime"] = trade.close_time
    if trade.extensions:
        body["clientExtensions"] = trade.extensions
    for kind, name in LINKED.items():
        order = trade.attached.get(kind)
        if order is not None and summary:
            body[f"{name}OrderID"] = str(order.number)
        elif order is not None:
            body[f"{name}Order"] = order_body(order)
    return body


def position_body(account: Account, position: Position) -> dict[str, Any]:
    """Return a position as GET /positions/{instrument} shows it."""
    long, short = position.long, position.short
    pl, financing = money_text(long.pl + short.pl), money_text(long.financing + short.financing)
    name = position.instrument
    unrealized = money_text(side_unrealized(account, name, long) + side_unrealized(account, name, short))
    body = {
        "instrument": name,
        "long": _side_body(account, name, long),
        "short": _side_body(account, name, short),
        "pl": pl,
        "resettablePL": pl,
        "financing": financing,
        "commission": "0.0000",
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": unrealized,
    }
    if position.open:
        body["marginUsed"] = money_text(position_margin(account, position))
    return body


def _side_body(account: Account, instrument: str, side: Side) -> dict[str, Any]:
    body: dict[str, Any] = {"units": plain_text(side.units)}
    if side.trades:
        body["averagePrice"] = account.book.terms[instrument].price_text(side.cost / side.units)
        body["tradeIDs"] = [str(number) for number in side.trades]
    pl = money_text(side.pl)
    return body | {
        "pl": pl,
        "resettablePL": pl,
        "financing": money_text(side.financing),
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": money_text(side_unrealized(account, instrument, side)),
    }


def values_body(account: Account) -> dict[str, Any]:
    """Return the account's values that move with the market, as its views and GET /changes show them."""
    found = totals(account)
    balance = account.state.balance
    nav, closeout_nav = balance + found.unrealized, balance + found.closeout_unrealized
    used, value = money_text(found.margin_used), money_text(found.position_value)
    spare = money_text(max(ZERO, nav - found.margin_used))
    share = closeout_percent(closeout_nav, found.margin_used)
    return {
        "unrealizedPL": money_text(found.unrealized),
        "NAV": money_text(nav),
        "marginUsed": used,
        "marginAvailable": spare,
        "positionValue": value,
        "marginCloseoutUnrealizedPL": money_text(found.closeout_unrealized),
        "marginCloseoutNAV": money_text(closeout_nav),
        "marginCloseoutMarginUsed": used,
        "marginCloseoutPositionValue": value,
        "marginCloseoutPercent": f"{share.quantize(_SHARE_STEP):f}",
        "withdrawalLimit": spare,
        "marginCallMarginUsed": used,
        "marginCallPercent": f"{(share * 2).quantize(_SHARE_STEP):f}",
    }


def summary_body(account: Account) -> dict[str, Any]:
    """Return the account as GET /summary shows it."""
    state = account.state
    pl = money_text(state.pl)
    values = values_body(account)
    body = {
        "id": account.identity.account,
        "alias": state.alias,
        "currency": account.book.home,
        "createdByUserID": account.identity.user,
        "createdTime": state.created_time,
        "guaranteedStopLossOrderMode": "DISABLED",
        "hedgingEnabled": account.hedging,
        "marginRate": plain_text(account.least_margin_rate()),
        "lastTransactionID": str(state.last_id),
        "balance": money_text(state.balance),
        "openTradeCount": len(state.open_trades),
        "openPositionCount": len(state.open_positions),
        "pendingOrderCount": len(state.pending),
        "pl": pl,
        "resettablePL": pl,
        "resettablePLTime": state.created_time,
        "financing": money_text(state.financing),
        "commission": "0.0000",
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        **values,
        "trueNAV": values["NAV"],
        "trueUnrealizedPL": values["unrealizedPL"],
    }
    if state.last_fill_time is not None:
        body["lastOrderFillTimestamp"] = state.last_fill_time
    return body


def state_body(account: Account) -> dict[str, Any]:
    """Return the `state` of GET /changes: values of the account and of all that is open."""
    state = account.state
    return {
        **values_body(account),
        "orders": [
            _trailing_body(account, order) for order in state.pending.values() if order.kind == "TRAILING_STOP_LOSS"
        ],
        "trades": [
            {
                "id": str(trade.number),
                "unrealizedPL": money_text(trade_unrealized(account, trade)),
                "marginUsed": money_text(trade_margin(account, trade)),
            }
            for trade in state.open_trades.values()
        ],
        "positions": [_position_values(account, position) for position in state.open_positions.values()],
    }


def _trailing_body(account: Account, order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"id": str(order.number)}
    quote = account.book.quotes.get(order.instrument)
    if order.mark is not None:
        body["trailingStopValue"] = f"{order.mark:f}"
    if order.mark is not None and quote is not None:
        watched = watched_price(order.created["triggerCondition"], order.buying, quote)
        body["triggerDistance"] = account.book.terms[order.instrument].price_text(abs(watched - order.mark))
        body["isTriggerDistanceExact"] = True
    return body


def _position_values(account: Account, position: Position) -> dict[str, Any]:
    name = position.instrument
    long, short = (side_unrealized(account, name, side) for side in (position.long, position.short))
    return {
        "instrument": position.instrument,
        "netUnrealizedPL": money_text(long + short),
        "longUnrealizedPL": money_text(long),
        "shortUnrealizedPL": money_text(short),
        "marginUsed": money_text(position_margin(account, position)),
    }

"""Changing what hangs on an order or a trade: client extensions, stops and targets."""

from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.closing import Commit
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.placing import check_client_id, check_linked, ending, replace, rest, trigger
from fx_pipeline.broker.paper.desk.replies import Outcome, invalid, missing, refuse, reply
from fx_pipeline.broker.paper.desk.requests import (
    Rejected,
    Unparsable,
    check_extensions,
    read_details,
    read_extensions,
)
from fx_pipeline.broker.paper.desk.state import Trade, Transaction, is_specifier
from fx_pipeline.broker.paper.desk.triggers import rank, triggers

# The parts of the body in the order in which they take effect.
_PARTS = {"takeProfit": "TAKE_PROFIT", "stopLoss": "STOP_LOSS", "trailingStopLoss": "TRAILING_STOP_LOSS"}


def set_order_extensions(
    account: Account, commit: Commit, specifier: str, body: Any, now_ns: int, request_id: str | None
) -> Outcome:
    """Change an order's client extensions, as PUT /orders/{specifier}/clientExtensions."""
    if not is_specifier(specifier):
        return invalid("orderSpecifier")
    try:
        fields = _modifications(
            body, {"clientExtensions": "clientExtensionsModify", "tradeClientExtensions": "tradeClientExtensionsModify"}
        )
    except Unparsable as refusal:
        return invalid(refusal.parameter)
    order = account.state.find_order(specifier)
    which = {"clientOrderID": specifier[1:]} if specifier.startswith("@") else {"orderID": specifier}
    draft = account.draft(now_ns, request_id)
    try:
        if order is None or order.state != "PENDING":
            raise Rejected("ORDER_DOESNT_EXIST")
        which = {"orderID": str(order.number)}
        if "id" in order.extensions:
            which["clientOrderID"] = order.extensions["id"]
        if not fields:
            raise Rejected("CLIENT_EXTENSIONS_DATA_MISSING")
        check_extensions(fields.get("clientExtensionsModify"), "CLIENT_ORDER")
        check_extensions(fields.get("tradeClientExtensionsModify"), "CLIENT_TRADE")
        check_client_id(account, {"clientExtensions": fields.get("clientExtensionsModify", {})}, order)
    except Rejected as refusal:
        rejected = draft.add(
            "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT", {**which, **fields, "rejectReason": refusal.reason}
        )
        commit(draft)
        status = 404 if refusal.reason == "ORDER_DOESNT_EXIST" else 400
        return refuse(
            account.state, draft, status, refusal.reason, orderClientExtensionsModifyRejectTransaction=rejected
        )
    made = draft.add("ORDER_CLIENT_EXTENSIONS_MODIFY", {**which, **fields})
    commit(draft)
    return reply(account.state, draft, 200, orderClientExtensionsModifyTransaction=made)


def set_trade_extensions(
    account: Account, commit: Commit, specifier: str, body: Any, now_ns: int, request_id: str | None
) -> Outcome:
    """Change a trade's client extensions, as PUT /trades/{specifier}/clientExtensions."""
    if not is_specifier(specifier):
        return invalid("tradeSpecifier")
    try:
        fields = _modifications(body, {"clientExtensions": "tradeClientExtensionsModify"})
    except Unparsable as refusal:
        return invalid(refusal.parameter)
    trade = account.state.find_trade(specifier)
    which = {"clientTradeID": specifier[1:]} if specifier.startswith("@") else {"tradeID": specifier}
    draft = account.draft(now_ns, request_id)
    try:
        if trade is None or trade.close_time is not None:
            raise Rejected("TRADE_DOESNT_EXIST")
        which = {"tradeID": str(trade.number)}
        if "id" in trade.extensions:
            which["clientTradeID"] = trade.extensions["id"]
        if not fields:
            raise Rejected("CLIENT_EXTENSIONS_DATA_MISSING")
        extensions = fields["tradeClientExtensionsModify"]
        check_extensions(extensions, "CLIENT_TRADE")
        taken = account.state.trade_ids.get(extensions.get("id"), ())
        if not account.duplicates and any(number != trade.number for number in taken):
            raise Rejected("CLIENT_TRADE_ID_ALREADY_EXISTS")
    except Rejected as refusal:
        rejected = draft.add(
            "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT", {**which, **fields, "rejectReason": refusal.reason}
        )
        commit(draft)
        status = 404 if refusal.reason == "TRADE_DOESNT_EXIST" else 400
        return refuse(
            account.state, draft, status, refusal.reason, tradeClientExtensionsModifyRejectTransaction=rejected
        )
    made = draft.add("TRADE_CLIENT_EXTENSIONS_MODIFY", {**which, **fields})
    commit(draft)
    return reply(account.state, draft, 200, tradeClientExtensionsModifyTransaction=made)


def _modifications(body: Any, names: dict[str, str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Unparsable("body")
    return {
        modified: read_extensions(body[name], name) for name, modified in names.items() if body.get(name) is not None
    }


def set_trade_orders(
    account: Account, commit: Commit, specifier: str, body: Any, now_ns: int, request_id: str | None
) -> Outcome:
    """Create, replace or cancel the orders that hang on a trade, as PUT /trades/{specifier}/orders.

    A part that is left out stays, null cancels, an object creates or replaces; all parts take effect or none.
    """
    if not is_specifier(specifier):
        return invalid("tradeSpecifier")
    if not isinstance(body, dict) or body.get("guaranteedStopLoss") is not None:
        return invalid("guaranteedStopLoss" if isinstance(body, dict) else "body")
    try:
        parts = {
            name: None if body[name] is None else read_details(body[name], name, kind)
            for name, kind in _PARTS.items()
            if name in body
        }
    except Unparsable as refusal:
        return invalid(refusal.parameter)
    trade = account.state.find_trade(specifier)
    if trade is None or trade.close_time is not None:
        return missing(account.state, "NO_SUCH_TRADE")
    draft = account.draft(now_ns, request_id)
    named: dict[str, Transaction | None] = {}
    first = None
    client_ids: set[str] = set()
    for name, fields in parts.items():
        reason = None if fields is None else _refusal(account, trade, _PARTS[name], fields, draft.time_ns, client_ids)
        if reason is not None and fields is not None:
            first = first or reason
            body_fields = _wire(trade, _PARTS[name], fields, "CLIENT_ORDER")
            rejected = draft.add(f"{_PARTS[name]}_ORDER_REJECT", {**body_fields, "rejectReason": reason})
            named[f"{name}OrderRejectTransaction"] = rejected
    if first is not None:
        commit(draft)
        return refuse(account.state, draft, 400, first, **named)
    created: dict[str, Transaction] = {}
    for name, fields in parts.items():
        old = draft.attached(trade).get(_PARTS[name])
        if fields is None:
            named[f"{name}OrderCancelTransaction"] = None if old is None else draft.cancel(old, "CLIENT_REQUEST")
        elif old is None:
            wire = _wire(trade, _PARTS[name], fields, "CLIENT_ORDER")
            created[name] = draft.add(f"{_PARTS[name]}_ORDER", wire)
        else:
            wire = _wire(trade, _PARTS[name], fields, "REPLACEMENT")
            cancelled, created[name] = replace(draft, old, _PARTS[name], wire)
            named[f"{name}OrderCancelTransaction"] = cancelled
    _settle(account, draft, trade, created, named)
    commit(draft)
    return reply(account.state, draft, 200, **named)


def _refusal(
    account: Account, trade: Trade, kind: str, fields: dict[str, Any], now_ns: int, others: set[str]
) -> str | None:
    # `others` has the client ids of the parts before, and gets that of this one.
    try:
        check_linked(account, kind, fields, trade, now_ns)
        check_client_id(account, fields, trade.attached.get(kind))
    except Rejected as refusal:
        return refusal.reason
    own = fields.get("clientExtensions", {}).get("id")
    if own in others and not account.duplicates:
        return "CLIENT_ORDER_ID_ALREADY_EXISTS"
    if own is not None:
        others.add(own)
    return None


def _wire(trade: Trade, kind: str, fields: dict[str, Any], reason: str) -> dict[str, Any]:
    wire: dict[str, Any] = {"tradeID": str(trade.number)}
    if "id" in trade.extensions:
        wire["clientTradeID"] = trade.extensions["id"]
    wire |= fields
    wire["triggerCondition"] = "DEFAULT"
    if kind == "STOP_LOSS":
        wire["guaranteed"] = fields.get("guaranteed", False)
    wire["reason"] = reason
    return wire


def _settle(
    account: Account,
    draft: Draft,
    trade: Trade,
    created: dict[str, Transaction],
    named: dict[str, Transaction | None],
) -> None:
    orders = {}
    for name, transaction in created.items():
        named[f"{name}OrderTransaction"] = transaction
        orders[name] = rest(account, draft, transaction)
    # One of them may fill at once; the others, old and new, then go with the trade.
    for name in sorted(orders, key=lambda name: rank(orders[name])):
        quote = account.tradeable(trade.instrument)
        if quote is not None and triggers(orders[name], quote):
            trigger(account, draft, orders[name])
            break
    for name, order in orders.items():
        fill, cancel = ending(draft, order)
        named[f"{name}OrderFillTransaction"] = fill
        named[f"{name}OrderCreatedCancelTransaction"] = cancel

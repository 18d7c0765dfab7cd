"""Closing trades and positions at the market."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk.account import Account
from fx_pipeline.broker.paper.desk.apply import order_of
from fx_pipeline.broker.paper.desk.draft import Draft
from fx_pipeline.broker.paper.desk.fills import Reduction, fill_closing, oldest_first
from fx_pipeline.broker.paper.desk.money import ZERO, decimal_of, decimals_of, plain_text
from fx_pipeline.broker.paper.desk.placing import ending
from fx_pipeline.broker.paper.desk.replies import Outcome, invalid, refuse, reply
from fx_pipeline.broker.paper.desk.state import Position, Transaction, is_specifier

Commit = Callable[[Draft], list[Transaction]]
_ALL = "ALL"
_NONE = "NONE"


def _close_order(
    draft: Draft, instrument: str, reductions: list[Reduction], reason: str, extra: dict[str, Any]
) -> Transaction:
    units = sum((-part if trade.long else part for trade, part in reductions), ZERO)
    return draft.add(
        "MARKET_ORDER",
        {
            "instrument": instrument,
            "units": plain_text(units),
            "timeInForce": "FOK",
            "positionFill": "REDUCE_ONLY",
            "reason": reason,
            **extra,
        },
    )


def _close(
    account: Account, draft: Draft, instrument: str, reductions: list[Reduction], reason: str, extra: dict[str, Any]
) -> tuple[Transaction, Transaction | None, Transaction | None]:
    created = _close_order(draft, instrument, reductions, reason, extra)
    order = order_of(created, account.state)
    refusal = fill_closing(account, draft, order, reductions, f"MARKET_ORDER_{reason}")
    if refusal is not None:
        draft.cancel(order, refusal)
    return created, *ending(draft, order)


def close_out(account: Account, draft: Draft, position: Position) -> None:
    """Append the margin closeout of all trades of a position."""
    for side in (position.long, position.short):
        trades = list(side.trades.values())
        if trades:
            reductions = oldest_first(trades, abs(side.units))
            extra = {"marginCloseout": {"reason": "MARGIN_CHECK_VIOLATION"}}
            _close(account, draft, position.instrument, reductions, "MARGIN_CLOSEOUT", extra)


def close_trade(
    account: Account, commit: Commit, specifier: str, body: Any, now_ns: int, request_id: str | None
) -> Outcome:
    """Close a trade or a part of it, as PUT /trades/{specifier}/close."""
    if not is_specifier(specifier):
        return invalid("tradeSpecifier")
    if body is not None and not isinstance(body, dict):
        return invalid("body")
    wanted = (body or {}).get("units")
    wanted = _ALL if wanted is None else wanted
    number = None if wanted == _ALL else decimal_of(wanted)
    if wanted != _ALL and number is None:
        return invalid("units")
    trade = account.state.find_trade(specifier)
    which = {"clientTradeID": specifier[1:]} if specifier.startswith("@") else {"tradeID": specifier}
    details = {"tradeClose": {**which, "units": _ALL if number is None else plain_text(number)}}
    draft = account.draft(now_ns, request_id)
    reason = None
    if trade is None or trade.close_time is not None:
        reason = "TRADE_DOESNT_EXIST"
    elif number is not None:
        precision = account.book.terms[trade.instrument].units_precision
        reason = _units_refusal(number, precision, abs(trade.units), "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")
    if reason is not None or trade is None:
        fields = {"timeInForce": "FOK", "positionFill": "REDUCE_ONLY", "reason": "TRADE_CLOSE", **details}
        if trade is not None:
            fields = {"instrument": trade.instrument, **fields}
        rejected = draft.add("MARKET_ORDER_REJECT", {**fields, "rejectReason": reason})
        commit(draft)
        status = 404 if reason == "TRADE_DOESNT_EXIST" else 400
        return refuse(account.state, draft, status, str(reason), orderRejectTransaction=rejected)
    reductions = [Reduction(trade, abs(trade.units) if number is None else number)]
    created, fill, cancel = _close(account, draft, trade.instrument, reductions, "TRADE_CLOSE", details)
    commit(draft)
    return reply(
        account.state,
        draft,
        200,
        orderCreateTransaction=created,
        orderFillTransaction=fill,
        orderCancelTransaction=cancel,
    )


def _units_refusal(units: Decimal, precision: int, limit: Decimal, beyond: str) -> str | None:
    if units <= ZERO:
        return "UNITS_INVALID"
    if decimals_of(units) > precision:
        return "UNITS_PRECISION_EXCEEDED"
    return beyond if units > limit else None


def close_position(
    account: Account, commit: Commit, instrument: str, body: Any, now_ns: int, request_id: str | None
) -> Outcome:
    """Close one side or both of a position, as PUT /positions/{instrument}/close.

    A side that the body leaves out stays as it is, unless the body names neither: then what is open is closed.
    """
    if instrument not in account.book.terms:
        return invalid("instrument")
    if body is not None and not isinstance(body, dict):
        return invalid("body")
    position = account.state.open_positions.get(instrument) or Position(instrument)
    wanted = _wanted_sides(body or {}, position)
    if isinstance(wanted, str):
        return invalid(wanted)
    draft = account.draft(now_ns, request_id)
    named: dict[str, Transaction | None] = {}
    first = None
    if not wanted:
        return _incomplete(account, commit, draft, instrument)
    for name, units in wanted.items():
        side = position.side(name == "long")
        reason = _side_refusal(units, account.book.terms[instrument].units_precision, side.units)
        if reason is not None:
            first = first or reason
            fields = _closeout_fields(instrument, name, units)
            named[f"{name}OrderRejectTransaction"] = draft.add(
                "MARKET_ORDER_REJECT", {**fields, "rejectReason": reason}
            )
    if first is not None:
        commit(draft)
        return refuse(account.state, draft, 400 if position.open else 404, first, **named)
    for name, units in wanted.items():
        side = position.side(name == "long")
        amount = abs(side.units) if units is None else units
        reductions = oldest_first(list(side.trades.values()), amount)
        extra = _closeout_details(instrument, name, units)
        created, fill, cancel = _close(account, draft, instrument, reductions, "POSITION_CLOSEOUT", extra)
        named[f"{name}OrderCreateTransaction"] = created
        named[f"{name}OrderFillTransaction"] = fill
        named[f"{name}OrderCancelTransaction"] = cancel
    commit(draft)
    return reply(account.state, draft, 200, **named)


def _incomplete(account: Account, commit: Commit, draft: Draft, instrument: str) -> Outcome:
    reason = "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION"
    fields = {
        "instrument": instrument,
        "timeInForce": "FOK",
        "positionFill": "REDUCE_ONLY",
        "reason": "POSITION_CLOSEOUT",
    }
    rejected = draft.add("MARKET_ORDER_REJECT", {**fields, "rejectReason": reason})
    commit(draft)
    return refuse(account.state, draft, 400, reason, longOrderRejectTransaction=rejected)


def _wanted_sides(body: dict[str, Any], position: Position) -> dict[str, Decimal | None] | str:
    wanted: dict[str, Decimal | None] = {}
    given = {name: body[f"{name}Units"] for name in ("long", "short") if body.get(f"{name}Units") is not None}
    if not given:
        sides = [name for name in ("long", "short") if position.side(name == "long").trades] or ["long", "short"]
        return dict.fromkeys(sides)
    for name, value in given.items():
        number = decimal_of(value)
        if value == _ALL:
            wanted[name] = None
        elif value != _NONE and number is None:
            return f"{name}Units"
        elif number is not None:
            wanted[name] = number
    return wanted


def _side_refusal(units: Decimal | None, precision: int, held: Decimal) -> str | None:
    if held == ZERO:
        return "CLOSEOUT_POSITION_DOESNT_EXIST"
    if units is None:
        return None
    return _units_refusal(units, precision, abs(held), "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE")


def _closeout_details(instrument: str, name: str, units: Decimal | None) -> dict[str, Any]:
    amount = _ALL if units is None else plain_text(units)
    return {f"{name}PositionCloseout": {"instrument": instrument, "units": amount}}


def _closeout_fields(instrument: str, name: str, units: Decimal | None) -> dict[str, Any]:
    fields = {
        "instrument": instrument,
        "timeInForce": "FOK",
        "positionFill": "REDUCE_ONLY",
        "reason": "POSITION_CLOSEOUT",
    }
    return {**fields, **_closeout_details(instrument, name, units)}

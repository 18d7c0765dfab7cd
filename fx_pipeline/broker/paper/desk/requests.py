"""Reading an order request: first what cannot be parsed at all, then what breaks a rule."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fx_pipeline.broker.paper.desk.money import ZERO, decimal_of, decimals_of, plain_text
from fx_pipeline.broker.paper.desk.terms import InstrumentTerms
from fx_pipeline.broker.paper.desk.times import time_of, time_text

ENTRY_KINDS = ("MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED")
_RESTING = ("GTC", "GTD", "GFD")
_IMMEDIATE = ("FOK", "IOC")
_FORCES = {"MARKET": _IMMEDIATE, "LIMIT": _RESTING + _IMMEDIATE, "STOP": _RESTING + _IMMEDIATE}
_NUMBERS = {
    "MARKET": ("units", "priceBound"),
    "LIMIT": ("units", "price"),
    "STOP": ("units", "price", "priceBound"),
    "MARKET_IF_TOUCHED": ("units", "price", "priceBound"),
    "TAKE_PROFIT": ("price",),
    "STOP_LOSS": ("price", "distance"),
    "TRAILING_STOP_LOSS": ("distance",),
}
_POSITION_FILLS = ("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY")
_TRIGGERS = ("DEFAULT", "INVERSE", "BID", "ASK", "MID")
#: On-fill parts of an entry order, and the kind of order that each makes.
ON_FILL = {
    "takeProfitOnFill": "TAKE_PROFIT",
    "stopLossOnFill": "STOP_LOSS",
    "trailingStopLossOnFill": "TRAILING_STOP_LOSS",
}
_EXTENSION_LIMIT = 128
_PRICE_LIMIT = Decimal(10) ** 9


class Unparsable(Exception):
    """A part of a request that cannot be read at all: OANDA answers 400 and writes no transaction."""

    def __init__(self, parameter: str) -> None:
        super().__init__(parameter)
        self.parameter = parameter


class Rejected(Exception):
    """A request that breaks a rule: OANDA writes a reject transaction with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Request:
    """An order request that could be read.

    Attributes
    ----------
    kind : str
        MARKET, LIMIT, ...
    fields : dict
        In wire form; `check_order` normalises them.
    """

    kind: str
    fields: dict[str, Any]


def read_order(raw: Any, instruments: Iterable[str]) -> Request:
    """Read the inner object of an order request.

    Raises
    ------
    Unparsable
        If a part is of a type, a number, a time or a word that the API does not know.
    """
    if not isinstance(raw, dict):
        raise Unparsable("order")
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in _NUMBERS:
        raise Unparsable("order.type")
    fields: dict[str, Any] = {}
    entry = kind in ENTRY_KINDS
    if entry:
        if raw.get("instrument") is not None:
            fields["instrument"] = _word(raw["instrument"], "order.instrument", instruments)
    else:
        for name in ("tradeID", "clientTradeID"):
            if raw.get(name) is not None:
                fields[name] = _text(raw[name], f"order.{name}")
    _read_terms(raw, fields, "order", _NUMBERS[kind], "FOK" if kind == "MARKET" else "GTC")
    if kind != "MARKET":
        fields["triggerCondition"] = _word(
            raw.get("triggerCondition") or "DEFAULT", "order.triggerCondition", _TRIGGERS
        )
    if not entry:
        if kind == "STOP_LOSS":
            fields["guaranteed"] = _flag(raw.get("guaranteed"), "order.guaranteed")
        return Request(kind, fields)
    if kind != "MARKET":
        fields["partialFill"] = "DEFAULT"
    fields["positionFill"] = _word(raw.get("positionFill") or "DEFAULT", "order.positionFill", _POSITION_FILLS)
    if raw.get("tradeClientExtensions") is not None:
        fields["tradeClientExtensions"] = read_extensions(raw["tradeClientExtensions"], "order.tradeClientExtensions")
    for name, made in ON_FILL.items():
        if raw.get(name) is not None:
            fields[name] = read_details(raw[name], f"order.{name}", made)
    if raw.get("guaranteedStopLossOnFill") is not None:
        fields["stopLossOnFill"] = {"timeInForce": "GTC", "guaranteed": True}
    return Request(kind, fields)


def read_details(raw: Any, where: str, kind: str) -> dict[str, Any]:
    """Read a takeProfit, stopLoss or trailingStopLoss object, of an order's on-fill part or of a trade.

    Raises
    ------
    Unparsable
        As `read_order`.
    """
    if not isinstance(raw, dict):
        raise Unparsable(where)
    fields: dict[str, Any] = {}
    _read_terms(raw, fields, where, _NUMBERS[kind], "GTC")
    if kind == "STOP_LOSS" and _flag(raw.get("guaranteed"), f"{where}.guaranteed"):
        fields["guaranteed"] = True
    return fields


def read_extensions(raw: Any, where: str) -> dict[str, str]:
    """Read client extensions: id, tag and comment, all optional texts.

    Raises
    ------
    Unparsable
        If it is no object of texts.
    """
    if not isinstance(raw, dict):
        raise Unparsable(where)
    return {name: _text(raw[name], f"{where}.{name}") for name in ("id", "tag", "comment") if raw.get(name) is not None}


def _read_terms(raw: dict[str, Any], fields: dict[str, Any], where: str, numbers: Iterable[str], force: str) -> None:
    for name in numbers:
        if raw.get(name) is not None:
            number = decimal_of(raw[name])
            if number is None:
                raise Unparsable(f"{where}.{name}")
            fields[name] = f"{number:f}"
    fields["timeInForce"] = _word(raw.get("timeInForce") or force, f"{where}.timeInForce", _RESTING + _IMMEDIATE)
    if raw.get("gtdTime") is not None and fields["timeInForce"] == "GTD":
        gtd_ns = time_of(raw["gtdTime"])
        if gtd_ns is None:
            raise Unparsable(f"{where}.gtdTime")
        fields["gtdTime"] = time_text(gtd_ns)
    if raw.get("clientExtensions") is not None:
        fields["clientExtensions"] = read_extensions(raw["clientExtensions"], f"{where}.clientExtensions")


def _word(value: Any, where: str, words: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in words:
        raise Unparsable(where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise Unparsable(where)
    return value


def _flag(value: Any, where: str) -> bool:
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    raise Unparsable(where)


def check_entry(request: Request, terms: InstrumentTerms | None, now_ns: int) -> None:
    """Check an entry order against the rules that need no market, and normalise its fields.

    Raises
    ------
    Rejected
        With OANDA's reason.
    """
    fields = request.fields
    if terms is None:
        raise Rejected("INSTRUMENT_MISSING")
    check_extensions(fields.get("clientExtensions"), "CLIENT_ORDER")
    check_extensions(fields.get("tradeClientExtensions"), "CLIENT_TRADE")
    _check_force(fields, "", _FORCES.get(request.kind, _RESTING), now_ns)
    fields["units"] = check_units(fields.get("units"), terms)
    if request.kind != "MARKET":
        _check_price(fields, "", "price", terms, required=True)
    _check_price(fields, "", "priceBound", terms, required=False)
    client_ids = [fields.get("clientExtensions", {}).get("id")]
    for name, kind in ON_FILL.items():
        if name in fields:
            check_details(fields[name], f"{kind}_ON_FILL_", kind, terms, now_ns)
            client_ids.append(fields[name].get("clientExtensions", {}).get("id"))
    given = [name for name in client_ids if name is not None]
    if len(given) != len(set(given)):
        raise Rejected("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS")


def check_details(fields: dict[str, Any], prefix: str, kind: str, terms: InstrumentTerms, now_ns: int) -> None:
    """Check and normalise the terms of an order that hangs on a trade.

    Parameters
    ----------
    prefix : str
        What the reasons begin with: "STOP_LOSS_ON_FILL_", ..., or nothing for an order of its own.

    Raises
    ------
    Rejected
        With OANDA's reason.
    """
    check_extensions(fields.get("clientExtensions"), f"{prefix}CLIENT_ORDER")
    _check_force(fields, prefix, _RESTING, now_ns)
    if kind == "TAKE_PROFIT":
        _check_price(fields, prefix, "price", terms, required=True)
    elif kind == "TRAILING_STOP_LOSS":
        _check_distance(fields, f"{prefix}PRICE_DISTANCE", terms, bounded=True)
    else:
        own = prefix or "STOP_LOSS_ORDER_"
        if fields.get("guaranteed"):
            raise Rejected(f"{own}GUARANTEED_NOT_ALLOWED")
        if "price" in fields and "distance" in fields:
            raise Rejected(f"{own}PRICE_AND_DISTANCE_BOTH_SPECIFIED")
        if "price" not in fields and "distance" not in fields:
            raise Rejected(f"{own}PRICE_AND_DISTANCE_BOTH_MISSING")
        if "price" in fields:
            _check_price(fields, prefix, "price", terms, required=True)
        else:
            _check_distance(fields, f"{prefix}DISTANCE" if prefix else "PRICE_DISTANCE", terms, bounded=False)


def check_extensions(extensions: dict[str, str] | None, prefix: str) -> None:
    """Check the lengths of client extensions.

    Raises
    ------
    Rejected
        `<prefix>_ID_INVALID` and so on.
    """
    for name, value in (extensions or {}).items():
        if len(value) > _EXTENSION_LIMIT or (name == "id" and not value):
            raise Rejected(f"{prefix}_{name.upper()}_INVALID")


def check_units(text: str | None, terms: InstrumentTerms) -> str:
    """Check an order's signed units and return them as they are shown.

    Raises
    ------
    Rejected
        With OANDA's reason.
    """
    if text is None:
        raise Rejected("UNITS_MISSING")
    units = Decimal(text)
    if units == ZERO:
        raise Rejected("UNITS_INVALID")
    if decimals_of(units) > terms.units_precision:
        raise Rejected("UNITS_PRECISION_EXCEEDED")
    if abs(units) < terms.units_minimum:
        raise Rejected("UNITS_MIMIMUM_NOT_MET")
    if abs(units) > terms.units_maximum:
        raise Rejected("UNITS_LIMIT_EXCEEDED")
    return plain_text(units)


def _check_force(fields: dict[str, Any], prefix: str, allowed: Iterable[str], now_ns: int) -> None:
    force = fields["timeInForce"]
    if force not in allowed:
        raise Rejected(f"{prefix}TIME_IN_FORCE_INVALID")
    if force == "GTD":
        timestamp = f"{prefix}GTD_TIMESTAMP" if prefix else "TIME_IN_FORCE_GTD_TIMESTAMP"
        if "gtdTime" not in fields:
            raise Rejected(f"{timestamp}_MISSING")
        if (time_of(fields["gtdTime"]) or 0) <= now_ns:
            raise Rejected(f"{timestamp}_IN_PAST")


def _check_price(fields: dict[str, Any], prefix: str, name: str, terms: InstrumentTerms, required: bool) -> None:
    reason = prefix + ("PRICE" if name == "price" else "PRICE_BOUND")
    if name not in fields:
        if required:
            raise Rejected(f"{reason}_MISSING")
        return
    price = Decimal(fields[name])
    if not ZERO < price < _PRICE_LIMIT:
        raise Rejected(f"{reason}_INVALID")
    if decimals_of(price) > terms.display_precision:
        raise Rejected(f"{reason}_PRECISION_EXCEEDED")
    fields[name] = terms.price_text(price)


def _check_distance(fields: dict[str, Any], reason: str, terms: InstrumentTerms, bounded: bool) -> None:
    if "distance" not in fields:
        raise Rejected(f"{reason}_MISSING")
    distance = Decimal(fields["distance"])
    if not ZERO < distance < _PRICE_LIMIT:
        raise Rejected(f"{reason}_INVALID")
    if decimals_of(distance) > terms.display_precision:
        raise Rejected(f"{reason}_PRECISION_EXCEEDED")
    if bounded and distance > terms.trailing_maximum:
        raise Rejected(f"{reason}_MAXIMUM_EXCEEDED")
    if bounded and distance < terms.trailing_minimum:
        raise Rejected(f"{reason}_MINIMUM_NOT_MET")
    fields["distance"] = terms.price_text(distance)

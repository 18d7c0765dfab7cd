"""OANDA's published schema, made strict.

The document of 2018 has no required fields, forbids no unknown ones, and types every transaction and order as its bare
base class, so that almost anything passes. Here each object is dispatched by its `type`, unknown fields fail unless
`fields.ADDED` lists them, required fields are those of `fields.REQUIRED`, and prices, amounts, ids and times must match
patterns.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.validators import extend

from fx_pipeline_tests.broker.paper.fidelity.fields import (
    ADDED,
    ADDED_TO_REPLIES,
    EVERY_TRANSACTION,
    REPLIES,
    REQUIRED,
    SAID_BY_CLIENT,
)

_ID = r"^[1-9]\d*$"
_RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$"
_UNIX = r"^\d+\.\d{9}$"
# The document says which kind of text a field is by the prose in `format`.
_PATTERNS = {
    "String representation of the numerical OANDA-assigned TransactionID": _ID,
    "The string representation of the OANDA-assigned TradeID": _ID,
    "The string representation of the OANDA-assigned OrderID": _ID,
    "A decimal number encoded as a string. The amount of precision provided depends on the Acc": r"^-?\d+\.\d{4}$",
    "A decimal number encoded as a string. The amount of precision provided depends on what": r"^-?\d+(\.\d+)?$",
    "A decimal number encodes as a string. The amount of precision provided depends on the Inst": r"^\d+(\.\d+)?$",
    '"-"-delimited string': r"^\d{3}-\d{3}-\d+-\d{3}$",
    "A string containing the base currency": r"^[A-Z0-9]+_[A-Z0-9]+$",
    "A string containing an ISO 4217 currency": r"^[A-Z]{3}$",
}
_OBJECTS_BY_TYPE = {"Transaction": "Transaction", "Order": "Order"}
# The document gives these the pattern of a number, though they hold text of the client's choosing.
_CLIENT_TEXT = ("clientOrderID", "clientTradeID")


class StrictSchema:
    """The strict form of OANDA's schema.

    Parameters
    ----------
    document : Path
        OANDA's OpenAPI document in JSON.
    unix : bool
        Whether times are UNIX seconds instead of RFC 3339.
    """

    def __init__(self, document: Path, unix: bool = False) -> None:
        published = json.loads(document.read_text())
        self._time = _UNIX if unix else _RFC3339
        self._definitions = {
            name: self._strict(definition, name) for name, definition in published["definitions"].items()
        }
        self._loosen_refusals()
        self._add_dispatch()
        self._add_full_price()
        self._validators: dict[str, Any] = {}
        self._replies: dict[tuple[str, str, int], str] = {}
        self._templates: list[tuple[re.Pattern[str], str]] = []
        for template, operations in published["paths"].items():
            # Literal segments win over parameters: `/transactions/sinceid` before `/transactions/{transactionID}`.
            self._templates.append((re.compile(re.sub(r"\{\w+\}", "[^/]+", template) + "$"), template))
            for method, operation in operations.items():
                # The document leaves out that any operation may be given what it cannot read.
                responses = {"400": {"$ref": "#/responses/400"}, **operation.get("responses", {})}
                for status, response in responses.items():
                    self._add_reply(method.upper(), template, int(status), response, published["responses"])
        self._templates.sort(key=lambda item: item[1].count("{"))

    def template(self, path: str) -> str:
        """Return the document's template of a path below /v3, such as `/accounts/{accountID}/summary`."""
        # The account-scoped candles alias has the reply of the plain one.
        path = re.sub(r"^/accounts/[^/]+(/instruments/[^/]+/candles)$", r"\1", path.removeprefix("/v3"))
        for pattern, template in self._templates:
            if pattern.match(path):
                return template
        raise KeyError(f"the document has no path {path}")

    def problems(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with a reply; nothing if it is as OANDA's."""
        key = (method, self.template(path), status)
        if key not in self._replies:
            return [f"{method} {key[1]} never answers {status}"]
        return self.definition_problems(self._replies[key], body) + list(_precision_problems(body))

    def definition_problems(self, definition: str, instance: Any) -> list[str]:
        """Return what is wrong with an object of one definition, `AnyTransaction` and `AnyOrder` included."""
        found = self._validator(definition).iter_errors(instance)
        return [f"{'.'.join(map(str, error.absolute_path)) or '(top)'}: {error.message[:300]}" for error in found]

    def _validator(self, definition: str) -> Any:
        if definition not in self._validators:
            root = {"$ref": f"#/definitions/{definition}", "definitions": self._definitions}
            self._validators[definition] = _Validator(root)
        return self._validators[definition]

    def _strict(self, node: Any, name: str = "") -> Any:
        if isinstance(node, list):
            return [self._strict(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = node["$ref"].rsplit("/", 1)[-1]
            return {"$ref": f"#/definitions/{f'Any{target}' if target in _OBJECTS_BY_TYPE else target}"}
        strict = {key: self._strict(value) for key, value in node.items() if key not in ("format", "description")}
        kind = node.get("format")
        if isinstance(kind, str):
            strict["pattern"] = self._pattern(kind)
        properties = strict.get("properties")
        if isinstance(properties, dict):
            for text in _CLIENT_TEXT:
                if text in properties:
                    properties[text] = {"type": "string", "maxLength": 128}
            properties.update(copy.deepcopy(ADDED.get(name, {})))
            strict["additionalProperties"] = False
            required = REQUIRED.get(name, "").split()
            if name.endswith("Transaction"):
                required += EVERY_TRANSACTION.split()
            strict["required"] = required
            said = re.search(r'[Aa]lways set to "(\w+)"', str(node["properties"].get("type", {}).get("description")))
            if said:
                properties["type"] = {"const": said[1]}
        return strict

    def _pattern(self, kind: str) -> str:
        if kind.startswith("The RFC 3339 representation"):
            return self._time
        for prefix, pattern in _PATTERNS.items():
            if kind.startswith(prefix):
                return pattern
        return ""

    def _loosen_refusals(self) -> None:
        for name, definition in self._definitions.items():
            for field in SAID_BY_CLIENT.split() if name.endswith("RejectTransaction") else ():
                if field in definition["properties"]:
                    definition["properties"][field] = self._without_patterns(definition["properties"][field])

    def _without_patterns(self, node: Any) -> Any:
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self._without_patterns(self._definitions[node["$ref"].rsplit("/", 1)[-1]])
        return {
            key: self._without_patterns(value) for key, value in node.items() if key not in ("pattern", "maxLength")
        }

    def _add_dispatch(self) -> None:
        for base in _OBJECTS_BY_TYPE:
            by_type = {
                definition["properties"]["type"]["const"]: name
                for name, definition in self._definitions.items()
                if name.endswith(base) and "const" in definition.get("properties", {}).get("type", {})
            }
            self._definitions[f"Any{base}"] = {"type": "object", "required": ["type"], "byType": by_type}

    def _add_full_price(self) -> None:
        # A fill's book has text for liquidity, and its time under either name: as recorded in 2019 and 2026.
        price = copy.deepcopy(self._definitions["ClientPrice"])
        del price["properties"]["type"]
        text = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
        bucket = copy.deepcopy(self._definitions["PriceBucket"])
        bucket["properties"]["liquidity"] = text
        for side in ("bids", "asks"):
            price["properties"][side] = {"type": "array", "items": bucket}
        price["properties"]["timestamp"] = price["properties"]["time"]
        price["required"] = REQUIRED["FullPrice"].split()
        price["anyOf"] = [{"required": ["time"]}, {"required": ["timestamp"]}]
        self._definitions["FullPrice"] = price
        self._definitions["OrderFillTransaction"]["properties"]["fullPrice"] = {"$ref": "#/definitions/FullPrice"}
        candle = self._definitions["Candlestick"]
        candle["anyOf"] = [{"required": [side]} for side in ("bid", "mid", "ask")]
        self._definitions["ClientPrice"]["properties"]["type"] = {"const": "PRICE"}
        for name in ("PricingHeartbeat", "TransactionHeartbeat"):
            self._definitions[name]["properties"]["type"] = {"const": "HEARTBEAT"}

    def _add_reply(self, method: str, template: str, status: int, response: Any, shared: Mapping[str, Any]) -> None:
        if "$ref" in response:
            response = shared[response["$ref"].rsplit("/", 1)[-1]]
        key = (method, template, status)
        schema = self._strict(response["schema"])
        for name in ADDED_TO_REPLIES.get(key, "").split():
            schema["properties"][name] = self._definitions["TransactionID"]
            if name.endswith("IDs"):
                schema["properties"][name] = {"type": "array", "items": self._definitions["TransactionID"]}
        schema["required"] = REPLIES.get(key, "errorMessage" if status >= 400 else "").split()
        name = (
            f"reply {method} {status} {template}".replace("/", "|")
            .replace("{", "(")
            .replace("}", ")")
            .replace(" ", "-")
        )
        self._definitions[name] = schema
        self._replies[key] = name


def _by_type(validator: Any, by_type: dict[str, str], instance: Any, _schema: Any) -> Iterator[Any]:
    kind = instance.get("type") if isinstance(instance, dict) else None
    if kind not in by_type:
        yield jsonschema.ValidationError(f"type {kind!r} is none of {sorted(by_type)}")
        return
    yield from validator.descend(instance, {"$ref": f"#/definitions/{by_type[kind]}"})


_Validator = extend(jsonschema.Draft7Validator, {"byType": _by_type})

_PRICE_FIELDS = frozenset(
    "price priceBound closeoutBid closeoutAsk averagePrice averageClosePrice trailingStopValue fullVWAP o h l c".split()
)


def _precision_problems(node: Any, instrument: str = "", where: str = "") -> Iterator[str]:
    # Prices have the decimals of their instrument: three for a JPY pair, five for most others.
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _precision_problems(item, instrument, f"{where}.{number}")
    elif isinstance(node, dict) and not str(node.get("type", "")).endswith("_REJECT"):
        instrument = str(node.get("instrument", instrument))
        decimals = 3 if instrument.endswith("_JPY") else 5
        for key, value in node.items():
            if key in _PRICE_FIELDS and isinstance(value, str):
                if instrument and len(value.partition(".")[2]) != decimals:
                    yield f"{where}.{key}: {value} does not have the {decimals} decimals of {instrument}"
            else:
                yield from _precision_problems(value, instrument, f"{where}.{key}")

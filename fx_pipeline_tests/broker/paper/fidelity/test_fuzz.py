"""schemathesis against the broker, from OANDA's document: never a 500, never anything but JSON."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from fx_pipeline.broker.paper.config import AccountConfig
from fx_pipeline.broker.paper.exchange import Exchange
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline_tests.broker.paper.fidelity.audit import audit
from fx_pipeline_tests.broker.paper.fidelity.bench import TOKEN, Bench, running
from fx_pipeline_tests.broker.paper.fidelity.markets import HOUR_NS, SWINGS, moment, swinging_store
from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema

ACCOUNT = AccountConfig().account
NOON = moment("2024-01-16T12:00")

# For each kind of text in the document, by the start of its prose: values that make sense, and what clients get wrong.
_VALUES: dict[str, tuple[list[str], list[str]]] = {
    "A decimal number": (
        ["1", "100", "-250", "0.00100", "1.10000", "1.09000", "1.11500", "0.05"],
        ["0", "-1.5", "1e5", "NaN", "-Infinity", "", "x", "9" * 40],
    ),
    "String representation of the numerical": (["1", "2", "3", "5"], ["0", "-1", "999999", "x", "9" * 30]),
    "The string representation of the OANDA-assigned": (["3", "4", "5", "6"], ["0", "999999", "@x", "x"]),
    "Either the": (["3", "4", "5", "6", "@x"], ["@", "999999", "%2e", "x"]),
    '"-"-delimited string': ([ACCOUNT], ["101-001-1000000-002", "x"]),
    "A string containing the base currency": (["EUR_USD", "GBP_JPY", "USD_JPY"], ["ABC_DEF", "EURUSD", "eur_usd", ""]),
    "The RFC 3339 representation": (
        ["2024-01-16T13:00:00.000000000Z", "2024-01-16T11:00:00Z", "1705406400", "1705406400.5"],
        ["2030-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "2024-02-30T00:00:00Z", "tomorrow", "", "9" * 25],
    ),
}
_ORDERS = {
    "Market": "MARKET", "Limit": "LIMIT", "Stop": "STOP", "MarketIfTouched": "MARKET_IF_TOUCHED",
    "TakeProfit": "TAKE_PROFIT", "StopLoss": "STOP_LOSS", "TrailingStopLoss": "TRAILING_STOP_LOSS",
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    store = swinging_store(tmp_path_factory.mktemp("store"), NOON - 36 * HOUR_NS, 72)
    market = PaperMarket(store, synthetic=False)
    with running(lambda: Exchange.open(market, AccountConfig(), sorted(SWINGS), NOON, 0)) as bench:
        yield bench


def bent_document(reference: Path, plausible: bool) -> dict[str, Any]:
    """OANDA's document with values that reach deeper than random text, and orders of every kind.

    Parameters
    ----------
    plausible : bool
        Whether all that is sent makes sense by itself, so that orders are filled and found again.
    """
    published = json.loads((reference / "v20-openapi-3.0.25.json").read_text())
    bent: dict[str, Any] = _with_values(published, plausible)
    definitions = bent["definitions"]
    orders = [{"$ref": f"#/definitions/{name}OrderRequest"} for name in _ORDERS]
    definitions["OrderRequest"] = {"anyOf": orders if plausible else [*orders, {"type": "object"}]}
    for name, kind in _ORDERS.items():
        definition = definitions[f"{name}OrderRequest"]
        definition["properties"]["type"] = {"enum": [kind]}
        needed = ("type", "instrument", "units", "price", "tradeID")
        definition["required"] = [field for field in needed if field in definition["properties"]]
        if plausible:
            # Free text of clients is generated as binary noise otherwise, and refused.
            for details in ("clientExtensions", "tradeClientExtensions", "gtdTime", "clientTradeID", "guaranteed"):
                definition["properties"].pop(details, None)
            definition["properties"]["timeInForce"] = {"enum": ["FOK"] if kind == "MARKET" else ["GTC", "GFD"]}
            definition["additionalProperties"] = False
    # Streams do not end; the exact paths of the document that the broker does not have answer 404 in JSON.
    bent["paths"] = {path: item for path, item in bent["paths"].items() if not path.endswith("/stream")}
    if plausible:
        for item in bent["paths"].values():
            for operation in item.values():
                for parameter in operation.get("parameters", []):
                    if parameter.get("in") == "body":
                        parameter["schema"]["required"] = list(parameter["schema"]["properties"])
                        parameter["schema"]["additionalProperties"] = False
    return bent


def _with_values(node: Any, plausible: bool) -> Any:
    if isinstance(node, list):
        return [_with_values(item, plausible) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("format")
    if node.get("type") == "string" and isinstance(kind, str):
        for start, (right, wrong) in _VALUES.items():
            if kind.startswith(start):
                kept = {key: value for key, value in node.items() if key != "format"}
                return {**kept, "enum": right if plausible else right + wrong}
    return {key: _with_values(value, plausible) for key, value in node.items()}


def _fuzz(
    bench: Bench, document: dict[str, Any], schema: StrictSchema, mode: GenerationMode, examples: int
) -> set[int]:
    loaded = schemathesis.openapi.from_dict(copy.deepcopy(document))
    statuses: set[int] = set()
    with requests.Session() as session:
        session.trust_env = False

        for result in loaded.get_all_operations():
            operation = result.ok()

            @seed(1)
            @settings(
                max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )  # fmt: skip
            @given(operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                reply = case.call(base_url=f"{bench.url}/v3", session=session, headers=headers, timeout=20)
                said = (
                    f"{reply.request.method} {reply.request.url} {str(reply.request.body)[:500]} -> {reply.status_code}"
                )
                assert reply.status_code < 500, f"{said}: {reply.text[:500]}"
                assert reply.headers["content-type"] == ["application/json"], said
                body = json.loads(reply.content)
                statuses.add(reply.status_code)
                if reply.status_code < 300:
                    method, path = str(reply.request.method), case.formatted_path
                    problems = schema.problems(method, path, reply.status_code, body)
                    assert not problems, f"{said}: {problems[:5]}"
                else:
                    assert body["errorMessage"], said

            check()
    return statuses


def _history(bench: Bench) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        account = f"{bench.url}/v3/accounts/{ACCOUNT}"
        summary = session.get(f"{account}/summary", timeout=20).json()["account"]
        return session.get(f"{account}/transactions/sinceid?id=0", timeout=20).json()["transactions"], summary


def test_a_little_of_everything(bench: Bench, reference: Path, schema: StrictSchema) -> None:
    document = bent_document(reference, plausible=True)
    statuses = _fuzz(bench, document, schema, GenerationMode.POSITIVE, examples=4)
    assert {200, 400, 404} <= statuses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plausible", "mode", "examples"),
    [(True, GenerationMode.POSITIVE, 60), (False, GenerationMode.POSITIVE, 20), (False, GenerationMode.NEGATIVE, 20)],
)
def test_much_of_everything(
    plausible: bool, mode: GenerationMode, examples: int, bench: Bench, reference: Path, schema: StrictSchema
) -> None:
    _fuzz(bench, bent_document(reference, plausible), schema, mode, examples)
    # What was thrown at it left the account in order.
    history, summary = _history(bench)
    assert audit(history, summary) == []
    for transaction in history:
        assert schema.definition_problems("AnyTransaction", transaction) == [], transaction
    if plausible:
        assert {"ORDER_FILL", "LIMIT_ORDER", "MARKET_ORDER"} <= {item["type"] for item in history}

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

# Values for the document's kinds of text, by the start of its prose: plausible ones, and what clients get wrong.
_VALUES = {
    "A decimal number": [
        *("1", "-1", "100", "-250", "0", "1.5", "1.10000", "1.09000", "1e5", "NaN", "-Infinity", "", "x", "9" * 40),
    ],
    "String representation of the numerical": ["1", "2", "3", "5", "0", "-1", "999999", "x", "9" * 30],
    "The string representation of the OANDA-assigned": ["1", "3", "4", "5", "0", "999999", "@x", "x"],
    "Either the": ["1", "3", "4", "5", "@x", "@", "999999", "%2e", "x"],
    '"-"-delimited string': [ACCOUNT, ACCOUNT, ACCOUNT, "101-001-1000000-002", "x"],
    "A string containing the base currency": ["EUR_USD", "GBP_JPY", "USD_JPY", "ABC_DEF", "EURUSD", "eur_usd"],
    "The RFC 3339 representation": [
        "2024-01-16T12:00:00.000000000Z", "2024-01-16T11:00:00Z", "1705406400", "1705406400.5", "2030-01-01T00:00:00Z",
        "1900-01-01T00:00:00Z", "2024-02-30T00:00:00Z", "tomorrow", "", "9" * 25,
    ],
}  # fmt: skip
_ORDERS = "Market Limit Stop MarketIfTouched TakeProfit StopLoss TrailingStopLoss".split()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    store = swinging_store(tmp_path_factory.mktemp("store"), NOON - 36 * HOUR_NS, 72)
    market = PaperMarket(store, synthetic=False)
    with running(lambda: Exchange.open(market, AccountConfig(), sorted(SWINGS), NOON, 0)) as bench:
        yield bench


@pytest.fixture(scope="module")
def document(reference: Path) -> dict[str, Any]:
    """OANDA's document with values that reach deeper than random text, and orders of every kind."""
    published = json.loads((reference / "v20-openapi-3.0.25.json").read_text())
    bent: dict[str, Any] = _with_values(published)
    bent["definitions"]["OrderRequest"] = {
        "anyOf": [
            *({"$ref": f"#/definitions/{name}OrderRequest"} for name in _ORDERS),
            {"type": "object"},
        ]
    }
    for name, kind in zip(
        _ORDERS, "MARKET LIMIT STOP MARKET_IF_TOUCHED TAKE_PROFIT STOP_LOSS TRAILING_STOP_LOSS".split(), strict=True
    ):
        definition = bent["definitions"][f"{name}OrderRequest"]
        definition["properties"]["type"] = {"enum": [kind]}
        definition["required"] = [
            "type",
            *(["instrument", "units"] if "instrument" in definition["properties"] else ["tradeID"]),
        ]
    # Streams do not end; the exact paths of the document that the broker does not have answer 404 in JSON.
    bent["paths"] = {path: item for path, item in bent["paths"].items() if not path.endswith("/stream")}
    return bent


def _with_values(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_values(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("format")
    if node.get("type") == "string" and isinstance(kind, str):
        for start, values in _VALUES.items():
            if kind.startswith(start):
                return {**{key: value for key, value in node.items() if key != "format"}, "enum": values}
    return {key: _with_values(value) for key, value in node.items()}


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


def test_a_little_of_everything(bench: Bench, document: dict[str, Any], schema: StrictSchema) -> None:
    statuses = _fuzz(bench, document, schema, GenerationMode.POSITIVE, examples=4)
    assert {200, 400, 404} <= statuses


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_much_of_everything(bench: Bench, document: dict[str, Any], schema: StrictSchema, mode: GenerationMode) -> None:
    _fuzz(bench, document, schema, mode, examples=35)
    # What was thrown at it left the account in order.
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        account = f"{bench.url}/v3/accounts/{ACCOUNT}"
        summary = session.get(f"{account}/summary", timeout=20).json()["account"]
        history = session.get(f"{account}/transactions/sinceid?id=0", timeout=20).json()["transactions"]
    assert audit(history, summary) == []

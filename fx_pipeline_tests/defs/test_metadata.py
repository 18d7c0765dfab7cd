"""Whatever numbers a builder of metadata is fed, Dagster can store what it builds."""

import ast
import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from dagster._serdes import deserialize_value, serialize_value

import fx_pipeline.defs
from fx_pipeline.defs.metadata import link, plain, table
from fx_pipeline.validation.report_page import page_environment

FOLDER = Path(fx_pipeline.defs.__file__).parent
#: What takes metadata at run time; an asset's own definition is no result.
_RESULTS = {"MaterializeResult", "AssetCheckResult", "AssetCheckEvaluation", "AssetMaterialization", "AssetObservation"}
#: Says to Dagster that the events were made elsewhere.
_CONSTANT = "NO_OWN_EVENTS"


def stored(metadata: dict[str, Any]) -> dict[str, Any]:
    """Write metadata down and read it again, as Dagster's event log does."""
    event = deserialize_value(serialize_value(dg.AssetMaterialization("a", metadata=metadata)), dg.AssetMaterialization)
    return {name: value.value for name, value in event.metadata.items()}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.float64("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.datetime64("2024-01-01", "ns"), "2024-01-01T00:00:00.000000000"),
        (np.timedelta64(3, "m"), "3 minutes"),
        (pd.Timestamp("2024-01-01", tz="UTC"), "2024-01-01 00:00:00+00:00"),
        (dt.date(2024, 1, 1), "2024-01-01"),
        (Path("a/b"), "a/b"),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        ((1, np.int32(2)), [1, 2]),
        ({"a": np.float64(1.0), "b": [np.int64(1)]}, {"a": 1.0, "b": [1]}),
        (dg.MetadataValue.float(np.float64(2.5)), 2.5),
        (dg.MetadataValue.json({"a": np.float64(2.5)}), {"a": 2.5}),
        (dg.MetadataValue.url("http://a"), "http://a"),
        (dg.MetadataValue.md("# a"), "# a"),
        (None, None),
        (2**40, 2**40),
    ],
)
def test_every_kind_of_value_is_stored(value: Any, kept: Any) -> None:
    assert stored(plain({"x": value})) == {"x": kept}


def test_tables_are_stored_cell_by_cell() -> None:
    cells = {"a": np.float64(1.5), "b": np.int64(2), "c": None, "d": np.bool_(False), "e": float("nan")}
    kept = {"a": 1.5, "b": 2, "c": "", "d": False, "e": "nan"}
    by_hand = dg.MetadataValue.table([dg.TableRecord({"a": np.float64(1.5)})])
    found = stored(plain({"ours": table([cells]), "by hand": by_hand}))
    assert [dict(record.data) for record in found["ours"].records] == [kept]
    assert [dict(record.data) for record in found["by hand"].records] == [{"a": 1.5}]


def results(path: Path) -> list[tuple[int, ast.expr]]:
    found = []
    for call in ast.walk(ast.parse(path.read_text())):
        name = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
        if isinstance(call, ast.Call) and name in _RESULTS:
            found += [(call.lineno, word.value) for word in call.keywords if word.arg == "metadata"]
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_all_metadata_go_through_it(path: Path) -> None:
    bare = [
        line
        for line, value in results(path)
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "plain")
        and _CONSTANT not in ast.unparse(value)
    ]
    assert not bare, f"{path.name}:{bare}: hand metadata={{...}} over as metadata=plain({{...}})"


def test_there_are_results_to_look_at() -> None:
    assert sum(len(results(path)) for path in FOLDER.glob("*.py")) > 20


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000/#/runs/1", "https://mlflow.example.com/"])
def test_pages_are_links(address: str) -> None:
    assert link(address) == dg.MetadataValue.url(address)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", ""])
def test_the_rest_is_text(address: str) -> None:
    assert link(address) == dg.MetadataValue.text(address)
    page = page_environment().from_string("{{ 'link' if address is web_link else 'text' }}")
    assert page.render(address=address) == "text"

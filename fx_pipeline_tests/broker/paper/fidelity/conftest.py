"""OANDA's published schema and recorded replies, which lie beside the checkout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fx_pipeline_tests.broker.paper.fidelity.strict import StrictSchema

REFERENCE = Path(__file__).resolve().parents[5] / "shared" / "reference" / "oanda"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with OANDA's OpenAPI document and recorded replies."""
    if not REFERENCE.is_dir():
        pytest.skip(f"OANDA's schema and recorded replies are not here: {REFERENCE} does not exist")
    return REFERENCE


@pytest.fixture(scope="session")
def schema(reference: Path) -> StrictSchema:
    """OANDA's schema, made strict."""
    return StrictSchema(reference / "v20-openapi-3.0.25.json")


@pytest.fixture(scope="session")
def recorded(reference: Path) -> Mapping[str, Any]:
    """The recorded replies by file name below `replies`, without the suffix."""
    folder = reference / "replies"
    return {
        str(path.relative_to(folder).with_suffix("")): json.loads(path.read_text())
        for path in sorted(folder.rglob("*.json"))
    }

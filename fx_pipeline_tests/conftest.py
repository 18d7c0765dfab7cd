"""Fixtures that several rooms share."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real candles, beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real candles are not here: {SHARED_DATA} does not exist")
    return SHARED_DATA

"""A fresh store takes seconds to make: the tests of this folder copy one."""

from pathlib import Path

import pytest

from fx_pipeline.tracking.mlflow_store import Tracking


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store that has nothing in it. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("fresh")
    _ = Tracking(f"sqlite:///{folder}/mlflow.db").client
    return folder / "mlflow.db"

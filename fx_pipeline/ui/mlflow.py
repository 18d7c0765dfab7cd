"""The MLflow UI of a data folder."""

import sys
from pathlib import Path

from fx_pipeline.layout import Layout
from fx_pipeline.market.errors import ConfigurationError


def mlflow_command(layout: Layout, port: int) -> list[str]:
    """Return the command line of MLflow's server, which turns away requests under foreign names and of other pages.

    Raises
    ------
    ConfigurationError
        If MLflow is not installed, or nothing was tracked yet: the server would make an empty store.
    """
    program = Path(sys.executable).with_name("mlflow")
    if not program.exists():
        raise ConfigurationError(f"{program} is not there: run make setup.")
    store = layout.data_dir / "mlflow.db"
    if not store.exists():
        raise ConfigurationError(f"{store} is not there yet: run make demo, or train a window.")
    return [
        *(str(program), "server", "--backend-store-uri", layout.mlflow_uri),
        *("--artifacts-destination", str(layout.mlflow_artifacts.resolve())),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"),
        *("--cors-allowed-origins", f"http://127.0.0.1:{port},http://localhost:{port}"),
    ]

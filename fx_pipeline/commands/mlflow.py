"""The command `fx-pipeline mlflow`."""

import os
import sys
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain


def mlflow(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Open the MLflow UI of the data folder on loopback, until it is interrupted."""
    with clear_errors():
        from fx_pipeline.settings import load_settings
        from fx_pipeline.ui.mlflow import mlflow_command

        command = mlflow_command(load_settings().layout, port)
        plain(console, f"MLflow: http://127.0.0.1:{port}  (it takes half a minute to start)")
        sys.stdout.flush()
        os.execv(command[0], command)

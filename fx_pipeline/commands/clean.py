"""The command `fx-pipeline clean`."""

from pathlib import Path
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain


def clean(
    all_: Annotated[
        bool, typer.Option("--all", help="Imported candles, models, tracking and the trial ledger, too.")
    ] = False,
) -> None:
    """Remove from the data folder what can be made again. What the pipeline has not made stays in any case."""
    with clear_errors():
        from fx_pipeline.clean_command import clean_folder
        from fx_pipeline.settings import load_settings

        for line in clean_folder(load_settings(), Path.cwd(), everything=all_):
            plain(console, line)

"""The command `fx-pipeline health`."""

import json
import sys
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain


def health(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    address: Annotated[bool, typer.Option("--address", help="Print the start address of the Dagster UI.")] = False,
) -> None:
    """Say in a line whether fx-pipeline ui runs and is well: code servers, daemon, web server, and sensors that look.

    Leaves with status 1 when it is not. --json prints well, line and health: what the file ui/health.json of the data
    folder says (null where there is none).
    """
    with clear_errors():
        from dataclasses import asdict

        from fx_pipeline.settings import load_settings
        from fx_pipeline.ui.access import access_token
        from fx_pipeline.ui.guard import PARAMETER
        from fx_pipeline.ui.health import NAME, judge, read_health

        folder = load_settings().layout.ui
        found = read_health(folder / NAME)
        well, line = judge(found)
        if json_:
            record = {"well": well, "line": line, "health": asdict(found) if found else None}
            sys.stdout.write(json.dumps(record, allow_nan=False) + "\n")
        elif address and found is not None:
            plain(console, f"{found.addresses['dagster']}?{PARAMETER}={access_token(folder)}")
        else:
            plain(console, line)
    if not well:
        raise typer.Exit(1)

"""The command `fx-pipeline summary`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fx_pipeline.commands.console import clear_errors, console


def summary(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Show the validation report that was materialised last."""
    with clear_errors():
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.settings import load_settings
        from fx_pipeline.validation.records import SUMMARY
        from fx_pipeline.validation.report import pointed_at, read_report, report_summary

        folder = pointed_at(load_settings().layout.newest_report)
        if folder is None or not (folder / "report.json").exists():
            raise DataError("there is no validation report yet: run make demo, or materialise validation_report.")
        newest: dict[str, Any] = report_summary(read_report(folder, SUMMARY))
        newest["report"] = str(Path(newest["report"]).resolve())
    if json_:
        # Plain print: rich would wrap the line.
        sys.stdout.write(json.dumps(newest, allow_nan=False) + "\n")
        return
    table = Table(show_header=False, box=None)
    for name, value in newest.items():
        table.add_row(name, Text("; ".join(value) if isinstance(value, list) else str(value)))
    console.print(table)

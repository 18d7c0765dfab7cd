"""The command `fx-pipeline import`: candle files into the paper server's store, and what was assumed of them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fx_pipeline.ingest.companions import reports_among
from fx_pipeline.ingest.hours import Stamped
from fx_pipeline.ingest.importers import ImportReport, common_instrument, held_instrument, import_files
from fx_pipeline.ingest.sides import Side
from fx_pipeline.ingest.sniff import Format
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import timeframe as find_timeframe


def run_import(
    files: Sequence[Path],
    data_dir: Path,
    instrument: str | None = None,
    format: str | None = None,
    utc_offset: str | None = None,
    side: str | None = None,
    bar_time: str | None = None,
    now_ns: int | None = None,
    progress: Callable[[float], None] | None = None,
    leave_out_weekends: bool = False,
    timeframe: str | None = None,
) -> ImportReport:
    """Import files as `import_files` does, of the instrument that is given or that they say.

    Raises
    ------
    DataError, ConfigurationError
        Those of `import_files`, and if a file is none.
    """
    for path in files:
        if not path.is_file():
            raise DataError(f"{path} is not a file.")
    known = cast("Format | None", format)
    reports = reports_among(files)
    named = [path for path in files if path not in reports]
    return import_files(
        files,
        common_instrument(named, instrument, lambda path: held_instrument(path, known)),
        known,
        data_dir,
        utc_offset=utc_offset,
        side=cast("Side | None", side),
        now_ns=now_ns,
        progress=progress,
        stamped=cast("Stamped | None", bar_time),
        leave_out_weekends=leave_out_weekends,
        timeframe=find_timeframe(timeframe) if timeframe is not None else None,
    )


def show_import(report: ImportReport, console: Console) -> None:
    """Print what an import did and what it assumed."""
    table = Table(show_header=False, box=None)
    for label, value in (
        ("rows read", f"{report.rows:,}"),
        ("candles", f"{report.imported:,} ({report.added:,} new, {report.changed:,} changed)"),
        ("left out", f"{report.duplicates:,} duplicates, {report.without_tick:,} filled in by the publisher"),
        *([("superseded", f"{report.superseded:,} by a later file")] if report.superseded else []),
        ("quarantined", f"{report.quarantined:,} {report.reasons or ''}"),
        ("months", f"{report.months[0]} to {report.months[-1]}" if report.months else "none"),
    ):
        table.add_row(label, Text(value))
    # Each claim is a label and what is said under it.
    for sentence in report.assumptions:
        label, colon, text = sentence.partition(": ")
        table.add_row(Text(label if colon else "assumed"), Text(text if colon else sentence))
    console.print(table, highlight=False)
    if report.changed:
        shown = ", ".join(
            f"{datetime.fromtimestamp(at // 10**9, UTC):%Y-%m-%d %H:%M}" for at in report.changed_times[:5]
        )
        console.print(
            f"[yellow]changed[/]: {report.changed:,} candles stood in the store with other values and were "
            f"replaced, at {shown}{' ...' if report.changed > 5 else ''} UTC",
            highlight=False,
            soft_wrap=True,
        )
    for path in report.quarantine_files:
        console.print(f"quarantined rows, with reasons: {path}", highlight=False, soft_wrap=True, markup=False)

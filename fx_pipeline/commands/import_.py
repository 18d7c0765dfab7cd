"""The command `fx-pipeline import`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console, import_progress


def import_(
    files: Annotated[list[Path], typer.Argument(help="Candle files of one instrument and timeframe.")],
    instrument: Annotated[
        str | None, typer.Option(help="OANDA name, such as GBP_JPY; guessed from the file names.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="parquet, csv, histdata, metatrader or dukascopy; guessed from each file.")
    ] = None,
    utc_offset: Annotated[
        str | None,
        typer.Option(
            help="Clock of the files: hours ahead of UTC (such as +3) or a zone (Europe/Athens). Not for times that "
            "carry a zone themselves."
        ),
    ] = None,
    side: Annotated[str | None, typer.Option(help="The price side of a file that has one: mid, bid or ask.")] = None,
    bar_time: Annotated[
        str | None, typer.Option(help="What the times of the files are: the open of a bar (assumed) or its end.")
    ] = None,
    leave_out_weekends: Annotated[
        bool, typer.Option("--leave-out-weekends", help="Leave out bars at FX weekends, which some publishers have.")
    ] = False,
    timeframe: Annotated[
        str | None, typer.Option(help="Length of the bars: M1, M5, M15, H1, H4 or D; found out from their times.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Put real candles into the paper server's store, from which they travel the same road as OANDA's.

    Whatever was assumed of the files is said, with the evidence; a file that contradicts it is refused.

    --json prints instrument, side (bid, mid, ask, or "bid and ask"), clock, timeframe, stamped (open or end: what the
    files' times were taken for), candles, quarantined, filled_in (rows of minutes without a tick, left out), costs
    (quoted, or modelled) and assumptions, a list of sentences.
    """
    with clear_errors():
        from fx_pipeline.import_command import run_import, show_import
        from fx_pipeline.settings import load_settings

        with import_progress(", ".join(path.name for path in files)) as progress:
            report = run_import(
                files,
                load_settings().data_dir,
                instrument,
                format,
                utc_offset,
                side,
                bar_time,
                time.time_ns(),
                progress,
                leave_out_weekends,
                timeframe,
            )
        if json_:
            # Plain print: rich would wrap the line.
            sys.stdout.write(json.dumps(report.contract(), allow_nan=False) + "\n")
            return
        show_import(report, console)

"""The command `fx-pipeline gaps`."""

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from fx_pipeline.commands.console import clear_errors, console


def gaps(
    instrument: Annotated[
        str | None, typer.Argument(help="OANDA name: month by month; without it, a line for each instrument.")
    ] = None,
    timeframe: Annotated[str, typer.Option(help="Length of the bars: M1, M5, M15, H1, H4 or D.")] = "M1",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Show what the lake lacks against the FX calendar: expected, present, missing and unexpected bars.

    --json prints {"months": {INSTRUMENT: [...]}} with an object for each month in order: month, bars (in the lake),
    expected, present, missing, missing_percent, unexpected (bars that the calendar does not expect),
    longest_gap_minutes and longest_gap_start (UTC; null without a gap).
    """
    with clear_errors():
        from fx_pipeline.ingest.lake import lake_instruments
        from fx_pipeline.ingest.layout import lake_folder
        from fx_pipeline.ingest.overview import month_gaps, total
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.market.timeframe import M1
        from fx_pipeline.market.timeframe import timeframe as find_timeframe
        from fx_pipeline.settings import load_settings

        settings, bars = load_settings(), find_timeframe(timeframe)
        lake = lake_folder(settings.data_dir)
        names = lake_instruments(lake, bars)
        if not names and bars == M1:
            raise DataError(f"{lake} has no candles yet: run make demo, or materialise raw_candles and m1_candles.")
        if not names:
            raise DataError(f"{lake} has no {bars} candles yet: materialise {bars.slug}_candles.")
        if instrument is not None and instrument not in names:
            what = "candles" if bars == M1 else f"{bars} candles"
            raise DataError(f"the lake has no {what} of {instrument}: it has {', '.join(names)}.")
        found = {
            name: month_gaps(lake, name, settings.calendar_of(name), timeframe=bars)
            for name in ([instrument] if instrument else names)
        }
    if json_:
        records = {name: [month.record() for month in of] for name, of in found.items()}
        sys.stdout.write(json.dumps({"months": records}, allow_nan=False) + "\n")
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in (*(() if instrument else ("instrument",)), "month" if instrument else "months"):
        table.add_column(heading, no_wrap=True)
    for heading in ("expected", "present", "missing", "%", "unexpected", "longest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, months in found.items():
        for month in months if instrument else [total(months)]:
            gap = month.gaps
            minutes = (gap.expected, gap.present, gap.missing, gap.unexpected, gap.longest_gap_minutes)
            shown = [f"{count:,}" for count in minutes]
            shown.insert(3, f"{gap.missing_percent:.2f}")
            table.add_row(*(() if instrument else (name,)), month.month, *shown)
    console.print(table)
    console.print("minutes, against the FX calendar; longest is the longest gap", style="dim")

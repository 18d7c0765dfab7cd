"""The command `fx-pipeline`."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fx_pipeline.market.errors import FxPipelineError

app = typer.Typer(
    help="From OANDA candles to validated forex trading agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print the project's own errors as one line and leave with status 2; anything else keeps its traceback."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        # Dagster raises a user's exception from one that it was the cause of: the chain can be a circle.
        seen: set[int] = set()
        while cause is not None and not isinstance(cause, FxPipelineError) and id(cause) not in seen:
            seen.add(id(cause))
            cause = cause.__cause__ or cause.__context__
        if not isinstance(cause, FxPipelineError):
            raise
        errors.print(f"[red]error:[/] {cause}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Candle files of one instrument, M1 bars.")],
    instrument: Annotated[
        str | None, typer.Option(help="OANDA name, such as GBP_JPY; guessed from the file name.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="parquet, csv, histdata, metatrader or dukascopy; guessed from the file.")
    ] = None,
    utc_offset: Annotated[
        str | None, typer.Option(help="Clock of the file: hours ahead of UTC (such as +3) or a zone (Europe/Athens).")
    ] = None,
    side: Annotated[str | None, typer.Option(help="The price side of a file that has one: mid, bid or ask.")] = None,
) -> None:
    """Put real candles into the paper server's store, from which they travel the same road as OANDA's."""
    with clear_errors():
        from fx_pipeline.ingest.importers import guess_format, guess_instrument, import_files
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.settings import load_settings

        for path in files:
            if not path.is_file():
                raise DataError(f"{path} is not a file.")
        name = instrument or guess_instrument(files[0])
        report = import_files(
            files,
            name,
            format or guess_format(files[0]),  # type: ignore[arg-type]
            load_settings().data_dir,
            utc_offset=utc_offset,
            side=side,  # type: ignore[arg-type]
            now_ns=time.time_ns(),
            progress=lambda line: errors.print(f"  {line}", highlight=False, soft_wrap=True),
        )
        table = Table(show_header=False, box=None)
        for label, value in (
            ("instrument", name),
            ("rows read", f"{report.rows:,}"),
            ("candles", f"{report.imported:,} ({report.added:,} new, {report.changed:,} changed)"),
            ("left out", f"{report.duplicates:,} duplicates, {report.without_tick:,} filled in by the publisher"),
            ("quarantined", f"{report.quarantined:,} {report.reasons or ''}"),
            ("months", f"{report.months[0]} to {report.months[-1]}" if report.months else "none"),
            ("clock", "checked against the FX weekend" if report.clock_checked else "not checkable: no weekend inside"),
        ):
            table.add_row(label, value)
        console.print(table)
        for path in report.quarantine_files:
            console.print(f"quarantined rows, with reasons: {path}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    candles: Annotated[
        list[Path] | None, typer.Option(help="M1 candle file to run on; without it, a synthetic market.")
    ] = None,
    instrument: Annotated[str | None, typer.Option(help="OANDA name; guessed from the file name.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the file; guessed.")] = None,
    utc_offset: Annotated[str | None, typer.Option(help="Clock of the file, as for import.")] = None,
    windows: Annotated[int, typer.Option(min=1, help="Newest walk-forward windows to train and validate.")] = 1,
) -> None:
    """Run the whole chain: candles, features, sessions, training, Monte Carlo validation, gate."""
    began = time.perf_counter()
    with clear_errors():
        from fx_pipeline.demo import find_project, only_one, run_demo, use_project
        from fx_pipeline.ingest.importers import guess_instrument
        from fx_pipeline.market.atomic import remove_leftovers
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.market.instrument import instrument as find_instrument
        from fx_pipeline.progress_display import Display
        from fx_pipeline.settings import load_settings

        files = [path.resolve() for path in candles or []]
        for path in files:
            if not path.is_file():
                raise DataError(f"{path} is not a file: CANDLES= takes the path of an M1 candle file.")
        use_project(find_project())
        settings = load_settings()
        name = instrument or (guess_instrument(files[0]) if files else settings.instruments[0])
        find_instrument(name)
        with only_one(settings.data_dir):
            for leftover in remove_leftovers(settings.data_dir):
                console.print(f"removed what a killed process left: {leftover}")
            result = run_demo(settings, name, Display(console), files, format, windows, utc_offset)
    figures, verdict = result.report["figures"], result.report["figures"]["verdict"]
    console.rule()
    colour = "green" if verdict == "promoted" else "yellow"
    expectancy = figures["expectancy_pips"]
    console.print(f"verdict on {name}, window {figures['window']}: [{colour} bold]{verdict}[/]", highlight=False)
    for reason in figures["reasons"]:
        console.print(f"  - {reason}", highlight=False)
    console.print(
        f"{figures['trades']} trades in {figures['sessions']} sessions"
        + (f", {expectancy:.2f} pips a trade after costs" if expectancy is not None else ""),
        highlight=False,
    )
    if result.report["lineage"]["source"] == "synthetic":
        console.print(
            "[yellow]The market is SYNTHETIC:[/] give real candles with make demo CANDLES=FILE.", highlight=False
        )
    if result.live:
        console.print(f"dry run of live trading: {result.live['action']} after {result.live['bar']}", highlight=False)
    console.print(f"report page: {Path(result.report['run']['report']).resolve()}", soft_wrap=True, highlight=False)
    console.print(f"the pipeline in a browser: make ui   (took {time.perf_counter() - began:.0f} s)", highlight=False)


@app.command()
def summary(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Show the validation report that was materialised last."""
    with clear_errors():
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.settings import load_settings
        from fx_pipeline.validation.report import read_report, report_summary

        pointer = load_settings().layout.newest_report
        folder = Path(json.loads(pointer.read_text())["folder"]) if pointer.exists() else None
        if folder is None or not (folder / "report.json").exists():
            raise DataError("there is no validation report yet: run make demo, or materialise validation_report.")
        newest: dict[str, Any] = report_summary(read_report(folder))
        newest["report"] = str(Path(newest["report"]).resolve())
    if json_:
        # Plain print: rich would wrap the line.
        sys.stdout.write(json.dumps(newest, allow_nan=False) + "\n")
        return
    table = Table(show_header=False, box=None)
    for name, value in newest.items():
        table.add_row(name, "; ".join(value) if isinstance(value, list) else str(value))
    console.print(table)


@app.command()
def broker(
    token: Annotated[str, typer.Option(help="Bearer token that clients must show.", envvar="FX_PAPER_TOKEN")],
    candles: Annotated[
        Path | None, typer.Option(help="Store of imported candles; absent: that of the data folder.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on loopback.")] = 8700,
) -> None:
    """Serve the OANDA v20 candles endpoint on loopback until interrupted."""
    with clear_errors():
        from fx_pipeline.broker.paper.embedded import serve
        from fx_pipeline.settings import load_settings

        store = candles or load_settings().layout.paper_store
        errors.print(f"serving {store} on http://127.0.0.1:{port} (FX_PAPER_URL); Ctrl-C stops", highlight=False)
        serve(store, token, port=port)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    reports_port: Annotated[int, typer.Option(help="Port on which the report pages are served.")] = 3001,
) -> None:
    """Open the pipeline: the Dagster UI with its daemon, and the report pages, on loopback."""
    with clear_errors():
        import signal
        import subprocess

        from fx_pipeline.demo import clear_killed_demos, find_project, use_project
        from fx_pipeline.reports_server import serving_reports
        from fx_pipeline.settings import load_settings

        use_project(find_project())
        clear_killed_demos(load_settings().data_dir)
        # The file list of the code location depends on these, so they are set before it loads.
        os.environ["FX_REPORTS_URL"] = f"http://127.0.0.1:{reports_port}"
        dagster = Path(sys.executable).with_name("dagster")
        with serving_reports(load_settings().layout.reports, reports_port):
            console.print(f"Dagster UI: http://127.0.0.1:{port}   reports: http://127.0.0.1:{reports_port}")
            command = [str(dagster), "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
            # A shell starts background jobs with SIGINT ignored, which Dagster's processes would inherit and not stop.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            process = subprocess.Popen(command)
            # A terminal sends Ctrl-C to both processes; a supervisor's SIGTERM reaches this one only: pass it on.
            signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:
                    continue
    raise typer.Exit(code)


if __name__ == "__main__":
    app()

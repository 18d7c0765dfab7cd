"""The command `fx-pipeline`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
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
        errors.print(f"[red]error:[/] {escape(str(cause))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


@contextmanager
def import_progress(title: str) -> Iterator[Callable[[float], None] | None]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not errors.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def clear_leftovers(data_dir: Path) -> None:
    """Remove half-written files of processes that are gone, and say so."""
    from fx_pipeline.market.atomic import remove_leftovers

    for leftover in remove_leftovers(data_dir):
        console.print(f"removed what a killed process left: {leftover}")


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Candle files of one instrument, M1 bars.")],
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
) -> None:
    """Put real candles into the paper server's store, from which they travel the same road as OANDA's."""
    with clear_errors():
        from fx_pipeline.ingest.importers import common_instrument, import_files
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.settings import load_settings

        for path in files:
            if not path.is_file():
                raise DataError(f"{path} is not a file.")
        name = common_instrument(files, instrument)
        with import_progress(", ".join(path.name for path in files)) as progress:
            report = import_files(
                files,
                name,
                format,  # type: ignore[arg-type]
                load_settings().data_dir,
                utc_offset=utc_offset,
                side=side,  # type: ignore[arg-type]
                now_ns=time.time_ns(),
                progress=progress,
            )
        table = Table(show_header=False, box=None)
        for label, value in (
            ("instrument", name),
            ("rows read", f"{report.rows:,}"),
            ("candles", f"{report.imported:,} ({report.added:,} new, {report.changed:,} changed)"),
            ("left out", f"{report.duplicates:,} duplicates, {report.without_tick:,} filled in by the publisher"),
            *([("superseded", f"{report.superseded:,} by a later file")] if report.superseded else []),
            ("quarantined", f"{report.quarantined:,} {report.reasons or ''}"),
            ("months", f"{report.months[0]} to {report.months[-1]}" if report.months else "none"),
            ("clock", "checked against the FX weekend" if report.clock_checked else "not checkable: no weekend inside"),
        ):
            table.add_row(label, value)
        console.print(table)
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
        from fx_pipeline.ingest.importers import common_instrument
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
        name = common_instrument(files, instrument) if files else instrument or settings.instruments[0]
        find_instrument(name)
        with only_one(settings.data_dir):
            clear_leftovers(settings.data_dir)
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
def gaps(
    instrument: Annotated[
        str | None, typer.Argument(help="OANDA name: month by month; without it, a line for each instrument.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Show what the lake lacks against the FX calendar: expected, present, missing and unexpected minutes.

    --json prints {"months": {INSTRUMENT: [...]}} with an object for each month in order: month, bars (in the lake),
    expected, present, missing, missing_percent, unexpected (bars in minutes that the calendar does not expect),
    longest_gap_minutes and longest_gap_start (UTC; null without a gap).
    """
    with clear_errors():
        from fx_pipeline.ingest.lake import lake_instruments
        from fx_pipeline.ingest.layout import lake_folder
        from fx_pipeline.ingest.overview import month_gaps, total
        from fx_pipeline.market.errors import DataError
        from fx_pipeline.settings import load_settings

        settings = load_settings()
        lake = lake_folder(settings.data_dir)
        names = lake_instruments(lake)
        if not names:
            raise DataError(f"{lake} has no candles yet: run make demo, or materialise raw_candles and m1_candles.")
        if instrument is not None and instrument not in names:
            raise DataError(f"the lake has no candles of {instrument}: it has {', '.join(names)}.")
        found = {name: month_gaps(lake, name, settings.calendar) for name in ([instrument] if instrument else names)}
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


@app.command()
def broker(
    token: Annotated[
        str | None,
        typer.Option(
            help="Bearer token that clients must show. The list of processes shows it: better FX_PAPER_TOKEN, in the "
            "environment or in .env, or --token-file."
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the token; - for the standard input.")
    ] = None,
    candles: Annotated[
        Path | None,
        typer.Option(
            help="Store of imported candles, a data folder that has one, or a folder of M1 candle files; absent: the "
            "store of the data folder, and where that is empty, a synthetic market."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8700,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="Market seconds in a second, 1 by default; 0: the control surface steps the clock."),
    ] = None,
    control_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the control surface: clock, price jumps, halts, faults."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Market time at which a new account begins, such as 2024-01-09T14:30:00Z; absent: a day before the "
            "newest candles end."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the account's journal; absent: one for each --candles.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Put the old account aside and open a fresh one.")] = False,
    account: Annotated[str | None, typer.Option(help="Id of a new account, such as 101-001-1000000-001.")] = None,
    home_currency: Annotated[str | None, typer.Option(help="Currency of a new account; USD by default.")] = None,
    balance: Annotated[str | None, typer.Option(help="First deposit of a new account; 100000 by default.")] = None,
    conversion_charge: Annotated[
        str | None,
        typer.Option(help="Share by which gains and losses are converted worse than at mid; 0.005 by default."),
    ] = None,
    hedging: Annotated[
        bool | None, typer.Option("--hedging/--netting", help="Whether long and short trades stand side by side.")
    ] = None,
    margin_rate: Annotated[
        str | None,
        typer.Option(help="Margin as a share of the value, for every instrument of a new account; 0.02 is 50:1."),
    ] = None,
    financing: Annotated[
        list[str] | None,
        typer.Option(
            help="Annual financing rates of a new account for an instrument's long and short trades, such as "
            "EUR_USD=-0.021,0.004 (positive pays the account); may be given again."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs --public.")
    ] = "127.0.0.1",
    public: Annotated[bool, typer.Option("--public", help="Let other machines reach the broker.")] = False,
    wall_clock: Annotated[
        bool, typer.Option("--wall-clock", help="Serve all candles at the machine's time: history only, no trading.")
    ] = False,
) -> None:
    """Serve a paper broker that speaks OANDA's v20 API, and replays stored candles, until it is interrupted.

    The account survives: started again on the same candles, it goes on where it was.
    """
    with clear_errors():
        from fx_pipeline.paper_desk import BrokerOptions, account_terms, find_token, run_broker
        from fx_pipeline.settings import load_settings

        def say(line: str) -> None:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

        settings = load_settings()
        run_broker(
            BrokerOptions(
                token=find_token(token, token_file, settings, say),
                candles=candles,
                host=host,
                port=port,
                control_port=control_port,
                public=public,
                speed=speed,
                start=start,
                state=state,
                new=new,
                terms=account_terms(
                    account, home_currency, balance, conversion_charge, hedging, margin_rate, financing or ()
                ),
                wall_clock=wall_clock,
            ),
            settings,
            say,
        )


@app.command()
def prove(
    agent: Annotated[str, typer.Argument(help="Name of the agent, such as muzero.")],
    market: Annotated[
        str,
        typer.Option(
            help="ou (a price that returns to its mean), regime (a hidden trend), walk (nothing to earn), or all."
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings, each with a path of its own.")] = 5,
    minutes: Annotated[float, typer.Option(min=0.001, help="Wall time of each training.")] = 5.0,
    preset: Annotated[str, typer.Option(help="Size and hyper-parameters of the agent.")] = "small",
    jobs: Annotated[
        int, typer.Option(min=1, help="Trainings at once. One training uses two cores: more share them.")
    ] = 1,
    ppo: Annotated[
        bool, typer.Option("--ppo/--no-ppo", help="Train PPO of stable-baselines3 for as long, and compare.")
    ] = True,
    fail: Annotated[bool, typer.Option("--fail/--no-fail", help="Leave with status 1 when a bar is missed.")] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object a market.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results; absent: proofs/ in the data folder.")
    ] = None,
) -> None:
    """Prove that an agent learns, on synthetic markets whose best policy is known.

    Each seed trains on one path and is judged, greedily, on 512 sessions of another one. Shares are of what the best
    policy earns; the walk has nothing to earn, there an agent must learn not to trade. For the preset small on ou, the
    weights of some moments of the training are judged as well, with and without search. The result and its learning
    curves are written to proofs/AGENT/MARKET.json and .html. Stopped in the middle of a market, the same command goes
    on with the seed that was not finished (MARKET.unfinished.json has the others; remove it to start anew).

    --json prints an object with market, share_worst, share_mean, pips_per_episode (worst seed), trades_per_episode
    (greatest of any seed), policy_share_mean (without search), ppo_share_mean, seconds, missed, milestones
    (mean shares with and without search after so many episodes), their means learning_share_mean and
    learning_policy_share_mean, and the seeds.
    """
    with clear_errors():
        from fx_pipeline.proofs.result import without_curves
        from fx_pipeline.prove_command import ProveOptions, run_proofs
        from fx_pipeline.settings import load_settings

        def done(result: Mapping[str, Any]) -> None:
            if json_:
                sys.stdout.write(json.dumps(without_curves(result), allow_nan=False) + "\n")
                sys.stdout.flush()

        missed = run_proofs(
            ProveOptions(agent, market, seeds, minutes, preset, jobs, ppo, output or load_settings().layout.proofs),
            errors if json_ else console,
            done,
        )
    if missed and fail:
        raise typer.Exit(1)


@app.command("leaderboard")
def leaderboard_(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object a report, a line each.")] = False,
) -> None:
    """Write the leaderboard, one page over all validation reports, and print it."""
    with clear_errors():
        from dataclasses import asdict

        from fx_pipeline.defs.promotion import champions
        from fx_pipeline.settings import load_settings
        from fx_pipeline.validation.leaderboard import write_leaderboard
        from fx_pipeline.validation.numbers import number

        settings = load_settings()
        page = settings.layout.leaderboard
        entries, unread = write_leaderboard(settings.layout.reports, page, champions(settings))
        for reason in unread:
            errors.print(f"left out: {reason}", highlight=False, markup=False, soft_wrap=True)
        if json_:
            for row in entries:
                sys.stdout.write(json.dumps(asdict(row), allow_nan=False) + "\n")
            return
        table = Table(box=None, padding=(0, 1, 0, 0))
        for heading in ("verdict", "instrument", "window", "agent"):
            table.add_column(heading, no_wrap=True)
        for heading in ("seeds", "trades", "a trade", "DSR", "drawdown"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in entries:
            table.add_row(
                f"{row.verdict}{' (champion)' if row.champion else ''}",
                row.instrument,
                row.window,
                row.agent,
                str(row.seeds),
                f"{row.trades:,}",
                number(row.expectancy_pips, "pips"),
                number(row.deflated_sharpe, "percent"),
                number(row.max_drawdown_pips, "size"),
            )
        console.print(table)
        console.print(f"{page}", highlight=False, soft_wrap=True)


@app.command()
def watch(
    instrument: Annotated[str, typer.Argument(help="OANDA name, such as EUR_USD.")],
    window: Annotated[str, typer.Argument(help="Key of the walk-forward window, such as 2024-01-22.")],
    agent: Annotated[str, typer.Option(help="Name of the agent.")] = "muzero",
    seed: Annotated[int | None, typer.Option(help="Seed of the training; absent: the one that wrote last.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it as it is now, and leave.")] = False,
) -> None:
    """Watch a training that runs in the pipeline: curves, losses, actions, speed, and when it will be done.

    Leaves with status 1 when the training has failed, its process is gone, or it does not respond.
    """
    with clear_errors():
        from fx_pipeline.settings import load_settings
        from fx_pipeline.watch_command import newest_training
        from fx_pipeline.watch_command import watch as watch_training

        layout = load_settings().layout
        folder = (
            newest_training(layout.trainings(agent, instrument, window))
            if seed is None
            else layout.checkpoint(agent, instrument, window, seed)
        )
        state = watch_training(folder, console, once=once)
    if state in ("failed", "killed", "not responding"):
        raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    reports_port: Annotated[int, typer.Option(help="Port on which the report pages are served.")] = 3001,
) -> None:
    """Open the pipeline: the Dagster UI with its daemon, and the report pages, on loopback."""
    with clear_errors():
        import signal
        import subprocess

        from fx_pipeline.demo import clear_killed_runs, find_project, use_project
        from fx_pipeline.reports_server import serving_reports
        from fx_pipeline.settings import load_settings

        use_project(find_project())
        clear_killed_runs()
        clear_leftovers(load_settings().data_dir)
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

"""The command `fx-pipeline`."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fx_pipeline.ledger_command import ledger
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.progress_display import plain

app = typer.Typer(
    help="From OANDA candles to validated forex trading agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(ledger, name="ledger")
console = Console()
errors = Console(stderr=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print the project's own errors as one line and leave with their status; anything else keeps its traceback."""
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
            cause = _of_the_disk(error)
        if cause is None:
            raise
        plain(errors, str(cause), "error: ", "red")
        raise typer.Exit(cause.status) from error


def _of_the_disk(error: Exception) -> FxPipelineError | None:
    from fx_pipeline.settings import load_settings
    from fx_pipeline.storage_errors import explain_storage_error

    try:
        data_dir = load_settings().data_dir
    except FxPipelineError:
        return None
    return explain_storage_error(error, data_dir)


@contextmanager
def import_progress(title: str) -> Iterator[Callable[[float], None] | None]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not errors.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def clear_leftovers(data_dir: Path) -> None:
    """Remove half-written files of processes that are gone, and say so."""
    from fx_pipeline.market.atomic import remove_leftovers

    for leftover in remove_leftovers(data_dir):
        plain(console, f"removed what a killed process left: {leftover}")


def tell_folder(data_dir: Path) -> None:
    """Say so where the data folder is a copy; a folder that nobody has named yet gets its name."""
    from fx_pipeline.data_folder import identify

    if said := identify(data_dir).said:
        plain(console, said, "note: ", "yellow")


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
    bar_time: Annotated[
        str | None, typer.Option(help="What the times of the files are: the open of a bar (assumed) or its end.")
    ] = None,
    leave_out_weekends: Annotated[
        bool, typer.Option("--leave-out-weekends", help="Leave out bars at FX weekends, which some publishers have.")
    ] = False,
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
            )
        if json_:
            # Plain print: rich would wrap the line.
            sys.stdout.write(json.dumps(report.contract(), allow_nan=False) + "\n")
            return
        show_import(report, console)


@app.command()
def demo(
    candles: Annotated[
        list[Path] | None, typer.Option(help="M1 candle file to run on; without it, a synthetic market.")
    ] = None,
    instrument: Annotated[str | None, typer.Option(help="OANDA name; guessed from the file name.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the file; guessed.")] = None,
    utc_offset: Annotated[str | None, typer.Option(help="Clock of the file, as for import.")] = None,
    bar_time: Annotated[str | None, typer.Option(help="Open or end, as for import.")] = None,
    windows: Annotated[int, typer.Option(min=1, help="Newest walk-forward windows to train and validate.")] = 1,
) -> None:
    """Run the whole chain: candles, features, sessions, training, Monte Carlo validation, gate."""
    began = time.perf_counter()
    with clear_errors():
        from fx_pipeline.demo import Interrupted, find_project, only_one, run_demo, use_project
        from fx_pipeline.ingest.importers import common_instrument, held_instrument
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
        if files:
            name = common_instrument(files, instrument, lambda path: held_instrument(path, format))  # type: ignore[arg-type]
        else:
            name = instrument or settings.instruments[0]
        find_instrument(name)
        with only_one(settings.data_dir):
            clear_leftovers(settings.data_dir)
            tell_folder(settings.data_dir)
            try:
                result = run_demo(settings, name, Display(console), files, format, windows, utc_offset, bar_time)
            except Interrupted as interrupted:
                plain(errors, str(interrupted))
                # At once: taking apart what torch and numba have built takes many seconds.
                os._exit(interrupted.status)
    figures, verdict = result.report["figures"], result.report["figures"]["verdict"]
    console.rule()
    colour = "green" if verdict == "promoted" else "yellow"
    expectancy = figures["expectancy_pips"]
    console.print(
        Text.assemble(f"verdict on {name}, window {figures['window']}: ", (verdict, f"{colour} bold")), soft_wrap=True
    )
    for reason in figures["reasons"]:
        plain(console, f"  - {reason}")
    plain(
        console,
        f"{figures['trades']} trades in {figures['sessions']} sessions"
        + (f", {expectancy:.2f} pips a trade after costs" if expectancy is not None else ""),
    )
    if result.report["lineage"]["source"] == "synthetic":
        plain(console, " give real candles with make demo CANDLES=FILE.", "The market is SYNTHETIC:", "yellow")
    if result.live:
        plain(console, f"dry run of live trading: {result.live['action']} after {result.live['bar']}")
    plain(console, f"report page: {Path(result.report['run']['report']).resolve()}")
    plain(console, f"the pipeline in a browser: make ui   (took {time.perf_counter() - began:.0f} s)")


@app.command()
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
        found = {
            name: month_gaps(lake, name, settings.calendar_of(name)) for name in ([instrument] if instrument else names)
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

        from fx_pipeline.leaderboard_command import leaderboard_table
        from fx_pipeline.lifecycle.leaderboard import gathered
        from fx_pipeline.settings import load_settings

        settings = load_settings()
        page = settings.layout.leaderboard
        entries, unread = gathered(settings)
        for reason in unread:
            plain(errors, f"left out: {reason}")
        if json_:
            for row in entries:
                sys.stdout.write(json.dumps(asdict(row), allow_nan=False) + "\n")
            return
        console.print(leaderboard_table(entries))
        plain(console, str(page))


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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the Dagster UI; 0 for any free one.")] = 3000,
    reports_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on which the report pages are served.")
    ] = 3001,
) -> None:
    """Open the pipeline: the Dagster UI with its daemon, and the report pages, on loopback, until it is interrupted.

    Open the addresses that it prints: a browser that has not been there is turned away. Processes that end are started
    again; what cannot be kept running ends the command with a status that is not 0.
    """
    with clear_errors():
        from fx_pipeline.demo import clear_killed_runs, find_project, use_project
        from fx_pipeline.settings import load_settings
        from fx_pipeline.ui.supervise import UiOptions, run_ui

        project = find_project()
        use_project(project)
        settings = load_settings()
        clear_killed_runs()
        clear_leftovers(settings.data_dir)
        tell_folder(settings.data_dir)
        run_ui(UiOptions(port, reports_port), settings, project, lambda line: plain(console, line))


@app.command()
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


@app.command()
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


@app.command()
def folder() -> None:
    """Print the data folder that FX_DATA_DIR names, in the shell or in .env."""
    with clear_errors():
        from fx_pipeline.settings import load_settings

        plain(console, str(load_settings().data_dir.resolve()))


@app.command()
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


if __name__ == "__main__":
    app()

"""The command `fx-pipeline demo`."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from fx_pipeline.commands.console import clear_errors, clear_leftovers, console, errors, tell_folder
from fx_pipeline.progress_display import plain


def demo(
    candles: Annotated[
        list[Path] | None, typer.Option(help="M1 candle file to run on; without it, a synthetic market.")
    ] = None,
    instrument: Annotated[str | None, typer.Option(help="OANDA name; guessed from the file name.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of the file; guessed.")] = None,
    utc_offset: Annotated[str | None, typer.Option(help="Clock of the file, as for import.")] = None,
    bar_time: Annotated[str | None, typer.Option(help="Open or end, as for import.")] = None,
    windows: Annotated[int, typer.Option(min=1, help="Newest walk-forward windows to train and validate.")] = 1,
    recipe: Annotated[str, typer.Option(help="What to train: a name of fx-pipeline recipes.")] = "muzero",
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
            name = instrument or (settings.known_recipes.recipe(recipe).instruments or settings.instruments)[0]
        find_instrument(name)
        with only_one(settings.data_dir):
            clear_leftovers(settings.data_dir)
            tell_folder(settings.data_dir)
            try:
                result = run_demo(
                    settings, name, Display(console), files, format, windows, utc_offset, bar_time, recipe
                )
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

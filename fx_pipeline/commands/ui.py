"""The command `fx-pipeline ui`."""

from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, clear_leftovers, console, tell_folder
from fx_pipeline.progress_display import plain


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

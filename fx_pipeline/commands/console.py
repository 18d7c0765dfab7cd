"""What the verbs share: where they write, and how they end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.progress_display import plain

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

"""Progress of long work: bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_LINE_EVERY_S = 10.0


def plain(to: Console, line: str, label: str = "", style: str = "") -> None:
    """Print a line with names, paths or messages in it as it is: rich would take what stands in brackets for markup.

    A `label` in a style of its own may stand before it.
    """
    to.print(Text.assemble((label, style), line), soft_wrap=True)


class Display:
    """Shows stages one after another, each with its progress.

    Parameters
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._task: TaskID | None = None
        self._progress: Progress | None = None
        self._said = 0.0

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show a stage while the body runs; call what it yields to say in words what came out of it."""
        began, result = time.perf_counter(), ""
        self._said = began

        def say(text: str) -> None:
            nonlocal result
            result = text

        if self._console.is_terminal:
            with Progress(
                TextColumn("  {task.description}", style="bold", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", style="dim", markup=False),
                console=self._console,
                transient=True,
            ) as self._progress:
                self._task = self._progress.add_task(title, total=1.0, figures="")
                try:
                    yield say
                finally:
                    self._task = None
        else:
            plain(self._console, f"... {title}")
            yield say
        took = time.perf_counter() - began
        plain(self._console, f" {title}: {result + ', ' if result else ''}{took:.1f} s", "ok", "green")

    def note(self, text: str) -> None:
        """Print a line about what the running stage does; it stays."""
        plain(self._console, f"    {text}")

    def report(self, stage: str, fraction: float, figures: Mapping[str, float]) -> None:
        """Show how far the running stage is."""
        shown = ", ".join(f"{name} {value:.4g}" for name, value in list(figures.items())[:3])
        if self._task is not None and self._progress is not None:
            self._progress.update(self._task, completed=fraction, figures=shown)
        elif time.perf_counter() - self._said > _LINE_EVERY_S:
            self._said = time.perf_counter()
            plain(self._console, f"    {stage} {fraction:4.0%} {shown}")

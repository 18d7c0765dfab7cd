"""The leaderboard on a terminal."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fx_pipeline.validation.leaderboard import Entry
from fx_pipeline.validation.numbers import number


def leaderboard_table(entries: Sequence[Entry]) -> Table:
    """Return a row for each report."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("verdict", "instrument", "window", "recipe"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seeds", "trades", "a trade", "DSR", "drawdown"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in entries:
        cells = (
            f"{row.verdict}{' (champion)' if row.champion else ''}",
            row.instrument,
            row.window,
            row.recipe,
            str(row.seeds),
            f"{row.trades:,}",
            number(row.expectancy_pips, "pips"),
            number(row.deflated_sharpe, "percent"),
            number(row.max_drawdown_pips, "size"),
        )
        # As they stand: what a report says is no markup.
        table.add_row(*(Text(cell) for cell in cells))
    return table

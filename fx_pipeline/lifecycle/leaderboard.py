"""The lines of the leaderboard, and which of their verdicts the trial ledger bears out."""

from pathlib import Path
from typing import TYPE_CHECKING

from fx_pipeline.lifecycle.champions import champions
from fx_pipeline.lifecycle.needs import Terms
from fx_pipeline.lifecycle.verified import StaleError, open_ledger, refuse_changed
from fx_pipeline.market.errors import DataError

if TYPE_CHECKING:
    from fx_pipeline.validation.leaderboard import Entry


def gathered(settings: Terms) -> "tuple[list[Entry], list[str]]":
    """Write the page; return its lines, and why reports and champions are missing or not believed."""
    from fx_pipeline.validation.leaderboard import write_leaderboard
    from fx_pipeline.validation.report import read_report

    ledger = open_ledger(settings)

    def doubt(folder: Path) -> str:
        try:
            report = read_report(folder)
            refuse_changed(settings, ledger, report, folder)
        except StaleError:
            # Right when it was made: the page shows what was found then.
            return ""
        except DataError as error:
            return f"{folder}: {error}"
        return ""

    layout = settings.layout
    return write_leaderboard(layout.reports, layout.leaderboard, *champions(settings), doubt)

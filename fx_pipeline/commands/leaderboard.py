"""The command `fx-pipeline leaderboard`."""

import json
import sys
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console, errors
from fx_pipeline.progress_display import plain


def leaderboard_(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object a report, a line each.")] = False,
) -> None:
    """Write the leaderboard, one page over all validation reports, and print it."""
    with clear_errors():
        from dataclasses import asdict

        from fx_pipeline.leaderboard_command import leaderboard_table
        from fx_pipeline.lifecycle.leaderboard import gathered
        from fx_pipeline.recipe_terms import terms_of
        from fx_pipeline.settings import load_settings

        settings = load_settings()
        page = settings.layout.leaderboard
        entries, unread = gathered(settings, [terms_of(recipe, settings) for recipe in settings.known_recipes])
        for reason in unread:
            plain(errors, f"left out: {reason}")
        if json_:
            for row in entries:
                sys.stdout.write(json.dumps(asdict(row), allow_nan=False) + "\n")
            return
        console.print(leaderboard_table(entries))
        plain(console, str(page))

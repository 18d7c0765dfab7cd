"""The command `fx-pipeline`: its verbs are files of `commands`."""

import typer

from fx_pipeline.commands.broker import broker
from fx_pipeline.commands.clean import clean
from fx_pipeline.commands.console import clear_errors, console, errors
from fx_pipeline.commands.demo import demo
from fx_pipeline.commands.folder import folder
from fx_pipeline.commands.gaps import gaps
from fx_pipeline.commands.health import health
from fx_pipeline.commands.import_ import import_
from fx_pipeline.commands.leaderboard import leaderboard_
from fx_pipeline.commands.mlflow import mlflow
from fx_pipeline.commands.prove import prove
from fx_pipeline.commands.recipes import recipes
from fx_pipeline.commands.summary import summary
from fx_pipeline.commands.ui import ui
from fx_pipeline.commands.watch import watch
from fx_pipeline.ledger_command import ledger

__all__ = ["app", "clear_errors", "console", "errors"]

app = typer.Typer(
    help="From OANDA candles to validated forex trading agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("import")(import_)
app.command("demo")(demo)
app.command("summary")(summary)
app.command("gaps")(gaps)
app.command("broker")(broker)
app.command("prove")(prove)
app.command("leaderboard")(leaderboard_)
app.command("watch")(watch)
app.command("ui")(ui)
app.command("health")(health)
app.command("mlflow")(mlflow)
app.command("folder")(folder)
app.command("clean")(clean)
app.add_typer(ledger, name="ledger")
app.add_typer(recipes, name="recipes")


if __name__ == "__main__":
    app()

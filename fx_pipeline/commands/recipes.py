"""The commands `fx-pipeline recipes`, `recipes show` and `recipes new`."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain

recipes = typer.Typer(help="Recipes: what is trained and traded, a file each (docs/recipes.md).")
_COLUMNS = ("name", "agent", "timeframe", "feature_set", "action_set", "instruments")


@recipes.callback(invoke_without_command=True)
def list_recipes(
    context: typer.Context,
    json_: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a JSON list of objects with name, agent, timeframe, feature_set, action_set and instruments.",
        ),
    ] = False,
) -> None:
    """List the recipes that there are: those shipped, and those of the folder FX_RECIPES."""
    if context.invoked_subcommand is not None:
        return
    with clear_errors():
        from fx_pipeline.settings import load_settings

        settings = load_settings()
        used = {recipe.name for recipe in settings.used_recipes}
        rows: list[dict[str, Any]] = []
        for recipe in settings.known_recipes:
            instruments = list(recipe.instruments or settings.instruments)
            rows.append({name: getattr(recipe, name) for name in _COLUMNS} | {"instruments": instruments})
    if json_:
        # Plain print: rich would wrap the line.
        sys.stdout.write(json.dumps(rows, allow_nan=False) + "\n")
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in (*_COLUMNS, "in the graph"):
        table.add_column(heading.replace("_", " "), no_wrap=heading == "name")
    for row in rows:
        shown = row | {"instruments": ", ".join(row["instruments"])}
        table.add_row(*(Text(str(shown[name])) for name in _COLUMNS), "yes" if row["name"] in used else "no")
    console.print(table)
    console.print("all fields of one: fx-pipeline recipes show NAME", style="dim")


@recipes.command()
def show(name: Annotated[str, typer.Argument(help="Name of the recipe.")]) -> None:
    """Print all fields of a recipe as YAML, those too that its file leaves out, and where the file lies."""
    with clear_errors():
        from fx_pipeline.recipes.loader import as_yaml
        from fx_pipeline.settings import load_settings

        known = load_settings().known_recipes
        recipe = known.recipe(name)
        sys.stdout.write(f"# {known.files[name]}\n{as_yaml(recipe)}")


@recipes.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the new recipe: small letters, digits and underscores.")],
    like: Annotated[str, typer.Option(help="The recipe whose file is copied.")] = "muzero",
) -> None:
    """Begin a recipe of your own in the folder FX_RECIPES, as a copy of another one."""
    with clear_errors():
        from fx_pipeline.recipes.new import write_like
        from fx_pipeline.settings import load_settings

        path = write_like(load_settings().recipes, name, like)
        plain(console, f"{path}: a copy of {like}. Change what it shall do otherwise; `fx-pipeline recipes` checks it.")

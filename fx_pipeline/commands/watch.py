"""The command `fx-pipeline watch`."""

from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console


def watch(
    instrument: Annotated[str, typer.Argument(help="OANDA name, such as EUR_USD.")],
    window: Annotated[str, typer.Argument(help="Key of the walk-forward window, such as 2024-01-22.")],
    recipe: Annotated[str, typer.Option(help="Name of the recipe that is trained.")] = "muzero",
    seed: Annotated[int | None, typer.Option(help="Seed of the training; absent: the one that wrote last.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it as it is now, and leave.")] = False,
) -> None:
    """Watch a training that runs in the pipeline: curves, losses, actions, speed, and when it will be done.

    Leaves with status 1 when the training has failed, its process is gone, or it does not respond.
    """
    with clear_errors():
        from fx_pipeline.recipe_terms import terms_of
        from fx_pipeline.settings import load_settings
        from fx_pipeline.watch_command import newest_training
        from fx_pipeline.watch_command import watch as watch_training

        settings = load_settings()
        layout = terms_of(settings.known_recipes.recipe(recipe), settings).layout
        folder = (
            newest_training(layout.trainings(instrument, window))
            if seed is None
            else layout.checkpoint(instrument, window, seed)
        )
        state = watch_training(folder, console, once=once)
    if state in ("failed", "killed", "not responding"):
        raise typer.Exit(1)

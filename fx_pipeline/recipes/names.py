"""What the assets and jobs of a recipe are called: those of the default one keep the plain names of before."""

from fx_pipeline.layout import DEFAULT_RECIPE

#: What a recipe makes, by the name that it has for the default one.
_PLAIN = {"checkpoint": "muzero_checkpoint"}


def asset_path(recipe: str, what: str) -> list[str]:
    """Return the key of an asset: `muzero_checkpoint`, or `ppo_gbp_jpy_h1/checkpoint`.

    Parameters
    ----------
    recipe, what : str
        Its name; and what it makes: checkpoint, validation_report, holdout_report, champion or live_decisions.
    """
    return [_PLAIN.get(what, what)] if recipe == DEFAULT_RECIPE else [recipe, what]


def asset_name(recipe: str, what: str) -> str:
    """Return the key of an asset as people write it."""
    return "/".join(asset_path(recipe, what))


def plain_name(recipe: str, what: str) -> str:
    """Return the name of a job, a sensor or a schedule: `train`, or `train_ppo_gbp_jpy_h1`."""
    return what if recipe == DEFAULT_RECIPE else f"{what}_{recipe}"


def run_name(what: str, recipe: str) -> str:
    """Return how the name of a run in MLflow begins: `train`, or `train ppo_gbp_jpy_h1`."""
    return what if recipe == DEFAULT_RECIPE else f"{what} {recipe}"

"""Components that this project gives to Dagster: `dg list components` shows them."""

from fx_pipeline.components.recipe import RecipeComponent

__all__ = ["RecipeComponent"]

"""A recipe as a Dagster component: the fields of a recipe are the attributes of a `defs.yaml`.

It stands beside the YAML files of the folder FX_RECIPES, and is the same recipe: the command, the settings and the
graph read both (`fx_pipeline.recipes.loader`).
"""

from typing import Any, Self

import dagster as dg
import yaml
from dagster.components.component.component import ComponentTypeSpec
from pydantic import BaseModel, Field

from fx_pipeline.recipes.loader import COMPONENT_TYPE, DEFAULT, make_recipe, read_recipes
from fx_pipeline.recipes.recipe import Recipe


class ScaffoldParameters(BaseModel):
    """What a new recipe begins as."""

    like: str = Field(DEFAULT, description="The recipe whose fields are copied.")


class RecipeScaffolder(dg.Scaffolder[ScaffoldParameters]):
    """Begins a recipe as a copy of another one."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParameters]:
        """Return the parameters that `dg scaffold defs` takes."""
        return ScaffoldParameters

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParameters]) -> None:
        """Write `defs.yaml`: the recipe is named as its folder is."""
        values = read_recipes().recipe(request.params.like).model_dump(mode="json", exclude_unset=True)
        attributes = values | {"name": request.target_path.name}
        attributes.pop("title", None)
        make_recipe(attributes, str(request.target_path))
        document = {"type": COMPONENT_TYPE, "attributes": attributes}
        path = request.target_path / "defs.yaml"
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write("---\n" if request.append else "")
            yaml.safe_dump(document, file, sort_keys=False)


@dg.scaffold_with(RecipeScaffolder)
class RecipeComponent(dg.Component):
    """A recipe: what is trained and traded. Its assets, checks, jobs, sensors and schedules stand in the graph.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return what the attributes of a `defs.yaml` are."""
        return Recipe

    @classmethod
    def get_spec(cls) -> ComponentTypeSpec:
        """Return what `dg list components` shows."""
        return ComponentTypeSpec(
            description="A recipe of fx_pipeline: what is trained, judged and traded (docs/recipes.md).",
            produces=["asset", "asset_check", "job", "sensor", "schedule"],
        )

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> Self:
        """Make the component of its attributes; a recipe that cannot work is refused with the reason."""
        values = attributes.model_dump(exclude_unset=True)
        return cls(make_recipe(values, f"{context.path / 'defs.yaml'}"))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return what the recipe has in the graph; its candles and features stand there once for all recipes."""
        from fx_pipeline.defs.recipe_assets import recipe_definitions

        return recipe_definitions(self.recipe)

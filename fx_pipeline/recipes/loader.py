"""Recipes from their YAML files: the shipped ones beside this file, and a user's own in a folder.

A file that cannot be used is refused with its name, the field and what to do, all that is wrong with it at once.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fx_pipeline.layout import DEFAULT_RECIPE
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.recipes.recipe import Recipe, SessionFields
from fx_pipeline.recipes.refusal import refusals

DEFAULT = DEFAULT_RECIPE
SHIPPED = Path(__file__).parent / "shipped"
#: Recipes as Dagster components, a folder with a `defs.yaml` each; and the type that they have there.
COMPONENTS = Path(__file__).parents[1] / "defs" / "recipes"
COMPONENT_TYPE, COMPONENT_FILE = "fx_pipeline.components.RecipeComponent", "defs.yaml"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Recipes:
    """All recipes that there are, by name, the shipped ones first.

    Attributes
    ----------
    by_name : Mapping
    files : Mapping
        By name, the file that a recipe was read from; of a component, the `defs.yaml`.
    """

    by_name: Mapping[str, Recipe]
    files: Mapping[str, Path]

    def __iter__(self) -> Any:
        return iter(self.by_name.values())

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of that name.

        Raises
        ------
        ConfigurationError
            If there is none.
        """
        found = self.by_name.get(name)
        if found is None:
            raise ConfigurationError(f"there is no recipe {name!r}{near(name, self.by_name)}")
        return found

    def is_shipped(self, name: str) -> bool:
        """Whether the recipe of that name came with the package."""
        return self.files[name].parent == SHIPPED

    def is_component(self, name: str) -> bool:
        """Whether the recipe of that name is a Dagster component."""
        return self.files[name].name == COMPONENT_FILE

    def chosen(self, names: Iterable[str]) -> tuple[Recipe, ...]:
        """Return the recipes of these names, the default one first."""
        wanted = tuple(dict.fromkeys(names))
        found = [self.recipe(name) for name in wanted]
        return tuple(sorted(found, key=lambda recipe: recipe.name != DEFAULT))


def read_recipes(folder: Path | None = None, components: Path = COMPONENTS) -> Recipes:
    """Read the shipped recipes, those of a folder, and those that are Dagster components.

    Parameters
    ----------
    folder : Path, optional
        A user's own, a file each, NAME.yaml.
    components : Path
        Folder of components.

    Raises
    ------
    ConfigurationError
        If a file cannot be used, if two recipes have one name, or if the folder is none.
    """
    files = _files(SHIPPED)
    if folder is not None:
        if not folder.is_dir():
            raise ConfigurationError(
                f"FX_RECIPES={folder} is no folder: make it, or name the one with your own recipes (NAME.yaml each)."
            )
        files += _files(folder)
    by_name: dict[str, Recipe] = {}
    origin: dict[str, Path] = {}
    found = [(path, read_recipe(path)) for path in files]
    found += [(path, recipe) for path in sorted(components.rglob(COMPONENT_FILE)) for recipe in _read_component(path)]
    for path, recipe in found:
        if recipe.name in by_name:
            raise ConfigurationError(
                f"two recipes are named {recipe.name}: {origin[recipe.name]} and {path}. Rename one of them, in the "
                "file and the file itself."
            )
        by_name[recipe.name], origin[recipe.name] = recipe, path
    return Recipes(by_name, origin)


@cache
def default_recipe() -> Recipe:
    """Return the recipe that is trained when nothing else is asked for."""
    return read_recipe(SHIPPED / f"{DEFAULT}.yaml")


def read_recipe(path: Path) -> Recipe:
    """Read the recipe of a file, and refuse one that cannot work.

    Raises
    ------
    ConfigurationError
        Naming the file, each field that is wrong, and what to do.
    """
    recipe = make_recipe(_documents(path)[0], str(path))
    if path.stem != recipe.name:
        raise ConfigurationError(
            f"{path}: name: the recipe is named {recipe.name!r}, and its file is not: call it {recipe.name}.yaml, or "
            f"the recipe {path.stem}."
        )
    return recipe


def make_recipe(values: Any, where: str) -> Recipe:
    """Make a recipe of its fields, and refuse one that cannot work.

    Parameters
    ----------
    values : Mapping
        As they were read.
    where : str
        The file that they are from, for the message.

    Raises
    ------
    ConfigurationError
        Naming each field that is wrong, and what to do.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ConfigurationError(f"{where}: a recipe has a line `field: value` for each field, as {SHIPPED} shows.")
    try:
        recipe = Recipe(**values)
    except ValidationError as error:
        said = [_sentence(problem) for problem in error.errors()]
        raise ConfigurationError(f"{where}: {' '.join(said)}") from None
    if wrong := refusals(recipe):
        raise ConfigurationError(f"{where}: {' '.join(f'{field}: {reason}' for field, reason in wrong)}")
    return recipe


def as_yaml(recipe: Recipe) -> str:
    """Return all fields of a recipe as YAML, those that it leaves to the settings as a comment."""
    lines = []
    for name, value in recipe.model_dump(mode="json").items():
        if value is None:
            lines.append(f"# {name}: {Recipe.model_fields[name].description}\n")
        elif isinstance(value, dict):
            lines.append(yaml.safe_dump({name: value}, sort_keys=False, default_flow_style=False))
        else:
            # JSON is YAML, and keeps a list on its line.
            lines.append(f"{name}: {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def near(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence on a name that is none: what was meant, or what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=2)
    return f": did you mean {' or '.join(close)}?" if close else f": use {', '.join(names)}."


def _files(folder: Path) -> list[Path]:
    # A name that begins with a dot is an editor's.
    return sorted(path for path in folder.glob("[!.]*") if path.suffix in _SUFFIXES and path.is_file())


def _documents(path: Path) -> list[Any]:
    text = read_stored(path, "name a file that can be read.")
    try:
        return list(yaml.load_all(text, Loader=_StrictLoader)) or [None]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: it is no YAML ({' '.join(str(error).split())}): mend it.") from None


def _read_component(path: Path) -> list[Recipe]:
    # A folder of Dagster's may hold other components, too.
    found = [document for document in _documents(path) if isinstance(document, dict)]
    return [
        make_recipe(document.get("attributes"), str(path))
        for document in found
        if document.get("type") == COMPONENT_TYPE
    ]


def _sentence(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = SessionFields.model_fields if problem["loc"][0] == "sessions" else Recipe.model_fields
        return f"{place}: there is no such field{near(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{place}: it is missing: {_described(problem['loc'])}"
    value = problem["input"]
    return f"{place}: {problem['msg'].removeprefix('Value error, ')}, not {value!r}: {_described(problem['loc'])}"


def _described(place: tuple[Any, ...]) -> str:
    fields = Recipe.model_fields
    if place[0] == "sessions" and len(place) > 1:
        fields = SessionFields.model_fields
        place = place[1:]
    field = fields.get(str(place[0]))
    said = (field.description if field else None) or "see docs/recipes.md."
    return said[0].lower() + said[1:]


class _StrictLoader(yaml.SafeLoader):
    """YAML without a key that stands twice: PyYAML keeps the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

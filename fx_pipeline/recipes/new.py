"""A recipe of one's own, begun as a copy of another one."""

import re
from pathlib import Path

from fx_pipeline.market.atomic import atomic_write_bytes
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.recipes.loader import read_recipe, read_recipes


def write_like(folder: Path | None, name: str, like: str) -> Path:
    """Write the file of a new recipe into a folder, which is made; comments of the other one are kept.

    Parameters
    ----------
    folder : Path, optional
        Of a user's own recipes; it is made where there is none.
    name, like : str
        Of the new one, and of the one that is copied.

    Raises
    ------
    ConfigurationError
        If there is no folder, no recipe `like`, or one named `name` already, or if the name is none.
    """
    if folder is None:
        raise ConfigurationError("set FX_RECIPES to the folder of your own recipes first, such as FX_RECIPES=recipes.")
    known = read_recipes(folder if folder.is_dir() else None)
    known.recipe(like)
    if name in known.by_name:
        raise ConfigurationError(f"there is a recipe {name} already, in {known.files[name]}: take another name.")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ConfigurationError(f"{name!r} is no name of a recipe: use small letters, digits and underscores.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    text = known.files[like].read_text(encoding="utf-8")
    atomic_write_bytes(path, re.sub(rf"(?m)^name:\s*{like}\s*$", f"name: {name}", text).encode())
    read_recipe(path)
    return path

"""What two checkpoints have in common, as hashes of their records."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fx_pipeline.recipes.loader import default_recipe

if TYPE_CHECKING:
    from fx_pipeline.recipes.recipe import Recipe


def configuration(record: Mapping[str, Any], recipe: "Recipe | None" = None) -> str:
    """Hash what two checkpoints share that differ in their seed only: settings, code and length of the training.

    The length is in episodes: no training that joins the ledger ends by the clock, after which each seed would be a
    configuration of its own. What an agent sees and may do is of it, as its recipe says; the recipe's name is not, so
    that another name for the same is no other configuration.
    """
    parts: list[Any] = [record["config_digest"], record["code_version"], int(record["counters"]["episodes"])]
    if recipe is not None and recipe.setting != default_recipe().setting:
        parts.append(recipe.setting)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def trained_seed_sha(record: Mapping[str, Any]) -> str:
    """Hash what a training began with, by its own record: seed, settings, code, data and window.

    Weights that are equal have another of these only where somebody rewrote a record.
    """
    names = ("seed", "config_digest", "code_version", "data_fingerprint", "window")
    return hashlib.sha256(json.dumps([record.get(name) for name in names], sort_keys=True).encode()).hexdigest()

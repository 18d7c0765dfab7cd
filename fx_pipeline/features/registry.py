"""All feature sets by name. A new one is a folder beside this file and a line here."""

import importlib

from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.market.errors import ConfigurationError

#: Name of a set to the module that has it as `FEATURE_SET`.
FEATURE_SETS = {
    "temporal9": "fx_pipeline.features.temporal9.entry",
}


def feature_set(name: str) -> FeatureSet:
    """Return the feature set of that name; the others are not imported.

    Raises
    ------
    ConfigurationError
        If there is none, or its module does not have it.
    """
    module = FEATURE_SETS.get(name)
    if module is None:
        raise ConfigurationError(f"feature set {name!r} is unknown: use {', '.join(FEATURE_SETS)}.")
    found = getattr(importlib.import_module(module), "FEATURE_SET", None)
    if not isinstance(found, FeatureSet) or found.name != name:
        raise ConfigurationError(f"{module} has no FEATURE_SET that is named {name!r}: define it there.")
    return found

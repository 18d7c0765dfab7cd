"""The settings of this code location, read once when it loads."""

from fx_pipeline.settings import load_settings

SETTINGS = load_settings()

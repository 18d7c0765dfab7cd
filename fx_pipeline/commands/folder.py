"""The command `fx-pipeline folder`."""

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain


def folder() -> None:
    """Print the data folder that FX_DATA_DIR names, in the shell or in .env."""
    with clear_errors():
        from fx_pipeline.settings import load_settings

        plain(console, str(load_settings().data_dir.resolve()))

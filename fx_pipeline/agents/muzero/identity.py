"""The name by which bundles and checkpoints know the code behind them."""

from fx_pipeline.provenance import closure


def code_version() -> str:
    """Version of the package and a hash of the code that trains, such as `0.1.0+3f2a9c0b71de`."""
    return closure.code_version("fx_pipeline.agents.muzero.entry")

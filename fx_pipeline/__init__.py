"""fx_pipeline: from OANDA candles to validated forex trading agents, as a Dagster pipeline."""

from fx_pipeline.kernel_cache import use_kernel_cache

# Before any kernel is declared: numba asks for the folder when it sees one.
use_kernel_cache()

"""Features: the nine temporal features, one kernel for a batch and a single bar, and their DuckDB table."""

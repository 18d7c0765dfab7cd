"""fx_pipeline: from OANDA candles to validated forex trading agents, as a Dagster pipeline."""

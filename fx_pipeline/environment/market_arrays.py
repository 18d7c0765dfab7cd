from fx_pipeline.market.arrays import NUM_FEATURES, SESSION_BARS, WINDOW_BARS, MarketArrays  # noqa: F401

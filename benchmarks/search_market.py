"""A market to play on: its numbers do not matter to the time, so it is a random walk."""

import numpy as np

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig


def random_walk_week(bars: int, session_bars: int, seed: int = 0) -> TrainingData:
    """One trading week of `bars` usable bars; a session may start at any of them that leaves it room."""
    draw = np.random.default_rng(seed)
    count = WARMUP_BARS + bars
    close = 190.0 + 0.01 * np.cumsum(draw.normal(0.0, 2.0, count))
    time = 1_704_067_200_000_000_000 + 60_000_000_000 * np.arange(count, dtype=np.int64)
    features, sigma = features_of_closes(close, time, 0.01)
    opened = np.append(close[:1], close[:-1])
    market = MarketArrays(
        "GBP_JPY", 0.01, time, opened, np.maximum(opened, close), np.minimum(opened, close), close,
        opened - 0.01, opened + 0.01, close - 0.01, close + 0.01, features, sigma, "random walk",
    )  # fmt: skip
    starts = np.arange(WARMUP_BARS + 32, count - session_bars)
    return TrainingData(market=market, starts=starts, costs=CostConfig(), window={})

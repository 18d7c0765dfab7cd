"""A small synthetic market to train on."""

from collections.abc import Callable

import numpy as np
import pytest

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import CostConfig

PIP = 0.0001
FIRST_TIME_NS = 1_578_261_600_000_000_000  # Sunday 2020-01-05 22:00 UTC: 17:00 in New York
SESSION_BARS, WINDOW_BARS = 360, 32


def reverting_market(seed: int, bars: int, rho: float = 0.9, sigma_pips: float = 5.0) -> TrainingData:
    """A close that reverts to its mean: x[t + 1] = rho x[t] + sigma eps, filled at the close."""
    noise = np.random.default_rng(seed).standard_normal(bars)
    x = np.empty(bars)
    x[0] = sigma_pips / np.sqrt(1 - rho**2) * noise[0]
    for bar in range(1, bars):
        x[bar] = rho * x[bar - 1] + sigma_pips * noise[bar]
    close = 10.0 + x * PIP
    opens = np.concatenate([close[:1], close[:-1]])
    time = FIRST_TIME_NS + np.arange(bars) * 60_000_000_000
    features, sigma = features_of_closes(close, time, PIP)
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    market = MarketArrays(
        "EUR_USD", PIP, time, opens, high, low, close, opens, opens, close, close, features, sigma, f"ou-{seed}-{bars}"
    )
    starts = np.arange(WARMUP_BARS + WINDOW_BARS, bars - SESSION_BARS)
    return TrainingData(market, starts, CostConfig(fill="close"), {"key": "test"})


@pytest.fixture(scope="session")
def make_market() -> Callable[..., TrainingData]:
    """Factory of mean-reverting markets."""
    return reverting_market


@pytest.fixture(scope="session")
def small_market() -> TrainingData:
    """4,000 bars of a mean-reverting market."""
    return reverting_market(1, 4000)

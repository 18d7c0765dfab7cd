"""Small markets for the environment's tests."""

from collections.abc import Callable

import numpy as np
import pytest

from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS

PIP = 0.01


def market_of(
    close: np.ndarray,
    open_: np.ndarray | None = None,
    time: np.ndarray | None = None,
    half_spread: np.ndarray | float = 0.01,
    seed: int = 0,
) -> MarketArrays:
    """A market with these closes; opens are the closes before unless given; features are noise."""
    count = len(close)
    opens = np.append(close[:1], close[:-1]) if open_ is None else open_
    start = int(np.datetime64("2024-01-03T10:00", "ns").astype(np.int64))
    times = start + MINUTE_NS * np.arange(count) if time is None else time
    changes = np.append(0.0, np.diff(close))
    sigma = np.array([changes[max(0, t - 19) : t + 1].std() for t in range(count)])
    rng = np.random.default_rng(seed)
    return MarketArrays(
        instrument="GBP_JPY",
        pip=PIP,
        time=times,
        open=opens,
        high=np.maximum(opens, close) + 0.01,
        low=np.minimum(opens, close) - 0.01,
        close=close,
        bid_open=opens - half_spread,
        ask_open=opens + half_spread,
        bid_close=close - half_spread,
        ask_close=close + half_spread,
        features=rng.normal(size=(count, 9)).astype(np.float32),
        outcome_sigma=sigma,
        fingerprint="test",
    )


@pytest.fixture(scope="session")
def make_market() -> Callable[..., MarketArrays]:
    return market_of


@pytest.fixture(scope="session")
def random_market() -> Callable[[int, int], MarketArrays]:
    """A random walk in pips with gaps in time, jumps at the open, varying spreads, and a Wednesday night in it."""

    def build(seed: int, count: int) -> MarketArrays:
        rng = np.random.default_rng(seed)
        close = 187.0 + PIP * np.cumsum(rng.normal(0.0, 3.0, count))
        opens = np.append(close[:1], close[:-1]) + PIP * rng.normal(0.0, 0.7, count)
        # 22:00 UTC is 17:00 New York in January; the walk crosses it about half way.
        gaps = rng.choice([1, 1, 1, 2, 7], count)
        start = int(np.datetime64("2024-01-03T22:00", "ns").astype(np.int64)) - MINUTE_NS * int(
            gaps[: count // 2].sum()
        )
        time = start + MINUTE_NS * np.append(0, np.cumsum(gaps[:-1]))
        return market_of(close, opens, time, PIP * rng.uniform(0.3, 3.0, count), seed)

    return build

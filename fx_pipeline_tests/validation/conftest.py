"""A small random market for the validation tests."""

from collections.abc import Callable

import numpy as np
import pytest

from fx_pipeline.market.arrays import MarketArrays

MINUTE_NS = 60_000_000_000
# Monday 2016-04-04 00:00 UTC.
START_NS = 1_459_728_000_000_000_000


def make_market(bars: int, seed: int = 1, drift_pips: float = 0.0) -> MarketArrays:
    """Build a random walk with quotes 2 pips apart and arbitrary features."""
    rng = np.random.default_rng(seed)
    pip = 0.01
    close = 150 + np.cumsum(rng.normal(drift_pips, 2.0, bars)) * pip
    opened = np.concatenate(([150.0], close[:-1])) + rng.normal(0, 0.2, bars) * pip
    high, low = np.maximum(opened, close) + pip, np.minimum(opened, close) - pip
    return MarketArrays(
        instrument="GBP_JPY",
        pip=pip,
        time=START_NS + np.arange(bars, dtype=np.int64) * MINUTE_NS,
        open=opened,
        high=high,
        low=low,
        close=close,
        bid_open=opened - pip,
        ask_open=opened + pip,
        bid_close=close - pip,
        ask_close=close + pip,
        features=rng.normal(size=(bars, 9)).astype(np.float32),
        outcome_sigma=np.full(bars, 2.0 * pip),
        fingerprint="test-market",
    )


@pytest.fixture(scope="session")
def market_of() -> Callable[..., MarketArrays]:
    return make_market


# The worked example of the project's reference on SQN, in pips.
TRADES = [
    *(
        12.4,
        -4.0,
        -6.1,
        3.3,
        -4.8,
        18.9,
        -5.2,
        -4.4,
        7.7,
        -9.6,
        2.1,
        -4.1,
        25.3,
        -7.0,
        -4.9,
        6.0,
        -3.2,
        -5.5,
        9.8,
        -4.0,
    ),
    *(
        1.2,
        -6.6,
        14.1,
        -4.3,
        -8.2,
        4.4,
        -2.7,
        31.6,
        -5.9,
        -4.6,
        3.8,
        -7.3,
        10.5,
        -4.2,
        -3.9,
        5.6,
        -12.0,
        8.3,
        -4.7,
        2.9,
    ),
]


@pytest.fixture(scope="session")
def reference_trades() -> list[float]:
    return TRADES


@pytest.fixture(scope="session")
def lcg_normals() -> Callable[[int, int], np.ndarray]:
    """Normals from a linear congruential generator: the reference series need no library's random stream."""

    def draw(count: int, seed: int) -> np.ndarray:
        state, out = seed, []
        for _ in range(count):
            total = 0.0
            for _ in range(12):
                state = (1103515245 * state + 12345) % 2**31
                total += state / 2**31
            out.append(total - 6)
        return np.array(out)

    return draw

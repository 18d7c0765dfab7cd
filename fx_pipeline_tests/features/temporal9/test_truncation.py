"""Nothing after a bar is ever read: what is computed on data cut after it equals the full run, to the bit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.environment.actions import HOLD
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.features.compute import IncrementalFeatures
from fx_pipeline.features.sigma import SIGMA_BARS
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.features.temporal9.kernel import WARMUP_BARS
from fx_pipeline.market.arrays import SESSION_BARS, WINDOW_BARS, MarketArrays
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.timeframe import M1
from fx_pipeline.sessions.index import valid_starts

#: Bars of which the whole prefix is computed again, of all that are tried.
CUTS, WHOLE_PREFIXES = 200, 20
#: A cut that does not go back to the first bar goes back this far: warm-up, first window, two sessions.
TRAILING_BARS = WARMUP_BARS + WINDOW_BARS + 2 * SESSION_BARS
PIP = 0.01

Compute = Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]


@dataclass
class Candles:
    time: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray

    def cut(self, first: int, last: int) -> "Candles":
        return Candles(*(getattr(self, name)[first:last].copy() for name in self.__dataclass_fields__))


def market_of(candles: Candles, compute: Compute) -> MarketArrays:
    features, sigma = compute(candles.close, candles.time, PIP)
    return MarketArrays(
        "GBP_JPY",
        PIP,
        candles.time,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        candles.open,
        candles.open,
        candles.close,
        candles.close,
        features,
        sigma,
        "test",
    )


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


def differences(full: MarketArrays, candles: Candles, compute: Compute, bar: int, first: int) -> list[str]:
    """Name what differs at or before `bar` when only the candles `first`..`bar` are there."""
    part = market_of(candles.cut(first, bar + 1), compute)
    cold = 0 if first == 0 else WARMUP_BARS - 1
    found = []
    if not same(part.features[cold:], full.features[first + cold : bar + 1]):
        found.append("features")
    if not same(part.outcome_sigma[min(SIGMA_BARS, len(part)) :], full.outcome_sigma[first + SIGMA_BARS : bar + 1]):
        found.append("sigma")
    known = valid_starts(full)
    known = known[(known + SESSION_BARS <= bar + 1) & (known >= first + cold + WINDOW_BARS - 1)]
    if not same(valid_starts(part) + first, known):
        found.append("valid starts")
    bars = np.arange(max(first + cold + WINDOW_BARS - 1, bar - SESSION_BARS + 1), bar + 1)
    if len(bars) and not same(part.windows(bars - first), full.windows(bars)):
        found.append("observation windows")
    return found


def run_session(market: MarketArrays, start: int, seed: int) -> list[np.ndarray]:
    """All that one session shows: observations, rewards and trades of a random policy."""
    environment = LockstepEnvironment(market, build_fills(market, CostConfig()))
    rng = np.random.default_rng(seed)
    seen: list[np.ndarray] = []
    observation = environment.reset(np.array([start]))
    for _ in range(SESSION_BARS):
        seen += [observation.temporal, observation.static, observation.legal]
        legal = np.flatnonzero(observation.legal[0])
        action = HOLD if HOLD in legal and rng.random() < 0.8 else rng.choice(legal)
        step = environment.step(np.array([action]))
        observation = step.observation
        seen.append(step.rewards)
    trades = environment.trades()
    return [*seen, *(trades[name] for name in ("pnl_pips", "amddp1", "entry_price", "exit_price", "entry_time"))]


@pytest.fixture(scope="module")
def candles(shared_data: Path) -> Candles:
    frame = pd.read_parquet(shared_data / "GBP_JPY_M1_2016-04_2016-06.parquet")
    prices = (frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close"))
    return Candles(pd.DatetimeIndex(frame["time"]).as_unit("ns").asi8.copy(), *prices)


@pytest.fixture(scope="module")
def full(candles: Candles) -> MarketArrays:
    return market_of(candles, features_of_closes)


@pytest.fixture(scope="module")
def cut_bars(candles: Candles) -> np.ndarray:
    return np.sort(np.random.default_rng(20260101).choice(len(candles.time) - 1, CUTS, replace=False))


def test_truncation_of_features_valid_starts_and_windows(
    candles: Candles, full: MarketArrays, cut_bars: np.ndarray
) -> None:
    assert len(valid_starts(full)) > 10_000
    whole = set(cut_bars[:: CUTS // WHOLE_PREFIXES].tolist())
    assert len(whole) >= WHOLE_PREFIXES
    for bar in cut_bars.tolist():
        first = max(0, bar + 1 - TRAILING_BARS)
        assert differences(full, candles, features_of_closes, bar, first) == [], f"cut after bar {bar}"
        if bar in whole:
            assert differences(full, candles, features_of_closes, bar, 0) == [], f"prefix up to bar {bar}"


def test_truncation_of_whole_sessions(candles: Candles, full: MarketArrays, cut_bars: np.ndarray) -> None:
    """A session that ends at the last bar there is shows and pays the same as in the full data."""
    starts = valid_starts(full)
    tried = 0
    for bar in cut_bars.tolist():
        ending = starts[starts + SESSION_BARS <= bar + 1]
        if not len(ending) or bar % 4:
            continue
        start = int(ending[-1])
        last = start + SESSION_BARS
        first = max(0, start - WINDOW_BARS - WARMUP_BARS)
        part = market_of(candles.cut(first, last), features_of_closes)
        for left, right in zip(run_session(part, start - first, bar), run_session(full, start, bar), strict=True):
            assert same(left, right), f"session at bar {start}"
        tried += 1
    assert tried >= 20


def test_truncation_of_the_live_builder(candles: Candles, full: MarketArrays, cut_bars: np.ndarray) -> None:
    """A stream that stops at the bar gives the bar's row of the full table."""
    for bar in cut_bars[cut_bars >= WARMUP_BARS][:: CUTS // 8].tolist():
        stream = IncrementalFeatures(FEATURE_SET, "GBP_JPY", M1, PIP)
        for t in range(bar - WARMUP_BARS + 1, bar + 1):
            row = stream.append(int(candles.time[t]), {"close": float(candles.close[t])})
        assert row is not None and same(row, full.features[bar])


def leaky_change(close: np.ndarray, time: np.ndarray, pip: float) -> tuple[np.ndarray, np.ndarray]:
    """Feature 4 of the next bar in the place of this one's."""
    features, sigma = features_of_closes(close, time, pip)
    features[WARMUP_BARS - 1 : -1, 4] = features[WARMUP_BARS:, 4]
    return features, sigma


def leaky_scale(close: np.ndarray, time: np.ndarray, pip: float) -> tuple[np.ndarray, np.ndarray]:
    """Momentum scaled by the extrema of the whole history."""
    features, sigma = features_of_closes(close, time, pip)
    momentum = close[60:] - close[:-60]
    features[60:, 1] = (momentum - momentum.min()) / (momentum.max() - momentum.min())
    return features, sigma


def leaky_sigma(close: np.ndarray, time: np.ndarray, pip: float) -> tuple[np.ndarray, np.ndarray]:
    features, sigma = features_of_closes(close, time, pip)
    sigma[:-1] = sigma[1:]
    return features, sigma


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        (leaky_change, ["features", "observation windows"]),
        (leaky_scale, ["features", "observation windows"]),
        (leaky_sigma, ["sigma"]),
    ],
)
def test_the_same_check_finds_a_planted_leak(candles: Candles, leak: Compute, found: list[str]) -> None:
    short = candles.cut(0, 6_000)
    leaking = market_of(short, leak)
    # A leak shows at the last bar of a cut, unless the prices happen to stand still there.
    seen = [differences(leaking, short, leak, bar, 0) for bar in range(3_000, 3_010)]
    assert found in seen

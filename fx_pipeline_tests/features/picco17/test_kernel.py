"""The definitions of docs/features.md, once more in pandas."""

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.features.clock import clock_features
from fx_pipeline.features.compute import compute_features
from fx_pipeline.features.picco17.entry import FEATURE_SET
from fx_pipeline.features.picco17.kernel import HORIZONS, warmup_bars
from fx_pipeline.features.rolling import trailing_sums
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.timeframe import H1, M1, M5, Timeframe
from fx_pipeline_tests.features.markets import made_up_bars


@pytest.mark.parametrize("bars_of", [M5, H1])
def test_features_equal_the_definitions(bars_of: Timeframe) -> None:
    bars = made_up_bars(bars_of, warmup_bars(bars_of) + 1_000)
    h, c = HORIZONS[bars_of.name], pd.Series(bars.close)

    def rms(values: pd.Series, count: int) -> pd.Series:
        return (values**2).rolling(count).mean().pow(0.5)

    def squashed(move: pd.Series, usual: pd.Series) -> pd.Series:
        return np.tanh(move / (2 * usual)).where(usual > 0, 0.0)

    low, high = pd.Series(bars.low).rolling(h.long).min(), pd.Series(bars.high).rolling(h.long).max()
    recent, usual = rms(c.diff(), 24), rms(c.diff(), h.scale)
    move, day = c.diff(h.medium), c.diff(h.long)
    trend = c.rolling(h.medium).mean() - c.rolling(h.long).mean()
    beyond = np.sign(move) * (move.abs() - (bars.ask_close - bars.bid_close)).clip(lower=0)
    expected = {
        "return_short": squashed(c.diff(), usual),
        "return_medium": squashed(move, rms(move, h.scale)),
        "return_long": squashed(day, rms(day, h.scale)),
        "position_in_range": (c - low) / (high - low),
        "volatility_ratio": recent / (recent + usual),
        "momentum": squashed(trend, rms(trend, h.scale)),
        "spread_adjusted_move": squashed(beyond, rms(move, h.scale)),
    }
    rows = compute_features(FEATURE_SET, bars)
    warm = slice(warmup_bars(bars_of) - 1, None)
    assert tuple(expected) == FEATURE_SET.names[:7]
    for number, (name, values) in enumerate(expected.items()):
        np.testing.assert_allclose(rows[warm, number], values.to_numpy()[warm], atol=2e-6, err_msg=name)
    np.testing.assert_allclose(rows[warm, 7:], clock_features(bars.time)[warm], atol=1e-7)
    # One bar earlier the longest of the definitions has no value yet.
    assert np.isnan(rms(day, h.scale)[warm.start - 1]) and np.isfinite(rms(day, h.scale)[warm.start])


def test_it_is_for_m5_and_h1() -> None:
    with pytest.raises(ConfigurationError, match="picco17 is not defined for M1: use M5, H1"):
        compute_features(FEATURE_SET, made_up_bars(M1, 100))


@pytest.mark.parametrize("window", [1, 2, 3, 12, 24, 288, 480])
def test_trailing_sums_are_sums_and_know_no_bar_before(window: int) -> None:
    values = np.random.default_rng(0).standard_normal(1_000)
    sums = trailing_sums(values, window)
    np.testing.assert_allclose(sums, pd.Series(values).rolling(window).sum(), atol=1e-9)
    for first in (1, 5, 333):
        assert trailing_sums(values[first:], window)[window - 1 :].tobytes() == sums[first + window - 1 :].tobytes()

"""The nine features against a slow account of SPEC section 3 in pandas and zoneinfo."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from fx_pipeline.features.clock import CLOCK_TABLE
from fx_pipeline.features.compute import IncrementalFeatures
from fx_pipeline.features.sigma import SIGMA_BARS
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS
from fx_pipeline.market.calendar import MINUTE_NS, week_minutes
from fx_pipeline.market.timeframe import M1

NEW_YORK = ZoneInfo("America/New_York")
PIP = 0.01


def bars(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Closes on a grid of 0.1 pips with flat stretches, and times with gaps and a weekend."""
    rng = np.random.default_rng(seed)
    change = np.where(rng.random(count) < 0.2, 0.0, rng.normal(0.0, 0.02, count))
    change[count // 2 : count // 2 + 80] = 0.0
    close = np.round(187.0 + np.cumsum(change), 3)
    gaps = np.where(rng.random(count) < 0.02, 7, 1)
    gaps[2 * count // 3] = 2 * 1_440
    start = int(np.datetime64("2024-03-06T12:00", "ns").astype(np.int64))
    return close, start + MINUTE_NS * np.cumsum(gaps)


def reference(close: np.ndarray, time: np.ndarray, pip: float) -> pd.DataFrame:
    c = pd.Series(close)
    low, high = c.rolling(60).min(), c.rolling(60).max()

    def scaled(m: pd.Series) -> pd.Series:
        least, most = m.rolling(1_440).min(), m.rolling(1_440).max()
        return ((m - least) / (most - least)).where(most > least, 0.5).where(most.notna())

    walls = [datetime.fromtimestamp(int(t) // 10**9, UTC).astimezone(NEW_YORK).replace(tzinfo=None) for t in time]
    # Days since Sunday 17:00 New York, in whole trading days and in hours.
    minutes = np.array([((w.weekday() + 1) % 7 * 24 + w.hour - 17) * 60 + w.minute for w in walls]) % (7 * 1_440)
    day, hour = minutes // 1_440, minutes / 60
    return pd.DataFrame(
        {
            "position_in_range_60": ((c - low) / (high - low)).where(high > low, 0.5).where(high.notna()),
            "min_max_scaled_momentum_60": scaled(c - c.shift(60)),
            "min_max_scaled_rolling_range": scaled(high - low),
            "min_max_scaled_momentum_5": scaled(c - c.shift(5)),
            "price_change_pips": np.tanh((c - c.shift(1)) / pip / 10),
            "dow_cos_final": np.cos(2 * np.pi * day / 5),
            "dow_sin_final": np.sin(2 * np.pi * day / 5),
            "hour_cos_final": np.cos(2 * np.pi * hour / 120),
            "hour_sin_final": np.sin(2 * np.pi * hour / 120),
        }
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_features_equal_the_definitions(seed: int) -> None:
    close, time = bars(4_000, seed)
    features, sigma = features_of_closes(close, time, PIP)
    expected = reference(close, time, PIP)
    assert tuple(expected.columns) == FEATURE_NAMES
    assert features.dtype == np.float32 and features.shape == (4_000, 9)
    open_ = week_minutes(time) < 7_200
    for number, name in enumerate(FEATURE_NAMES):
        rows = np.flatnonzero(open_)
        rows = rows[rows >= WARMUP_BARS - 1]
        np.testing.assert_allclose(features[rows, number], expected[name].to_numpy()[rows], atol=2e-7, err_msg=name)
    change = pd.Series(close).diff()
    np.testing.assert_allclose(sigma, change.rolling(SIGMA_BARS).std(ddof=0), rtol=1e-7, atol=1e-9)


def test_the_flat_value_is_one_half() -> None:
    close, time = bars(1_700)
    close[:] = 187.0
    features, sigma = features_of_closes(close, time, PIP)
    assert (features[WARMUP_BARS - 1 :, :4] == 0.5).all()
    assert (features[WARMUP_BARS - 1 :, 4] == 0.0).all()
    assert (sigma[SIGMA_BARS:] == 0.0).all()


def test_the_warm_up_is_exactly_1500_bars() -> None:
    close, time = bars(1_600)
    features, sigma = features_of_closes(close, time, PIP)
    assert WARMUP_BARS == 1_500
    assert np.isnan(features[:1_499]).all() and np.isfinite(features[1_499:]).all()
    assert np.isnan(sigma[:20]).all() and np.isfinite(sigma[20:]).all()
    # The pandas account has its first complete row at the same bar.
    complete = reference(close, time, PIP).notna().all(axis=1).to_numpy()
    assert complete.argmax() == 1_499


@pytest.mark.parametrize("count", [0, 1, 5, 60, 1_499])
def test_a_short_history_is_all_cold(count: int) -> None:
    close, time = bars(1_600)
    features, sigma = features_of_closes(close[:count], time[:count], PIP)
    assert features.shape == (count, 9) and sigma.shape == (count,)
    assert np.isnan(features).all()


def test_values_stay_in_their_ranges() -> None:
    close, time = bars(3_000, 5)
    features, _ = features_of_closes(close, time, PIP)
    warm = features[WARMUP_BARS - 1 :]
    assert (warm[:, :4] >= 0.0).all() and (warm[:, :4] <= 1.0).all()
    assert (np.abs(warm[:, 4:]) <= 1.0).all()
    np.testing.assert_allclose((CLOCK_TABLE**2)[:, :2].sum(axis=1), 1.0)


def test_the_week_is_one_circle() -> None:
    """Pitfall: with the hour of the day instead of the week, the angle would span 72 degrees and jump at midnight."""
    angle = np.unwrap(np.arctan2(CLOCK_TABLE[:7_200, 3], CLOCK_TABLE[:7_200, 2]))
    assert angle[-1] - angle[0] == pytest.approx(2 * np.pi * 7_199 / 7_200)
    assert np.allclose(np.diff(angle), 2 * np.pi / 7_200)


def test_one_bar_at_a_time_equals_the_batch_to_the_bit() -> None:
    close, time = bars(1_900, 2)
    features, _ = features_of_closes(close, time, PIP)
    stream = IncrementalFeatures(FEATURE_SET, "GBP_JPY", M1, PIP)
    for t in range(len(close)):
        row = stream.append(int(time[t]), {"close": float(close[t])})
        if t < WARMUP_BARS - 1:
            assert row is None
        else:
            assert row is not None and row.tobytes() == features[t].tobytes()


@pytest.mark.parametrize("shift", [0, -MINUTE_NS])
def test_a_bar_that_is_not_newer_is_refused(shift: int) -> None:
    stream = IncrementalFeatures(FEATURE_SET, "GBP_JPY", M1, PIP)
    stream.append(5 * MINUTE_NS, {"close": 187.0})
    with pytest.raises(ValueError, match="not newer"):
        stream.append(5 * MINUTE_NS + shift, {"close": 187.0})


@pytest.mark.parametrize("first", [1, 2, 7, 333, 1_000])
def test_a_row_does_not_depend_on_where_the_history_begins(first: int) -> None:
    close, time = bars(3_100, 3)
    features, sigma = features_of_closes(close, time, PIP)
    later, later_sigma = features_of_closes(close[first:], time[first:], PIP)
    assert later[WARMUP_BARS - 1 :].tobytes() == features[first + WARMUP_BARS - 1 :].tobytes()
    assert later_sigma[SIGMA_BARS:].tobytes() == sigma[first + SIGMA_BARS :].tobytes()

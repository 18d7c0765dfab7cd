from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.market.arrays import SESSION_BARS, MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, trading_day, trading_day_start
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.instrument import instrument
from fx_pipeline.sessions.index import starts_inside, valid_starts
from fx_pipeline.sessions.windows import (
    MIN_EMBARGO_BARS,
    WalkForwardConfig,
    WalkForwardWindow,
    fit_spans,
    full_days,
    plan_windows,
    stretches,
)


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


#: Sunday 17:00 New York, in winter; the weeks that follow go over the change to summer time.
SUNDAY = ns("2024-02-04T22:00")


def weeks(count: int, extra_minutes: int = 0) -> np.ndarray:
    return open_minutes(SUNDAY, SUNDAY + (count * 10_080 + extra_minutes) * MINUTE_NS)


def check(time: np.ndarray, windows: list[WalkForwardWindow], config: WalkForwardConfig) -> None:
    """What must hold of every plan, stated in bars."""
    assert len({window.key for window in windows}) == len(windows)
    for window in windows:
        train = np.flatnonzero((time >= window.train_start) & (time < window.train_end))
        valid = np.flatnonzero((time >= window.valid_start) & (time < window.valid_end))
        assert len(train) and len(valid)
        assert window.train_start < window.train_end <= window.valid_start < window.valid_end
        between = valid[0] - train[-1] - 1
        assert between >= config.embargo_bars >= MIN_EMBARGO_BARS == 1_860
        # Wholly inside the data: bars before the start, and bars up to the last hour of the last day.
        assert time[0] < window.train_start
        assert time[-1] + MINUTE_NS >= window.valid_end - 60 * MINUTE_NS
        assert trading_day_start(int(trading_day([window.valid_start])[0])) == window.valid_start
        assert pd.Timestamp(window.spans()["valid_end"]) == pd.Timestamp(window.valid_end, tz="UTC")
    for before, after in pairwise(windows):
        assert before.valid_end <= after.valid_start


@pytest.mark.parametrize("count", [3, 4, 6, 9, 20])
def test_plans_of_whole_weeks(count: int) -> None:
    time, config = weeks(count), WalkForwardConfig()
    windows = plan_windows(time, config)
    check(time, windows, config)
    assert len(windows) == (2 if count >= 6 else 1)
    # The last window validates the newest days.
    assert windows[-1].valid_end == SUNDAY + (count * 7 - 2) * 1_440 * MINUTE_NS - (60 * MINUTE_NS if count > 5 else 0)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 12),
    extra=st.integers(0, 7_000),
    missing_days=st.sets(st.integers(0, 80), max_size=12),
    keep_share=st.sampled_from([1.0, 0.7, 0.3]),
    train_days=st.sampled_from([None, 1, 5, 20]),
    validation_days=st.sampled_from([None, 1, 5]),
    embargo=st.sampled_from([1_860, 4_000]),
    seed=st.integers(0, 1_000),
)
def test_every_plan_keeps_its_promises(
    count: int,
    extra: int,
    missing_days: set[int],
    keep_share: float,
    train_days: int | None,
    validation_days: int | None,
    embargo: int,
    seed: int,
) -> None:
    time = weeks(count, extra)
    time = time[np.random.default_rng(seed).random(len(time)) < keep_share]
    time = time[~np.isin(trading_day(time) - trading_day([SUNDAY])[0], sorted(missing_days))]
    config = WalkForwardConfig(train_days, validation_days, embargo)
    check(time, plan_windows(time, config), config)


def test_windows_of_set_spans_step_on_by_the_validation_span() -> None:
    config = WalkForwardConfig(train_days=10, validation_days=5)
    time = weeks(8)
    windows = plan_windows(time, config)
    check(time, windows, config)
    # 40 days: one to warm up, 10 to train, 2 of embargo, then five at a time.
    assert len(windows) == (40 - 13) // 5
    spans = [(window.valid_end - window.valid_start) / (1_440 * MINUTE_NS) for window in windows]
    assert all(span == pytest.approx(7.0, abs=0.1) for span in spans)
    assert windows[0].key == "2024-02-22"


def test_a_longer_history_keeps_the_windows_of_set_spans() -> None:
    config = WalkForwardConfig(train_days=10, validation_days=5)
    shorter, longer = plan_windows(weeks(7), config), plan_windows(weeks(8), config)
    assert longer[: len(shorter)] == shorter and len(longer) > len(shorter)


def test_a_last_day_that_still_goes_on_does_not_count() -> None:
    whole, going_on = weeks(4), weeks(4, extra_minutes=1_000)
    assert full_days(going_on).tolist() == full_days(whole).tolist()
    assert len(full_days(weeks(4, extra_minutes=1_440))) == len(full_days(whole)) + 1


def test_thin_days_do_not_count() -> None:
    time = weeks(1)
    day = trading_day(time)
    second = np.flatnonzero(day == day[0] + 1)
    kept = np.ones(len(time), dtype=bool)
    kept[second[359:]] = False
    assert full_days(time[kept]).tolist() == [day[0], day[0] + 2, day[0] + 3, day[0] + 4]
    kept[second[359]] = True
    assert len(full_days(time[kept])) == 5


def test_no_window_reaches_over_a_long_hole() -> None:
    time = weeks(12)
    hole = (time >= SUNDAY + 4 * 10_080 * MINUTE_NS) & (time < SUNDAY + 8 * 10_080 * MINUTE_NS)
    time, config = time[~hole], WalkForwardConfig()
    windows = plan_windows(time, config)
    check(time, windows, config)
    assert len(stretches(full_days(time))) == 2 and len(windows) == 2
    for window in windows:
        inside = time[(time >= window.train_start) & (time < window.valid_end)]
        assert np.diff(inside).max() < 4 * 1_440 * MINUTE_NS


@pytest.mark.parametrize("count", [0, 1, 1_000, 7_200, 2 * 7_200 - 1_440])
def test_too_little_data_gives_no_window(count: int) -> None:
    assert plan_windows(weeks(2)[:count], WalkForwardConfig()) == []


@pytest.mark.parametrize(
    ("settings_", "name"),
    [
        ({"embargo_bars": 1_859}, "FX_EMBARGO_BARS=1859"),
        ({"train_days": 0}, "FX_TRAIN_DAYS=0"),
        ({"validation_days": -1}, "FX_VALIDATION_DAYS=-1"),
    ],
)
def test_settings_that_cannot_be_name_the_setting(settings_: dict[str, int], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WalkForwardConfig(**settings_)


def test_fitted_spans_grow_with_the_data_up_to_their_limits() -> None:
    fitted = [fit_spans(days, WalkForwardConfig()) for days in range(1, 1_000)]
    assert all(5 <= train <= 120 and 3 <= valid <= 20 for train, valid in fitted)
    assert fitted[-1] == (120, 20)
    assert fit_spans(15, WalkForwardConfig(train_days=7, validation_days=2)) == (7, 2)


FX_FILES = [
    "EUR_USD_M1_2017-01_2017-05.parquet",
    "EUR_USD_M1_2024-01.parquet",
    "GBP_JPY_M1_2016-04_2016-06.parquet",
    "GBP_JPY_M1_2024-01_derived.parquet",
    "GBP_USD_M1_2012-02_bid_ask.parquet",
    "GBP_USD_M1_2024-01.parquet",
    "USD_JPY_M1_2024-01.parquet",
]


@pytest.mark.parametrize("name", FX_FILES)
def test_three_weeks_of_a_real_file_give_a_window_with_sessions(shared_data: Path, name: str) -> None:
    frame = pd.read_parquet(shared_data / name)
    time = pd.DatetimeIndex(frame["time"]).as_unit("ns").asi8
    pip = instrument(name[:7]).pip
    three_weeks = 21 * 1_440 * MINUTE_NS
    latest = int(time[-1]) - three_weeks
    for start in np.linspace(time[0], latest, 5).astype(np.int64):
        rows = (time >= start) & (time < start + three_weeks)
        close, high, low = (frame[column].to_numpy(np.float64)[rows] for column in ("close", "high", "low"))
        features, sigma = features_of_closes(close, time[rows], pip)
        market = MarketArrays(name[:7], pip, time[rows], close, high, low, *[close] * 5, features, sigma, "test")
        config = WalkForwardConfig()
        windows = plan_windows(market.time, config)
        assert len(windows) >= 1, f"three weeks from {pd.Timestamp(start)}"
        check(market.time, windows, config)
        starts = valid_starts(market)
        for window in windows:
            train = starts_inside(market, starts, window.train_start, window.train_end)
            valid = starts_inside(market, starts, window.valid_start, window.valid_end)
            assert len(train) and len(valid)
            assert valid[0] - (train[-1] + SESSION_BARS - 1) > config.embargo_bars

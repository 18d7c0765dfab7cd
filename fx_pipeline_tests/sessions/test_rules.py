"""Sessions of other timeframes and rules: found, kept in tables of their own, and planned in windows."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.features.table import load_market, load_times, update_features
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, trading_week
from fx_pipeline.market.live_sessions import session_lengths
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import H1, M1, M5, TIMEFRAMES, D, Timeframe
from fx_pipeline.sessions.index import starts_inside, valid_starts
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.sessions.planning import replan
from fx_pipeline.sessions.table import read_plan, read_starts, write_plan
from fx_pipeline.sessions.update import update_sessions
from fx_pipeline.sessions.windows import (
    DEFAULT_REACH,
    MIN_EMBARGO_BARS,
    Reach,
    WalkForwardConfig,
    fit_spans,
    full_days,
    plan_windows,
)
from fx_pipeline_tests.features.lake import write_lake

START = int(np.datetime64("2020-01-05T22:00", "ns").astype(np.int64))
WEEK_NS = 10_080 * MINUTE_NS
DAY = SessionRules(bars=24, window_bars=8, max_gap_bars=3)
OVER_WEEKENDS = SessionRules(bars=150, window_bars=8, max_gap_bars=3, within_week=False)


def bars(timeframe: Timeframe, weeks: int) -> np.ndarray:
    """Opens of all bars of the trading week."""
    return open_minutes(START, START + weeks * WEEK_NS)[:: timeframe.minutes]


def market(timeframe: Timeframe, time: np.ndarray) -> MarketArrays:
    close = 187.0 + 0.02 * (np.arange(len(time)) % 2)
    features = np.zeros((len(time), 9), np.float32)
    return MarketArrays("GBP_JPY", 0.01, time, *[close] * 8, features, close, "test", timeframe)


@pytest.mark.parametrize("timeframe", [M5, H1])
def test_sessions_of_longer_bars_lie_in_a_week(timeframe: Timeframe) -> None:
    made = market(timeframe, bars(timeframe, 3))
    starts = valid_starts(made, DAY)
    weeks = trading_week(made.time)
    assert len(starts) > 150 and (weeks[starts] == weeks[starts + 23]).all()
    # A week of hours has 120 - 23 places where a day may begin, less those of the first observation.
    assert timeframe is M5 or len(starts) == 3 * 97 - 7
    # As long as the rule of live sessions lets them be.
    assert (session_lengths(made.time, starts, DAY, timeframe) <= 24).all()


def test_sessions_may_go_on_over_weekends() -> None:
    made = market(H1, bars(H1, 3))
    assert valid_starts(made, SessionRules(bars=150, window_bars=8)).tolist() == []
    starts = valid_starts(made, OVER_WEEKENDS)
    assert starts.tolist() == list(range(7, 360 - 150 + 1))
    assert (session_lengths(made.time, starts, OVER_WEEKENDS, H1) == 150).all()


@pytest.mark.parametrize(("missing", "allowed"), [(2, True), (3, False)])
def test_hours_beside_a_weekend_count_as_a_gap(missing: int, allowed: bool) -> None:
    time = bars(H1, 2)
    # The last hour of the week and the first ones of the next are not there: the gap is `missing` + 1 hours of trading.
    time = np.delete(time, np.arange(119, 119 + missing))
    starts = valid_starts(market(H1, time), SessionRules(bars=24, window_bars=1, max_gap_bars=3, within_week=False))
    crossing = [start for start in starts.tolist() if start < 119 < start + 24]
    assert bool(crossing) is allowed


def test_the_last_bar_of_a_session_closes_with_the_span() -> None:
    made = market(H1, bars(H1, 1))
    starts = valid_starts(made, DAY)
    first, last = int(made.time[20]), int(made.time[60])
    assert starts_inside(made, starts, first, last, DAY).tolist() == list(range(20, 37))
    assert starts_inside(made, starts, first, last - 1, DAY).tolist() == list(range(20, 36))


@pytest.mark.parametrize("rules", [DAY, OVER_WEEKENDS])
def test_the_index_grows_as_it_is_found_anew(tmp_path: Path, rules: SessionRules) -> None:
    months = write_lake(tmp_path, H1, 2_600)
    assert len(months) >= 5
    grown, anew = duckdb.connect(), duckdb.connect()
    for count in (1, 3, 4, len(months)):
        update_features(grown, "GBP_JPY", months[:count], feature_set="picco17", timeframe=H1)
        update_sessions(grown, "GBP_JPY", "picco17", H1, rules)
    update_features(anew, "GBP_JPY", months, feature_set="picco17", timeframe=H1)
    update = update_sessions(anew, "GBP_JPY", "picco17", H1, rules)
    table = SessionTable(FeatureTable("picco17", H1), rules)
    rows = [connection.execute(f"SELECT * FROM {table.name} ORDER BY 2").fetchall() for connection in (grown, anew)]
    assert rows[0] == rows[1] and len(rows[0]) == update.sessions > 500
    made = load_market(anew, "GBP_JPY", feature_set="picco17", timeframe=H1)
    starts = valid_starts(made, rules)
    assert read_starts(anew, made, rules).tolist() == starts.tolist()
    assert update.apart == len(valid_starts(made, rules, rules.bars))
    assert update_sessions(anew, "GBP_JPY", "picco17", H1, rules).written == 0
    # Rules of another kind find others beside them, and change none.
    update_sessions(anew, "GBP_JPY", "picco17", H1, SessionRules(bars=12, window_bars=2))
    assert read_starts(anew, made, rules).tolist() == starts.tolist()


def test_names_tell_rules_apart_and_the_first_ones_are_plain() -> None:
    plain = SessionTable()
    assert (plain.name, plain.months, plain.windows) == ("valid_sessions", "session_months", "walk_forward_window")
    assert plain.rules_text == "v1 360 32 10 1.0" and plain.is_default
    hours = SessionTable(FeatureTable("picco17", H1))
    assert (hours.name, hours.windows) == ("sessions_picco17_h1", "walk_forward_window_picco17_h1")
    others = [
        SessionTable(FeatureTable(), SessionRules(bars=120)),
        SessionTable(FeatureTable("picco17", H1), OVER_WEEKENDS),
        SessionTable(FeatureTable("picco17", H1), SessionRules(min_range_pips=2.5)),
        SessionTable(FeatureTable("picco17", M5), SessionRules(min_range_pips=2.5)),
    ]
    names = [table.name for table in (plain, hours, *others)]
    assert len(set(names)) == len(names) and all(name.isidentifier() for name in names)
    assert others[0].name == "sessions_temporal9_m1_bars_120"
    assert others[2].name == "sessions_picco17_h1_min_range_pips_2p5"
    assert "over weekends" in others[1].rules_text


def test_the_reach_of_the_first_is_that_of_before() -> None:
    assert Reach.of(SessionTable()) == DEFAULT_REACH and MIN_EMBARGO_BARS == 1_860
    assert (DEFAULT_REACH.warmup_days, DEFAULT_REACH.embargo_days(1_860), DEFAULT_REACH.stretch) == (1, 2, 1)
    asked = WalkForwardConfig(10, 5, 2_000)
    assert DEFAULT_REACH.asked(asked) == asked


def reach(timeframe: Timeframe) -> Reach:
    return Reach(timeframe, 536 if timeframe is H1 else 30, 24)


@pytest.mark.parametrize(("timeframe", "weeks"), [(M5, 30), (H1, 120), (D, 900)])
def test_windows_are_planned_in_days_and_bars_of_the_timeframe(timeframe: Timeframe, weeks: int) -> None:
    time = bars(timeframe, weeks)
    if timeframe is D:
        # Bars of a day: five a week, at 17:00 New York whatever the season.
        time = np.array([time[0] + (7 * week + day) * 1_440 * MINUTE_NS for week in range(weeks) for day in range(5)])
        local = pd.DatetimeIndex(time, tz="UTC").tz_convert("America/New_York").tz_localize(None)
        shifted = local.normalize() + pd.Timedelta(hours=17)
        time = np.sort(np.unique(shifted.tz_localize("America/New_York").tz_convert("UTC").as_unit("ns").asi8))
    own = reach(timeframe)
    config = own.asked(WalkForwardConfig())
    assert config.embargo_bars == own.embargo_bars
    windows = plan_windows(time, config, own)
    assert len(windows) >= 2
    train_days, valid_days = fit_spans(len(full_days(time, timeframe)), config, own)
    for window in windows:
        train = np.flatnonzero((time >= window.train_start) & (time < window.train_end))
        valid = np.flatnonzero((time >= window.valid_start) & (time < window.valid_end))
        assert valid[0] - train[-1] - 1 >= own.embargo_bars
        # A whole warm-up lies before training.
        assert train[0] >= own.warmup_bars - own.day_bars
        assert len(valid) == pytest.approx(valid_days * own.day_bars, rel=0.05)
        assert len(train) >= 0.7 * train_days * own.day_bars
    assert replan("GBP_JPY", time, config, None, own).plan.windows == tuple(windows)


def test_a_plan_of_hours_stands_while_it_grows(tmp_path: Path) -> None:
    own = reach(H1)
    config = own.asked(WalkForwardConfig(train_days=60, validation_days=20))
    shorter, longer = bars(H1, 60), bars(H1, 80)
    before = replan("GBP_JPY", shorter, config, None, own).plan
    path = tmp_path / "GBP_JPY.json"
    write_plan(path, before)
    stood = read_plan(path)
    assert stood == before and stood.asked == config and stood.windows
    after = replan("GBP_JPY", longer, config, stood, own)
    assert (
        after.plan.windows[: len(before.windows)] == before.windows and after.new and not after.lost and not after.anew
    )


@pytest.mark.parametrize("timeframe", TIMEFRAMES.values(), ids=str)
def test_a_day_that_goes_on_does_not_count(timeframe: Timeframe) -> None:
    if timeframe is D:
        time = np.array([START + day * 1_440 * MINUTE_NS for day in range(4)])
        assert len(full_days(time, timeframe)) == 4
        return
    time = bars(timeframe, 1)
    a_day = 1_440 // timeframe.minutes
    assert len(full_days(time, timeframe)) == 5
    cut = time[: 4 * a_day + a_day // 2]
    assert len(full_days(cut, timeframe)) == 4
    assert timeframe is not M1 or len(full_days(cut)) == 4


def test_three_years_of_real_hours_have_sessions_and_windows(shared_data: Path) -> None:
    frame = pd.read_parquet(shared_data / "GBP_JPY_H1_2015_2022.parquet")
    time = pd.DatetimeIndex(frame["time"]).as_unit("ns").asi8
    rows = time < time[0] + 3 * 365 * 1_440 * MINUTE_NS
    open_, high, low, close = (frame[name].to_numpy(np.float64)[rows] for name in ("open", "high", "low", "close"))
    quotes = [open_, open_, close, close]
    features = np.zeros((rows.sum(), 11), np.float32)
    made = MarketArrays(
        "GBP_JPY", 0.01, time[rows], open_, high, low, close, *quotes, features, close, "test", H1, "picco17"
    )
    starts = valid_starts(made, DAY)
    table = SessionTable(FeatureTable("picco17", H1), DAY)
    own = Reach.of(table)
    windows = plan_windows(made.time, own.asked(WalkForwardConfig()), own)
    assert len(starts) > 5_000 and windows
    for window in windows:
        assert len(starts_inside(made, starts, window.train_start, window.train_end, DAY)) > 1_000
        assert len(starts_inside(made, starts, window.valid_start, window.valid_end, DAY)) > 200


def test_times_of_other_tables_are_their_own(tmp_path: Path) -> None:
    connection = duckdb.connect()
    update_features(connection, "GBP_JPY", write_lake(tmp_path, H1, 600), feature_set="picco17", timeframe=H1)
    assert len(load_times(connection, "GBP_JPY", "picco17", H1)) == 600

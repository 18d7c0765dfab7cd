"""Plans that grow: no two windows validate on the same bar, and what was planned stays."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, trading_day, trading_day_start
from fx_pipeline.sessions.planning import Replanned, replan
from fx_pipeline.sessions.table import Plan
from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS, WalkForwardConfig, plan_windows

NAME = "GBP_JPY"
#: Sunday 17:00 New York, in winter; the weeks that follow go over the change to summer time.
SUNDAY = int(np.datetime64("2024-01-07T22:00", "ns").astype(np.int64))
YEAR = open_minutes(SUNDAY, SUNDAY + 52 * 10_080 * MINUTE_NS)
DAYS = np.unique(trading_day(YEAR))
ENDS = np.searchsorted(YEAR, [trading_day_start(int(day) + 1) for day in DAYS])
FITTED = WalkForwardConfig()


def check(time: np.ndarray, plan: Plan, config: WalkForwardConfig) -> None:
    """What must hold of every plan, stated in bars."""
    assert [window.key for window in plan.windows] == sorted({window.key for window in plan.windows})
    for window in plan.windows:
        between = np.searchsorted(time, window.valid_start) - np.searchsorted(time, window.train_end)
        assert between == config.embargo_bars >= MIN_EMBARGO_BARS
        assert time[0] < window.train_start < window.train_end < window.valid_start < window.valid_end
        assert time[-1] + MINUTE_NS >= window.valid_end - 60 * MINUTE_NS
    for before, after in pairwise(plan.windows):
        assert before.valid_end <= after.valid_start


def grow(plan: Plan | None, time: np.ndarray, config: WalkForwardConfig = FITTED) -> Replanned:
    """Plan once more, and hold the result against the plan before it."""
    found = replan(NAME, time, config, plan)
    check(time, found.plan, config)
    standing = {window.key: window for window in plan.windows} if plan else {}
    assert set(found.new) == {window.key for window in found.plan.windows} - set(standing)
    assert set(found.lost) == set(standing) - {window.key for window in found.plan.windows}
    assert replan(NAME, time, config, found.plan) == replace(found, new=(), lost={}, moved=(), anew="")
    return found


@pytest.mark.parametrize(
    "config", [FITTED, WalkForwardConfig(10, 5), WalkForwardConfig(None, 5), WalkForwardConfig(20, None, 4_000)]
)
def test_a_year_day_by_day_adds_windows_and_changes_none(config: WalkForwardConfig) -> None:
    plan = None
    for end in ENDS.tolist():
        before = plan.windows if plan else ()
        plan = grow(plan, YEAR[:end], config).plan
        assert plan.windows[: len(before)] == before
    assert plan is not None and len(plan.windows) >= 10
    # Whatever they were fitted to when they were planned, they leave no day out but the last ones.
    for before, after in pairwise(plan.windows):
        assert before.valid_end <= after.valid_start <= before.valid_end + 49 * 60 * MINUTE_NS
    assert len(DAYS) - np.searchsorted(DAYS, trading_day([plan.windows[-1].valid_end])[0]) < plan.validation_days


def test_the_first_plan_is_that_of_the_bars_alone() -> None:
    for end in ENDS[5::17].tolist():
        assert grow(None, YEAR[:end]).plan.windows == tuple(plan_windows(YEAR[:end], FITTED))
    assert grow(None, YEAR[:0]).plan == Plan(NAME, 0, 5, 3, (), FITTED)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, len(YEAR)), min_size=1, max_size=8),
    missing=st.sets(st.integers(0, len(DAYS) - 1), max_size=30),
    hole=st.tuples(st.integers(0, 200), st.integers(0, 30)),
    thinner=st.integers(0, 3),
    config=st.sampled_from([FITTED, WalkForwardConfig(8, 4), WalkForwardConfig(None, 7)]),
)
def test_any_growth_keeps_what_was_planned(
    cuts: list[int], missing: set[int], hole: tuple[int, int], thinner: int, config: WalkForwardConfig
) -> None:
    gone = {*missing, *range(hole[0], min(hole[0] + hole[1], len(DAYS)))}
    kept = ~np.isin(trading_day(YEAR), DAYS[sorted(gone)]) & (np.arange(len(YEAR)) % 4 >= thinner)
    plan = None
    for cut in sorted(cuts):
        time = YEAR[:cut][kept[:cut]]
        before = plan.windows if plan else ()
        plan = grow(plan, time, config).plan
        assert set(before) <= set(plan.windows)


def test_older_candles_add_windows_before_and_move_none() -> None:
    newer = YEAR[ENDS[149] :]
    plan = grow(None, newer).plan
    whole = grow(plan, YEAR).plan
    assert set(plan.windows) < set(whole.windows)
    assert whole.windows[0].valid_end <= plan.windows[0].valid_start


def test_candles_that_went_away_are_said_and_the_others_stay() -> None:
    plan = grow(None, YEAR[: ENDS[199]], WalkForwardConfig(20, 10)).plan
    window = plan.windows[4]
    # A day in the middle may go; the first day of validation may not.
    first, second = np.unique(trading_day(YEAR[(window.valid_start <= YEAR) & (window.valid_end > YEAR)]))[:2]
    kept = YEAR[: ENDS[199]][trading_day(YEAR[: ENDS[199]]) != second]
    assert grow(plan, kept, WalkForwardConfig(20, 10)).lost == {}
    kept = YEAR[: ENDS[199]][trading_day(YEAR[: ENDS[199]]) != first]
    found = grow(plan, kept, WalkForwardConfig(20, 10))
    assert "too few candles now" in found.lost[window.key]
    assert set(plan.windows) - set(found.plan.windows) <= {
        other for other in plan.windows if other.key in {*found.lost, *found.moved}
    }
    assert set(plan.windows[:4]) <= set(found.plan.windows)
    # The newest candles went: windows that validated on them go, and come again with them.
    found = grow(plan, YEAR[: ENDS[150]], WalkForwardConfig(20, 10))
    assert set(found.lost) == {
        window.key for window in plan.windows if window.valid_end > YEAR[ENDS[150] - 1] + MINUTE_NS
    }
    assert grow(found.plan, YEAR[: ENDS[199]], WalkForwardConfig(20, 10)).plan.windows == plan.windows


def test_a_hole_that_opens_loses_the_windows_over_it() -> None:
    plan = grow(None, YEAR[: ENDS[199]]).plan
    day = np.searchsorted(DAYS, trading_day([plan.windows[0].train_start])[0]) + 20
    time = YEAR[: ENDS[199]]
    found = grow(plan, time[(time < YEAR[ENDS[day]]) | (time >= YEAR[ENDS[day + 15]])])
    assert "hole" in found.lost[plan.windows[0].key]


def test_candles_that_changed_before_validation_move_the_end_of_training() -> None:
    plan = grow(None, YEAR[: ENDS[199]]).plan
    window = plan.windows[-1]
    time = np.delete(YEAR[: ENDS[199]], np.searchsorted(YEAR, window.valid_start) - 100)
    found = grow(plan, time)
    assert found.moved == (window.key,) and found.lost == {}
    renewed = found.plan.window(window.key)
    assert renewed is not None and renewed == replace(window, train_end=window.train_end - MINUTE_NS)


@pytest.mark.parametrize(
    "config", [WalkForwardConfig(30, None), WalkForwardConfig(None, 4), WalkForwardConfig(embargo_bars=5_000)]
)
def test_other_settings_plan_anew_and_say_so(config: WalkForwardConfig) -> None:
    plan = grow(None, YEAR[: ENDS[149]]).plan
    found = grow(plan, YEAR[: ENDS[199]], config)
    assert "FX_TRAIN_DAYS" in found.anew and found.plan.asked == config
    assert found.plan.windows == tuple(plan_windows(YEAR[: ENDS[199]], config))


def test_a_plan_of_before_keeps_its_windows_while_the_settings_can_be_the_same() -> None:
    plan = replace(grow(None, YEAR[: ENDS[149]]).plan, asked=None)
    found = grow(plan, YEAR[: ENDS[199]])
    assert found.plan.windows[: len(plan.windows)] == plan.windows and found.anew == ""
    assert grow(plan, YEAR[: ENDS[199]], WalkForwardConfig(validation_days=9)).anew
    assert grow(plan, YEAR[: ENDS[199]], WalkForwardConfig(embargo_bars=2_000)).anew


def test_sealing_days_loses_the_windows_that_reach_into_them() -> None:
    plan = grow(None, YEAR[: ENDS[199]]).plan
    sealed = plan.windows[-1].valid_start + 3 * 1_440 * MINUTE_NS
    found = grow(plan, YEAR[: ENDS[199]][YEAR[: ENDS[199]] < sealed])
    assert list(found.lost) == [plan.windows[-1].key] and "sealed" in found.lost[plan.windows[-1].key]
    assert found.plan.windows == plan.windows[:-1]

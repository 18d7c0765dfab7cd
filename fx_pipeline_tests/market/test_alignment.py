"""Where bars begin and end: as OANDA aligns them, over changes of the clocks, and as the calendar expects them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.granularity import Granularity
from fx_pipeline.market.alignment import (
    bar_end,
    bar_ends,
    bar_opens,
    bar_starts,
    expected_bars,
    first_open,
    last_expected_bar,
    on_grid,
    trading_minutes_between,
)
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar, trading_day_start
from fx_pipeline.market.timeframe import H1, H4, M1, M5, TIMEFRAMES, D, Timeframe

EVERY = list(TIMEFRAMES.values())
HOUR = 60 * MINUTE_NS
DAY = 24 * HOUR


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.mark.parametrize("timeframe", EVERY, ids=str)
@given(time=st.integers(ns("2000-01-01"), ns("2027-12-31")))
@settings(max_examples=60, deadline=None)
def test_bars_lie_as_the_broker_aligns_them(timeframe: Timeframe, time: int) -> None:
    broker = Granularity(timeframe.name)
    start = int(bar_starts([time], timeframe)[0])
    assert start == broker.start(time) <= time < bar_end(start, timeframe) == broker.end(time)
    assert on_grid([start], timeframe)[0] and first_open(start, timeframe) == start
    assert first_open(start + 1, timeframe) == bar_end(start, timeframe)


@pytest.mark.parametrize("timeframe", EVERY, ids=str)
@pytest.mark.parametrize("around", ["2024-03-10", "2024-11-03", "2024-06-05"])
def test_bars_follow_one_another_without_a_hole(timeframe: Timeframe, around: str) -> None:
    opens = bar_opens(ns(around) - 2 * DAY, ns(around) + 2 * DAY, timeframe)
    np.testing.assert_array_equal(bar_ends(opens, timeframe)[:-1], opens[1:])
    minutes = np.arange(opens[0], opens[-1], MINUTE_NS)
    np.testing.assert_array_equal(np.unique(bar_starts(minutes, timeframe)), opens[:-1])


def test_days_with_a_change_of_clocks_have_23_and_25_hours() -> None:
    spring, autumn = trading_day_start(int(ns("2024-03-10") // DAY)), trading_day_start(int(ns("2024-11-03") // DAY))
    assert [bar_end(day, D) - day for day in (spring, autumn)] == [23 * HOUR, 25 * HOUR]
    four = [bar_opens(day, bar_end(day, D), H4) for day in (spring, autumn)]
    assert [len(opens) for opens in four] == [6, 7]
    assert [int(bar_ends(opens, H4)[-1] - opens[-1]) // HOUR for opens in four] == [3, 1]


def test_expected_bars_hold_an_expected_minute() -> None:
    calendar = FxCalendar()
    span = ns("2024-12-20"), ns("2025-01-06")
    for timeframe in EVERY:
        minutes = calendar.expected_minutes(span[0] - 2 * DAY, span[1] + 2 * DAY)
        wanted = np.unique(bar_starts(minutes, timeframe))
        wanted = wanted[(wanted >= span[0]) & (wanted < span[1])]
        np.testing.assert_array_equal(expected_bars(calendar, *span, timeframe), wanted)
    # Christmas and New Year are closed days, Friday's bar begins on Thursday.
    days = (
        expected_bars(calendar, ns("2024-12-22"), ns("2025-01-04"), D).astype("datetime64[ns]").astype("datetime64[D]")
    )
    assert "2024-12-24" not in days.astype(str) and "2024-12-31" not in days.astype(str)
    assert {"2024-12-22", "2024-12-23", "2024-12-25"} <= set(days.astype(str))


@pytest.mark.parametrize(
    ("timeframe", "before", "open_"),
    [
        (M1, "2024-01-06T10:00", "2024-01-05T21:57"),
        (M5, "2024-01-06T10:00", "2024-01-05T21:55"),
        (H1, "2024-01-05T20:59", "2024-01-05T19:00"),
        (H4, "2024-01-06T10:00", "2024-01-05T18:00"),
        (D, "2024-01-05T21:59", "2024-01-03T22:00"),
        (D, "2024-01-05T22:00", "2024-01-04T22:00"),
    ],
)
def test_the_last_expected_bar_is_over(timeframe: Timeframe, before: str, open_: str) -> None:
    assert last_expected_bar(FxCalendar(), ns(before), timeframe) == ns(open_)


def test_weekends_are_no_trading_time() -> None:
    friday, sunday = ns("2024-03-08T21:00"), ns("2024-03-10T21:00")
    # New York changed its clocks in between: 48 hours less one on the wall, nothing of it traded.
    times = np.array([friday, sunday, sunday + HOUR, sunday + 5 * DAY - HOUR])
    assert trading_minutes_between(times).tolist() == [60, 60, 7_080]
    inside = np.array([friday, friday + 10 * HOUR, sunday])
    assert trading_minutes_between(inside).tolist() == [600, 38 * 60]

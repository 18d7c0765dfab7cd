"""The trading week across both clock changes of New York; expected values come from the standard library's zoneinfo."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_pipeline.market.calendar import (
    MINUTE_NS,
    TRADING_WEEK_MINUTES,
    WEEK_MINUTES,
    day_name,
    is_open,
    open_minutes,
    trading_day,
    trading_day_start,
    trading_week,
    week_minutes,
)

NEW_YORK = ZoneInfo("America/New_York")


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def reference_week_minute(time_ns: int) -> int:
    wall = datetime.fromtimestamp(time_ns // 10**9, UTC).astimezone(NEW_YORK).replace(tzinfo=None)
    since_monday = (wall.weekday() * 24 + wall.hour) * 60 + wall.minute
    return (since_monday - (6 * 24 + 17) * 60) % 10_080


# In 2024 New York went to summer time on Sunday 10 March and back on Sunday 3 November.
@pytest.mark.parametrize(
    "sunday_open",
    ["2024-03-03T22:00", "2024-03-10T21:00", "2024-03-17T21:00", "2024-10-27T21:00", "2024-11-03T22:00"],
)
def test_the_week_opens_on_sunday_at_17_new_york(sunday_open: str) -> None:
    start = ns(sunday_open)
    assert week_minutes([start])[0] == 0
    assert is_open([start])[0]
    assert not is_open([start - MINUTE_NS])[0]
    assert week_minutes([start + 7_199 * MINUTE_NS])[0] == 7_199
    assert is_open([start + 7_199 * MINUTE_NS])[0]
    assert not is_open([start + 7_200 * MINUTE_NS])[0]


@pytest.mark.parametrize(
    "friday_close", ["2024-03-08T22:00", "2024-03-15T21:00", "2024-11-01T21:00", "2024-11-08T22:00"]
)
def test_the_week_closes_on_friday_at_17_new_york(friday_close: str) -> None:
    assert is_open([ns(friday_close) - MINUTE_NS, ns(friday_close)]).tolist() == [True, False]


@given(st.integers(ns("2005-01-01") // MINUTE_NS, ns("2030-01-01") // MINUTE_NS))
def test_week_minutes_equal_zoneinfo(minute: int) -> None:
    time_ns = minute * MINUTE_NS
    assert week_minutes([time_ns])[0] == reference_week_minute(time_ns)


def test_a_trading_day_starts_at_17_new_york_and_is_named_by_its_end() -> None:
    sunday = ns("2024-03-10T21:00")
    before, first, last, following = trading_day(
        np.array([sunday - MINUTE_NS, sunday, sunday + 1_439 * MINUTE_NS, sunday + 1_440 * MINUTE_NS])
    )
    assert day_name(first) == day_name(last) == "2024-03-11"
    assert day_name(before) == "2024-03-10"
    assert day_name(following) == "2024-03-12"


@pytest.mark.parametrize("year", [2016, 2024])
def test_trading_day_start_is_the_first_minute_of_its_day(year: int) -> None:
    first = int(np.datetime64(f"{year}-01-01", "D").astype(np.int64))
    for day in range(first, first + 366):
        start = trading_day_start(day)
        assert trading_day([start])[0] == day
        assert trading_day([start - 1])[0] == day - 1
        wall = datetime.fromtimestamp(start // 10**9, UTC).astimezone(NEW_YORK)
        assert (wall.hour, wall.minute) == (17, 0)


@pytest.mark.parametrize("sunday_open", ["2024-03-10T21:00", "2024-11-03T22:00", "2024-12-29T22:00"])
def test_weeks_are_numbered_one_apart_and_change_in_the_weekend(sunday_open: str) -> None:
    start = ns(sunday_open)
    week = trading_week(np.arange(start, start + 7_200 * MINUTE_NS, 60 * MINUTE_NS))
    assert (week == week[0]).all()
    assert trading_week([start - 72 * 60 * MINUTE_NS])[0] == week[0] - 1


def test_open_minutes_of_a_span() -> None:
    # Friday 16:58 New York in winter time to Sunday 17:02 in summer time.
    start, end = ns("2024-03-08T21:58"), ns("2024-03-10T21:02")
    expected = [ns("2024-03-08T21:58"), ns("2024-03-08T21:59"), ns("2024-03-10T21:00"), ns("2024-03-10T21:01")]
    assert open_minutes(start, end).tolist() == expected
    assert open_minutes(start + 1, end).tolist() == expected[1:]
    assert open_minutes(start, start).tolist() == []
    assert open_minutes(end, start).tolist() == []


def test_an_ordinary_week_has_7200_expected_minutes_also_when_the_clock_changed_before_it() -> None:
    for sunday in ("2024-03-10T00:00", "2024-07-07T00:00", "2024-11-03T00:00"):
        assert len(open_minutes(ns(sunday), ns(sunday) + WEEK_MINUTES * MINUTE_NS)) == TRADING_WEEK_MINUTES

"""Trading hours through both clock changes of New York; expected values come from the standard library's zoneinfo."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import day_number

NEW_YORK = ZoneInfo("America/New_York")
HOURS = TradingHours(holidays=frozenset({day_number(date(2024, 3, 29)), day_number(date(2024, 12, 25))}))
WEEK_MINUTES = 7 * 1440


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def reference(time_ns: int) -> bool:
    """OANDA's hours by the wall clock of New York, with Good Friday and Christmas 2024 closed."""
    wall = datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone(NEW_YORK)
    of_day = wall.time()
    if time(16, 58) <= of_day < time(17, 3) or wall.weekday() == 5:
        return False
    if (wall.weekday() == 6 and of_day < time(17, 3)) or (wall.weekday() == 4 and of_day >= time(16, 58)):
        return False
    ends = date.fromordinal(wall.toordinal() + (of_day >= time(17)))
    return ends not in (date(2024, 3, 29), date(2024, 12, 25))


@pytest.mark.parametrize("week", ["2024-03-08", "2024-03-15", "2024-03-25", "2024-11-01", "2024-12-20"])
def test_hours_follow_new_york_through_clock_changes_and_holidays(week: str) -> None:
    times = ns(week) + MINUTE_NS * np.arange(0, WEEK_MINUTES)
    assert HOURS.is_open(times).tolist() == [reference(time_ns) for time_ns in times.tolist()]


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        # In 2024 New York went to summer time on Sunday 10 March and back on Sunday 3 November.
        ("2024-03-03T22:03", "2024-03-08T21:58"),
        ("2024-03-10T21:03", "2024-03-15T20:58"),
        ("2024-10-27T21:03", "2024-11-01T20:58"),
        ("2024-11-03T22:03", "2024-11-08T21:58"),
    ],
)
def test_the_week_opens_and_closes_to_the_minute(opens: str, closes: str) -> None:
    edges = HOURS.changes(ns(opens) - 20 * 3600 * 10**9, ns(closes) + 20 * 3600 * 10**9)
    assert (edges[0], edges[-1], len(edges)) == (ns(opens), ns(closes), 10)
    around = [ns(opens) - 1, ns(opens), ns(closes) - 1, ns(closes)]
    assert HOURS.is_open(around).tolist() == [False, True, True, False]


@given(st.integers(ns("2023-12-01"), ns("2025-02-01")))
def test_one_time_is_judged_as_many_are(time_ns: int) -> None:
    assert HOURS.is_open(time_ns).tolist() == [reference(time_ns)]


@given(st.integers(ns("2024-01-01"), ns("2024-12-31")), st.integers(0, 14 * 86_400 * 10**9))
def test_changes_are_where_the_state_changes(start_ns: int, length_ns: int) -> None:
    edges = HOURS.changes(start_ns, start_ns + length_ns)
    assert np.all(np.diff(edges) > 0)
    if len(edges):
        assert edges[0] >= start_ns and edges[-1] < start_ns + length_ns
        assert np.all(HOURS.is_open(edges) != HOURS.is_open(edges - 1))


def test_without_a_break_only_the_weekend_closes() -> None:
    hours = TradingHours.of(FxCalendar(0, 0, frozenset()))
    edges = hours.changes(ns("2024-06-01"), ns("2024-06-15"))
    assert edges.tolist() == [ns(f"2024-06-{text}T21:00") for text in ("02", "07", "09", "14")]


def test_hours_of_a_calendar_are_when_it_expects_candles() -> None:
    calendar = FxCalendar()
    times = ns("2023-12-20") + MINUTE_NS * np.arange(2 * WEEK_MINUTES)
    assert np.array_equal(TradingHours.of(calendar).is_open(times), calendar.is_expected(times))


def test_a_year_of_holidays_never_opens() -> None:
    hours = TradingHours(holidays=frozenset(range(day_number(date(2024, 1, 1)), day_number(date(2025, 1, 1)))))
    assert not hours.is_open([ns("2024-06-05T12:00"), ns("2024-06-06T12:00")]).any()


@pytest.mark.parametrize(
    "wrong",
    [{"daily_break_start": "17:01"}, {"daily_break_end": "16:59"}, {"week_open": "5 pm"}, {"week_close": "24:00"}],
)
def test_hours_that_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        TradingHours(**wrong)

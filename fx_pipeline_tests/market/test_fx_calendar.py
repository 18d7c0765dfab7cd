"""When candles are expected: the week, less the daily break, less holidays; checked against CME's FX calendar."""

import datetime as dt

import numpy as np
import pandas as pd
import pandas_market_calendars
import pytest
from dateutil.easter import easter
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.hours import TradingHours
from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    TRADING_WEEK_MINUTES,
    WEEK_MINUTES,
    FxCalendar,
    day_name,
    open_minutes,
    parse_break,
    trading_day,
    trading_day_start,
)
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import day_number, default_holidays, holidays_with

CALENDAR = FxCalendar()


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def texts(times: np.ndarray) -> list[str]:
    return [str(np.datetime64(int(time), "ns").astype("datetime64[m]")) for time in times]


@pytest.mark.parametrize("sunday", ["2024-03-03", "2024-03-10", "2024-07-07", "2024-10-27", "2024-11-03"])
def test_an_ordinary_week_lacks_five_minutes_a_day(sunday: str) -> None:
    start = ns(sunday)
    assert len(CALENDAR.expected_minutes(start, start + WEEK_MINUTES * MINUTE_NS)) == TRADING_WEEK_MINUTES - 5 * 5


def test_break_ends_the_day_and_the_week_early_and_opens_both_late() -> None:
    # Winter time: New York is five hours behind.
    thursday = CALENDAR.expected_minutes(ns("2024-01-11T21:55"), ns("2024-01-11T22:06"))
    assert texts(thursday) == [
        f"2024-01-11T{clock}" for clock in ("21:55", "21:56", "21:57", "22:03", "22:04", "22:05")
    ]
    weekend = CALENDAR.expected_minutes(ns("2024-01-12T21:56"), ns("2024-01-14T22:05"))
    assert texts(weekend) == ["2024-01-12T21:56", "2024-01-12T21:57", "2024-01-14T22:03", "2024-01-14T22:04"]


def test_holiday_lasts_from_17_to_17_new_york() -> None:
    # Christmas 2024 was a Wednesday.
    assert not len(CALENDAR.expected_minutes(ns("2024-12-24T21:58"), ns("2024-12-25T22:03")))
    assert CALENDAR.is_expected([ns("2024-12-24T21:57"), ns("2024-12-25T22:03")]).all()
    assert CALENDAR.last_expected(ns("2024-12-25T12:00")) == ns("2024-12-24T21:57")
    # It has no effect on the week itself, which features and sessions go by.
    assert len(open_minutes(ns("2024-12-24T22:00"), ns("2024-12-25T22:00"))) == DAY_MINUTES


def test_last_expected_reaches_over_a_weekend_with_a_holiday_beside_it() -> None:
    # New Year's Day 2024 was a Monday.
    assert CALENDAR.last_expected(ns("2024-01-01T21:00")) == ns("2023-12-29T21:57")
    assert CALENDAR.last_expected(ns("2024-01-10T12:00:30")) == ns("2024-01-10T11:59")
    closed = FxCalendar(holidays=frozenset(range(day_number(dt.date(2024, 1, 1)), day_number(dt.date(2024, 3, 1)))))
    with pytest.raises(ConfigurationError, match="FX_HOLIDAYS"):
        closed.last_expected(ns("2024-02-20"))


@settings(max_examples=50, deadline=None)
@given(st.integers(ns("2010-01-01") // MINUTE_NS, ns("2030-01-01") // MINUTE_NS), st.integers(0, 5_000))
def test_expected_minutes_are_those_that_are_expected(first: int, count: int) -> None:
    every = np.arange(first, first + count, dtype=np.int64) * MINUTE_NS
    expected = CALENDAR.expected_minutes(first * MINUTE_NS, (first + count) * MINUTE_NS)
    np.testing.assert_array_equal(expected, every[CALENDAR.is_expected(every)] if count else every)


def test_break_may_be_another_or_none() -> None:
    start = ns("2024-01-07")
    end = start + WEEK_MINUTES * MINUTE_NS
    assert len(FxCalendar(*parse_break("")).expected_minutes(start, end)) == TRADING_WEEK_MINUTES
    midnight = FxCalendar(*parse_break("23:50-00:10"))
    assert len(midnight.expected_minutes(start, end)) == TRADING_WEEK_MINUTES - 5 * 20
    # 23:50 in New York is 04:50 UTC.
    assert midnight.is_expected([ns("2024-01-09T04:49"), ns("2024-01-09T04:50"), ns("2024-01-09T05:10")]).tolist() == [
        True,
        False,
        True,
    ]
    for wrong in ("16:58", "16:58-25:00", "noon"):
        with pytest.raises(ConfigurationError, match="16:58-17:03"):
            parse_break(wrong)


def test_holidays_are_added_and_taken_away() -> None:
    holidays = holidays_with(" 2026-12-24, -2026-01-01 ,")
    assert holidays - default_holidays() == {day_number(dt.date(2026, 12, 24))}
    assert default_holidays() - holidays == {day_number(dt.date(2026, 1, 1))}
    assert holidays_with("") == default_holidays()
    assert day_name(day_number(dt.date(2026, 12, 24))) == "2026-12-24"
    with pytest.raises(ConfigurationError, match=r"'24\.12\.2026' is not a holiday: write 2026-12-24"):
        holidays_with("24.12.2026")


def test_paper_broker_trades_when_candles_are_expected() -> None:
    hours = TradingHours.of(CALENDAR)
    for year in (2015, 2021, 2024):
        times = np.arange(ns(f"{year}-01-01"), ns(f"{year + 1}-01-01"), MINUTE_NS, dtype=np.int64)
        np.testing.assert_array_equal(hours.is_open(times), CALENDAR.is_expected(times))


@pytest.fixture(scope="module")
def cme() -> pd.DataFrame:
    """Sessions of CME's FX futures, 2010 to 2025: Sunday 17:00 to Friday 16:00 Chicago."""
    return pandas_market_calendars.get_calendar("CMEGlobex_FX").schedule("2010-01-01", "2025-12-31")


def test_week_opens_and_closes_with_cme(cme: pd.DataFrame) -> None:
    """Chicago and New York change their clocks together, so what CME does is fixed against our week in all years.

    The futures' day ends with ours, at 17:00 New York. Their break is an hour long, so that their day and their week
    open at 18:00, where ours has five minutes: the two calendars differ there, and nowhere else.
    """
    days = np.array([day_number(day.date()) for day in cme.index])
    starts = np.array([trading_day_start(int(day)) for day in days])
    opens = cme["market_open"].dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    closes = cme["market_close"].dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    np.testing.assert_array_equal(opens - starts, np.full(len(cme), 60 * MINUTE_NS))
    whole = closes - starts == DAY_MINUTES * MINUTE_NS
    # The others end early, on the eve of public holidays and the like: the spot market only gets thin.
    assert (closes[~whole] < starts[~whole] + DAY_MINUTES * MINUTE_NS).all() and whole.mean() > 0.95
    mondays, fridays = cme.index.day_of_week == 0, (cme.index.day_of_week == 4) & whole
    assert mondays.sum() > 750 and fridays.sum() > 750
    assert (trading_day(opens[mondays] - 61 * MINUTE_NS) != days[mondays]).all()
    assert not CALENDAR.is_expected(closes[fridays]).any()
    # Between the breaks of both, candles are expected on every day that CME trades.
    assert CALENDAR.is_expected(opens).all() and CALENDAR.is_expected(closes[whole] - 3 * MINUTE_NS).all()


def test_holidays_are_those_of_cme_but_for_its_observed_ones_and_good_friday(cme: pd.DataFrame) -> None:
    weekdays = pd.bdate_range("2010-01-01", "2025-12-31")
    closed = {day.date() for day in weekdays.difference(cme.index)}
    ours = {day.date() for day in weekdays if day_number(day.date()) in CALENDAR.holidays}
    assert ours <= closed
    good_fridays = {easter(year) - dt.timedelta(days=2) for year in range(2010, 2026)}
    observed = {
        day for day in closed - ours if any(day + dt.timedelta(days=step) in weekend_holidays() for step in (-1, 1))
    }
    assert closed - ours - good_fridays == observed and len(observed) >= 4


def weekend_holidays() -> set[dt.date]:
    days = (dt.date(year, month, day) for year in range(2009, 2027) for month, day in ((1, 1), (12, 25)))
    return {day for day in days if day.weekday() >= 5}

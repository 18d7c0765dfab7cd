"""When candles of unlike instruments are expected; expected values come from the standard library's zoneinfo."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fx_pipeline.broker.paper.hours import TradingHours, instrument_hours
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.hours import DailyBreaks, instrument_calendar, parse_breaks
from fx_pipeline.market.instrument import known_instruments

NEW_YORK, AUCKLAND = ZoneInfo("America/New_York"), ZoneInfo("Pacific/Auckland")
DAY = 1440
#: Both clock changes of New York and of Auckland in 2024, a month of summer, and one with Christmas.
WEEKS = ("2024-03-04", "2024-04-01", "2024-07-01", "2024-09-23", "2024-10-28", "2024-12-23")


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def minutes(first: str, days: int) -> np.ndarray:
    return ns(first) + MINUTE_NS * np.arange(days * DAY)


def texts(times: np.ndarray) -> list[str]:
    return [str(np.datetime64(int(time), "ns").astype("datetime64[m]")) for time in times]


def in_metal_hours(time_ns: int) -> bool:
    """Sunday 18:00 to Friday 17:00 New York, closed 17:00 to 18:00, and on Christmas as long as a trading day lasts."""
    wall = datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone(NEW_YORK)
    if wall.hour == 17 or wall.weekday() == 5:
        return False
    if (wall.weekday() == 6 and wall.hour < 18) or (wall.weekday() == 4 and wall.hour >= 17):
        return False
    return not ((wall.month, wall.day) == (12, 24) and wall.hour >= 17) and not (
        (wall.month, wall.day) == (12, 25) and wall.hour < 17
    )


@pytest.mark.parametrize("week", WEEKS)
@pytest.mark.parametrize("name", ["XAU_USD", "XAG_USD"])
def test_metals_pause_from_17_to_18_and_open_at_18_on_sunday(name: str, week: str) -> None:
    times = minutes(week, 7)
    assert instrument_calendar(name).is_expected(times).tolist() == [in_metal_hours(time) for time in times.tolist()]


@pytest.mark.parametrize("week", WEEKS)
def test_pairs_with_the_new_zealand_dollar_pause_when_its_day_rolls(week: str) -> None:
    times = minutes(week, 7)
    left_out = FxCalendar().is_expected(times) & ~instrument_calendar("AUD_NZD").is_expected(times)
    walls = [datetime.fromtimestamp(time / 1e9, UTC).astimezone(AUCKLAND) for time in times[left_out].tolist()]
    assert {f"{wall:%H:%M}" for wall in walls} == {"06:58", "06:59", "07:00", "07:01", "07:02"}
    # Tuesday to Saturday in Auckland are Monday to Friday in New York; Christmas is closed anyway.
    assert len(walls) == 5 * (4 if week == "2024-12-23" else 5)


def test_the_published_time_of_new_yorks_winter_is_the_same_break() -> None:
    times = minutes("2024-01-10", 1)
    left_out = times[FxCalendar().is_expected(times) & ~instrument_calendar("NZD_USD").is_expected(times)]
    assert texts(left_out)[0] == "2024-01-10T17:58" and len(left_out) == 5


@pytest.mark.parametrize("name", ["GBP_JPY", "EUR_USD", "USD_TRY", "EUR_HUF"])
def test_other_pairs_are_as_they_were(name: str) -> None:
    assert instrument_calendar(name) == FxCalendar()


def test_crypto_is_traded_around_the_clock() -> None:
    for week in WEEKS:
        assert instrument_calendar("BTC_USD").is_expected(minutes(week, 7)).all()


@pytest.mark.parametrize("name", ["GBP_JPY", "NZD_USD", "XAU_USD", "BTC_USD"])
@pytest.mark.parametrize("week", WEEKS)
def test_orders_fill_when_candles_are_expected(name: str, week: str) -> None:
    times = minutes(week, 7)
    expected = instrument_calendar(name).is_expected(times)
    hours = instrument_hours(name)
    assert np.array_equal(hours.is_open(times), expected)
    edges = hours.changes(int(times[0]), int(times[-1]) + MINUTE_NS)
    assert np.array_equal(edges, times[1:][expected[1:] != expected[:-1]])


def test_every_known_instrument_has_hours() -> None:
    for name in known_instruments():
        assert TradingHours.of(instrument_calendar(name)).is_open(ns("2024-02-06T14:00"))[0]
    with pytest.raises(DataError, match="unknown instrument"):
        instrument_calendar("XAU_GBX")


def test_a_break_of_currency_pairs_leaves_the_others_alone() -> None:
    breaks = parse_breaks("16:59-17:05,")
    assert breaks == DailyBreaks(currencies=(16 * 60 + 59, 17 * 60 + 5))
    assert instrument_calendar("GBP_JPY", breaks).break_end_minute == 17 * 60 + 5
    assert instrument_calendar("NZD_USD", breaks).second_break is not None
    assert instrument_calendar("XAU_USD", breaks) == instrument_calendar("XAU_USD")


def test_one_instrument_may_have_a_break_of_its_own() -> None:
    breaks = parse_breaks("XAU_USD=16:59-18:01, NZD_USD=16:58-17:03, BTC_USD=17:00-17:05")
    assert breaks.currencies == DailyBreaks().currencies
    gold = instrument_calendar("XAU_USD", breaks)
    assert (gold.break_start_minute, gold.break_end_minute) == (16 * 60 + 59, 18 * 60 + 1)
    assert instrument_calendar("NZD_USD", breaks).second_break is None
    assert instrument_calendar("NZD_JPY", breaks).second_break is not None
    bitcoin = instrument_calendar("BTC_USD", breaks)
    assert not bitcoin.is_expected(ns("2024-01-06T22:02"))[0] and bitcoin.is_expected(ns("2024-01-06T22:05"))[0]


def test_no_break_at_all() -> None:
    for text in ("", " "):
        calendar = instrument_calendar("NZD_USD", parse_breaks(text))
        assert calendar.break_start_minute == calendar.break_end_minute and calendar.second_break is None
    gold = instrument_calendar("XAU_USD", parse_breaks("XAU_USD="))
    assert gold.is_expected(ns("2024-01-10T22:30"))[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("noon", "is not a daily break"),
        ("XAU_USD=noon", "is not a daily break"),
        ("GOLD=17:00-18:00", "unknown instrument 'GOLD'"),
        ("16:58-17:03,16:59-17:05", "two breaks for currency pairs"),
        ("XAU_USD=17:00-18:00,XAU_USD=", "two breaks for XAU_USD"),
    ],
)
def test_breaks_that_cannot_be(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_breaks(text)

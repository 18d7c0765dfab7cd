"""Years by trading days, against counts that know neither the calendar nor its code."""

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fx_pipeline.market.calendar import MINUTE_NS, trading_day_start
from fx_pipeline.market.years import calendar_of, covered_days, covered_years

#: Files with most of a month or more, of two currency pairs, gold and bitcoin.
FILES = {
    "USD_JPY": "USD_JPY_M1_2024-01.parquet",
    "EUR_USD": "EUR_USD_M1_2017-01_2017-05.parquet",
    "XAU_USD": "XAU_USD_H1_2006_2015_bid_ask.parquet",
    "BTC_USD": "BTC_USD_M1_2022-01.parquet",
}


def traded_days(times: pd.DatetimeIndex) -> list[date]:
    """Days with bars: the date in New York seven hours later, when 17:00 is midnight."""
    local = times.tz_convert(ZoneInfo("America/New_York")).tz_localize(None) + pd.Timedelta(hours=7)
    return sorted(set(local.date))


def trades(day: date, every_day: bool) -> bool:
    return every_day or (day.weekday() < 5 and (day.month, day.day) not in ((1, 1), (12, 25)))


def days_of_year(year: int, every_day: bool) -> int:
    days = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
    return sum(day.year == year and trades(day, every_day) for day in days)


@pytest.mark.parametrize("name", FILES)
def test_annual_rates_rest_on_the_days_that_were_traded(name: str, shared_data: Path) -> None:
    times = pd.DatetimeIndex(pq.read_table(shared_data / FILES[name])["time"].to_pandas()).tz_convert("UTC")
    # The first and the last day of a file may be cut; weeks at its edges are whole.
    every_day = name == "BTC_USD"
    # Gold went on to 17:15 on Fridays, which is Saturday's trading day.
    days = [day for day in traded_days(times)[1:-1] if every_day or day.weekday() < 5]
    a_year = sum(days_of_year(year, every_day) for year in range(1996, 2024)) / 28
    assert calendar_of(name).days_a_year == pytest.approx(a_year, rel=1e-3)
    for window in (5, 8, 20, 60, 250):
        for first in range(0, len(days) - window, max(window, len(days) // 40)):
            seen = days[first : first + window]
            bars = [trading_day_start((day - date(1970, 1, 1)).days) for day in (seen[0], seen[-1])]
            # Bars anywhere in the day: 01:00 of the first, the last hour of the last.
            span = (bars[0] + 8 * 60 * MINUTE_NS, bars[1] + 23 * 60 * MINUTE_NS)
            between = [seen[0] + timedelta(days=number) for number in range((seen[-1] - seen[0]).days + 1)]
            independent = [day for day in between if trades(day, every_day)]
            assert covered_years(name, [span]) == pytest.approx(len(independent) / a_year, rel=0.01)
            # Bars tell the same, but for bank holidays without one, and a Christmas with some.
            assert abs(covered_days(name, [span]) - len(seen)) <= max(1, window // 20)


def test_years_of_trading_are_years_of_the_clock(shared_data: Path) -> None:
    column = pq.read_table(shared_data / FILES["XAU_USD"])["time"].to_pandas()
    times = pd.DatetimeIndex(column).tz_convert("UTC").as_unit("ns")
    span = (times[0].value, times[-1].value)
    clock = (times[-1] - times[0]) / pd.Timedelta(days=365.2425)
    assert covered_years("XAU_USD", [span]) == pytest.approx(clock, rel=0.002)
    weekdays = [day for day in traded_days(times) if day.weekday() < 5]
    assert len(weekdays) == pytest.approx(covered_days("XAU_USD", [span]), rel=0.01)


def at(text: str) -> int:
    return pd.Timestamp(text, tz="America/New_York").value


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-03-03 17:05", "2024-03-08 16:50"),
        ("2024-03-04 03:00", "2024-03-08 10:00"),
        ("2024-03-03 17:05", "2024-03-07 17:05"),
    ],
)
def test_a_week_is_five_days_wherever_its_bars_are(first: str, last: str) -> None:
    assert covered_days("EUR_USD", [(at(first), at(last))]) == 5


def test_a_weekend_in_between_and_an_overlap_add_nothing() -> None:
    # Thursday to Tuesday, by the clock 5.2 days.
    assert covered_days("EUR_USD", [(at("2024-03-07 09:00"), at("2024-03-12 15:00"))]) == 4
    assert covered_days("BTC_USD", [(at("2024-03-07 09:00"), at("2024-03-12 15:00"))]) == 6
    spans = [(at("2024-03-04 09:00"), at("2024-03-06 09:00")), (at("2024-03-06 03:00"), at("2024-03-07 09:00"))]
    assert covered_days("EUR_USD", spans) == 4
    # Christmas and New Year are no trading days.
    assert covered_days("EUR_USD", [(at("2023-12-22 09:00"), at("2024-01-02 09:00"))]) == 6


def test_a_market_that_no_broker_has_trades_like_a_currency() -> None:
    assert calendar_of("SYNTHETIC_OU").days_a_year == calendar_of("EUR_USD").days_a_year

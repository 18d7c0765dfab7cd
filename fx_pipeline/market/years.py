"""How much of a year a stretch of bars is: trading days over the trading days of a year, by the instrument's calendar.

A window of Monday to Friday is five of about 259 days, whatever its first and last minute are; by the clock it would be
4.3 of 365, and a window that ends before a weekend would trade at another annual rate than one that ends behind it.
"""

from collections.abc import Iterable

import numpy as np

from fx_pipeline.market.calendar import FxCalendar, trading_day
from fx_pipeline.market.hours import instrument_calendar
from fx_pipeline.market.instrument import known_instruments


def calendar_of(instrument: str) -> FxCalendar:
    """Return an instrument's published calendar; that of a currency pair for a market that no broker has."""
    return instrument_calendar(instrument) if instrument in known_instruments() else FxCalendar()


def covered_days(instrument: str, spans: Iterable[tuple[int, int]]) -> int:
    """Count the trading days that some spans cover, each once, whether or not there are bars on all of them.

    Parameters
    ----------
    instrument : str
    spans : iterable of (int, int)
        First and last bar of each span, UTC nanoseconds.

    Returns
    -------
    int
        At least 1. Bars on closed days (gold's minutes after 17:00 on a Friday) make no day.
    """
    calendar = calendar_of(instrument)
    days: set[int] = set()
    for span in spans:
        first, last = (int(day) for day in trading_day(np.asarray(span, dtype=np.int64)))
        days.update(calendar.trading_days(first, last).tolist())
    return max(len(days), 1)


def covered_years(instrument: str, spans: Iterable[tuple[int, int]]) -> float:
    """Return the same as `covered_days` in years of that instrument."""
    return covered_days(instrument, spans) / calendar_of(instrument).days_a_year

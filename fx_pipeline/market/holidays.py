"""Days on which FX is closed as a whole: 25 December and 1 January, unless the configuration says otherwise.

A holiday is a trading day: it lasts from 17:00 New York of the evening before to 17:00 New York of its date. Other
public holidays only thin the market out, and the minutes without a tick on them are gaps like any other.
"""

import datetime as dt

from fx_pipeline.market.errors import ConfigurationError

#: (month, day) of the full closes of every year.
FULL_CLOSES = ((1, 1), (12, 25))
_YEARS = range(1990, 2101)
_EPOCH = dt.date(1970, 1, 1)


def default_holidays() -> frozenset[int]:
    """Return the full closes of 1990 to 2100 as trading day numbers (`calendar.trading_day`).

    Those that fall on a Saturday or Sunday are in it and have no effect: nothing trades then.
    """
    return frozenset(day_number(dt.date(year, month, day)) for year in _YEARS for month, day in FULL_CLOSES)


def holidays_with(changes: str) -> frozenset[int]:
    """Return the default holidays with some added and some taken away.

    Parameters
    ----------
    changes : str
        ISO dates separated by commas: `2026-12-24` is closed, `-2026-01-01`, with a minus, is not.

    Raises
    ------
    ConfigurationError
        If one is not a date.
    """
    holidays = set(default_holidays())
    for item in filter(None, (part.strip() for part in changes.split(","))):
        try:
            day = day_number(dt.date.fromisoformat(item.removeprefix("-")))
        except ValueError as error:
            raise ConfigurationError(
                f"{item!r} is not a holiday: write 2026-12-24 to close a day, -2026-01-01 to open it."
            ) from error
        if item.startswith("-"):
            holidays.discard(day)
        else:
            holidays.add(day)
    return frozenset(holidays)


def day_number(date: dt.date) -> int:
    """Trading day number of the day that ends at 17:00 New York on that date."""
    return (date - _EPOCH).days

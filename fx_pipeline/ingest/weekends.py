"""Bars at weekends, which some publishers have (FXCM on Saturdays): left out where the user asks for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.hours import opening_minute
from fx_pipeline.ingest.parsed import Parsed
from fx_pipeline.market.calendar import TRADING_WEEK_MINUTES, trading_week, week_minutes
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]

#: Bars a quarter of an hour after the week's end are feeds' habits, and are left in.
_TOLERANCE_MINUTES = 15
#: Of the twelve stretches of five minutes in the first and the last hour of a week.
_FEWEST_STRETCHES = 4
_MOST_OFF = 0.2


def without_weekends(parsed: Parsed, clock: Clock) -> Parsed:
    """Return a block without its bars at FX weekends (Friday 17:00 to Sunday 17:00 New York)."""
    closed = at_weekends(clock.to_utc(parsed.local_ns))
    if not closed.any():
        return parsed
    kept = ~closed
    place = np.cumsum(kept) - 1
    return replace(
        parsed,
        row=parsed.row[kept],
        local_ns=parsed.local_ns[kept],
        prices={name: price[kept] for name, price in parsed.prices.items()},
        volume=parsed.volume[kept],
        unreadable={int(place[index]): reason for index, reason in parsed.unreadable.items() if kept[index]},
        texts={int(place[index]): text for index, text in parsed.texts.items() if kept[index]},
        without_tick=None if parsed.without_tick is None else parsed.without_tick[kept],
        quotes_modelled=None if parsed.quotes_modelled is None else parsed.quotes_modelled[kept],
        at_weekends=int(closed.sum()),
    )


def at_weekends(utc_ns: Int64) -> npt.NDArray[np.bool_]:
    """Whether times lie in FX weekends, (N,) bool."""
    known = utc_ns != NO_TIME
    minutes = np.zeros(len(utc_ns), np.int64)
    minutes[known] = week_minutes(utc_ns[known])
    return minutes >= TRADING_WEEK_MINUTES + _TOLERANCE_MINUTES


def check_has_weekends(path: Path, instrument: str) -> None:
    """Refuse to leave out the weekends of an instrument that trades on them.

    Raises
    ------
    ConfigurationError
        If it does.
    """
    if opening_minute(instrument) is None:
        raise ConfigurationError(f"{path}: {instrument} trades at weekends: leave --leave-out-weekends out.")


def check_week_ends(path: Path, instrument: str, stretches_ns: Int64, timeframe: Timeframe = M1) -> None:
    """Refuse a clock that would have cut trading off with the weekends: it fills the ends of the market's weeks.

    Parameters
    ----------
    stretches_ns : (N,) int64
        The five-minute stretches with a bar, UTC nanoseconds, unique: stray bars fill few of them.
    timeframe : Timeframe
        Of the bars: of an hour or more, one fills the hour.

    Raises
    ------
    DataError
        If many weeks have next to no bars in their last hour or in their first.
    """
    known = stretches_ns[stretches_ns != NO_TIME]
    # An hour has as many stretches with the open of a bar in them, 12 of minutes.
    least = max(1, _FEWEST_STRETCHES * min(12, 60 // timeframe.minutes) // 12)
    hour = max(60, timeframe.minutes)
    minutes, weeks = week_minutes(known), trading_week(known)
    inner = np.unique(weeks)
    opening = opening_minute(instrument) or 0
    last = (minutes >= TRADING_WEEK_MINUTES - hour) & (minutes < TRADING_WEEK_MINUTES)
    first = (minutes >= opening) & (minutes < opening + hour)
    for within, those, what in (
        (last, inner[:-1], "end early on Fridays"),
        (first, inner[1:], "begin late on Sundays"),
    ):
        filled = np.array([np.sum(weeks[within] == week) for week in those])
        off = float(np.mean(filled < least)) if len(filled) else 0.0
        if off > _MOST_OFF:
            raise DataError(
                f"{path}: with the bars at weekends left out, {100 * off:.0f} percent of its weeks {what}, so that "
                "trading was left out with them: the clock is another. Give the --utc-offset that the file has."
            )

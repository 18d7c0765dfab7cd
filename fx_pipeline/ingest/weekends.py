"""Bars at weekends, which some publishers have (FXCM on Saturdays): left out where the user asks for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.hours import opening_minute
from fx_pipeline.ingest.parsed import Parsed
from fx_pipeline.market.calendar import TRADING_WEEK_MINUTES, WEEK_MINUTES, trading_week, week_minutes
from fx_pipeline.market.errors import ConfigurationError, DataError

Int64 = npt.NDArray[np.int64]

#: What `check_clock` lets pass on either side of the week is left in here, too.
_TOLERANCE_MINUTES = 15
#: An hour of a wrong clock must show: a market that opens late does not begin that late.
_LATEST_MINUTES = 45
_MOST_OFF = 0.2


def without_weekends(parsed: Parsed, clock: Clock) -> Parsed:
    """Return a block without its bars at FX weekends (Friday 17:00 to Sunday 17:00 New York)."""
    utc_ns = clock.to_utc(parsed.local_ns)
    known = utc_ns != NO_TIME
    minutes = np.zeros(len(utc_ns), np.int64)
    minutes[known] = week_minutes(utc_ns[known])
    closed = (minutes >= TRADING_WEEK_MINUTES + _TOLERANCE_MINUTES) & (minutes < WEEK_MINUTES - _TOLERANCE_MINUTES)
    closed &= known
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


def check_has_weekends(path: Path, instrument: str) -> None:
    """Refuse to leave out the weekends of an instrument that trades on them.

    Raises
    ------
    ConfigurationError
        If it does.
    """
    if opening_minute(instrument) is None:
        raise ConfigurationError(f"{path}: {instrument} trades at weekends: leave --leave-out-weekends out.")


def check_week_ends(path: Path, instrument: str, holes: Int64) -> None:
    """Refuse a clock that would have cut trading off with the weekends: weeks must begin and end with the market's.

    Parameters
    ----------
    holes : (2, N) int64
        Bars before and after each gap, UTC nanoseconds.

    Raises
    ------
    DataError
        If many weeks begin late or end early.
    """
    before, after = holes
    over = trading_week(before) != trading_week(after)
    if not over.any():
        return
    early = TRADING_WEEK_MINUTES - week_minutes(before[over]).astype(np.int64)
    late = week_minutes(after[over]).astype(np.int64) - (opening_minute(instrument) or 0)
    for minutes, what in ((early, "end early on Fridays"), (late, "begin late on Sundays")):
        off = float(np.mean(minutes > _LATEST_MINUTES))
        if off > _MOST_OFF:
            raise DataError(
                f"{path}: with the bars at weekends left out, {100 * off:.0f} percent of its weeks {what} (by over "
                f"{_LATEST_MINUTES} minutes), so that trading was left out with them: the clock is another. Give the "
                "--utc-offset that the file has."
            )

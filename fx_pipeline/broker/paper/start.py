"""Where a replay of stored candles begins when nobody says."""

from collections.abc import Iterable

import numpy as np

from fx_pipeline.broker.paper.hours import HoursOf, TradingHours
from fx_pipeline.broker.paper.market import PaperMarket
from fx_pipeline.market.calendar import DAY_MINUTES, MINUTE_NS, open_minutes
from fx_pipeline.market.errors import DataError

_END_OF_TIME_NS = int(np.iinfo(np.int64).max)
# Reaches over any weekend with a holiday beside it.
_LOOK_BACK_NS = 7 * DAY_MINUTES * MINUTE_NS
_OPEN_AHEAD_MINUTES = 60


def data_span(market: PaperMarket, instrument: str) -> tuple[int, int]:
    """Return the open of the first bar and the end of the last, UTC nanoseconds.

    Raises
    ------
    DataError
        If there is no bar of the instrument.
    """
    first = market.forward(instrument, 0, _END_OF_TIME_NS, 1).time
    last = market.backward(instrument, 0, _END_OF_TIME_NS, 1).time
    if not len(first):
        raise DataError(f"there are no candles of {instrument}: import some, or leave the instrument out.")
    return int(first[0]), int(last[0]) + MINUTE_NS


def default_start(market: PaperMarket, instruments: Iterable[str], hours: HoursOf) -> int:
    """Return the newest time at which 24 trading hours of bars lie ahead for as many instruments as possible.

    Everything before it is history. The market is open then, and stays so for an hour. Where no instrument has as
    much, it is the open of the newest instrument's first bar.

    Returns
    -------
    int
        UTC nanoseconds.

    Raises
    ------
    DataError
        If an instrument has no bar, or there is no instrument.
    """
    names = list(instruments)
    spans = [data_span(market, name) for name in names]
    if not spans:
        raise DataError("there is no instrument to trade: name one, or import candles.")
    days = [(first, _day_before(last, hours(name))) for name, (first, last) in zip(names, spans, strict=True)]
    candidates = {newest for first, newest in days if newest >= first} or {max(first for first, _ in spans)}
    return max(candidates, key=lambda time: (sum(first <= time <= newest for first, newest in days), time))


def _day_before(end_ns: int, hours: TradingHours) -> int:
    newest = int(open_minutes(end_ns - _LOOK_BACK_NS, end_ns)[-DAY_MINUTES])
    minutes = newest - MINUTE_NS * np.arange(_LOOK_BACK_NS // MINUTE_NS, -_OPEN_AHEAD_MINUTES, -1)
    # How long each minute and those after it stay open, a run at a time.
    closed = ~hours.is_open(minutes)
    next_closed = np.minimum.accumulate(np.where(closed, np.arange(len(minutes)), len(minutes))[::-1])[::-1]
    usable = (next_closed - np.arange(len(minutes)) >= _OPEN_AHEAD_MINUTES) & (minutes <= newest)
    # A week of holidays leaves no such minute.
    return int(minutes[usable][-1]) if usable.any() else newest

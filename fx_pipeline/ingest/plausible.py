"""Evidence that a file is what it is said to be: bars of that instrument, on that clock."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.ingest.hours import BreakFound, daily_break, fitting_break
from fx_pipeline.market.calendar import MINUTE_NS, TRADING_WEEK_MINUTES, WEEK_MINUTES, trading_week, week_minutes
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.levels import plausible_range, typical_price
from fx_pipeline.market.spreads import spread_model
from fx_pipeline.market.timeframe import M1, Timeframe

Int64 = npt.NDArray[np.int64]

_BUCKET_MINUTES = 5
#: Ticks a quarter of an hour beyond the week's ends are feeds' habits, not a wrong clock.
_TOLERANCE_MINUTES = 15
_INTRUDING_BUCKETS = 2
#: Of bars as long as that, one in a weekend is all that a clock an hour off leaves.
_COARSE_MINUTES = 60
#: So many times the modelled spread is wider than any publisher's quotes.
_WIDEST_SPREADS = 50
_ZONED = "Its times carry a zone, and an offset is for times without one: write them so first."
#: Clocks that files of candles are on.
CANDIDATES = (
    *(Clock("UTC", float(hours)) for hours in range(-12, 15)),
    *(Clock("America/New_York", float(hours)) for hours in (0, 7)),
    *(Clock(zone) for zone in ("Europe/London", "Europe/Berlin", "Europe/Athens")),
)


def check_level(name: str, instrument: str, level: float) -> None:
    """Refuse prices at which the instrument has never traded, within generous bounds.

    Parameters
    ----------
    level : float
        The typical price of the file; NaN when it has none.

    Raises
    ------
    DataError
        If it is out of bounds.
    """
    low, high = plausible_range(instrument)
    if level < low or level > high:
        raise DataError(
            f"{name} has prices about {level:.5g}, and {instrument} trades about {typical_price(instrument):.3g}: "
            "it is another instrument's file, or its columns are not what they seem. Check --instrument and --format."
        )


def check_spread(name: str, instrument: str, level: float, spreads: Sequence[tuple[float, float]]) -> None:
    """Refuse bids and asks that are one price twice, or so far apart that they are no quotes of one instrument.

    Parameters
    ----------
    level : float
        The typical price of the file.
    spreads : sequence of (float, float)
        Median and largest share of the price, by part of the file; none of a file without both sides.

    Raises
    ------
    DataError
    """
    if not spreads:
        return
    typical, largest = float(np.median([median for median, _ in spreads])), max(most for _, most in spreads)
    if largest <= 0:
        raise DataError(
            f"{name}: the asks equal the bids in every row, so that trading would cost nothing: it holds one price "
            "twice. Leave one side only, and the spread is modelled."
        )
    model = spread_model(instrument)
    usual = model.london if model.unit == "share" else model.london * find_instrument(instrument).pip / level
    if typical > _WIDEST_SPREADS * usual:
        raise DataError(
            f"{name}: bid and ask are {100 * typical:.3g} percent of the price apart, and {instrument} is quoted about "
            f"{100 * usual:.2g} percent wide: one of them is of another instrument or scale. Leave one side only."
        )


def clock_evidence(local_ns: Int64) -> Int64:
    """Return what `check_clock` needs of wall-clock times: the five-minute stretches with a bar, sorted and unique."""
    known = local_ns != NO_TIME
    stretches = (local_ns if known.all() else local_ns[known]) // (_BUCKET_MINUTES * MINUTE_NS)
    # Most files are in order: what follows itself need not be sorted.
    changes = np.append(True, np.diff(stretches) != 0)[: len(stretches)]
    return np.unique(stretches[changes]) * (_BUCKET_MINUTES * MINUTE_NS)


def check_clock(
    name: str, opening: int | None, local_ns: Int64, clock: Clock, zoned: bool = False, timeframe: Timeframe = M1
) -> int:
    """Refuse a clock under which bars lie in the instrument's weekend (Friday 17:00 to Sunday 17:00 New York; metals
    open on Sunday at 18:00).

    A few weekends with stray ticks are let pass, unless they are what a wrong daylight saving, or a change of clock
    at one end of the file, would leave.

    Parameters
    ----------
    opening : int or None
        `hours.opening_seen`.
    local_ns : (N,) int64
        `clock_evidence` of the wall-clock times as they stand in the file.
    clock : Clock
        The clock that the file is said to have.
    zoned : bool
        Whether its times carry a zone, for which no offset can be given.
    timeframe : Timeframe
        Of the bars.

    Returns
    -------
    int
        Weekends that the file reaches over and that could tell: 0 of an instrument without weekends.

    Raises
    ------
    DataError
        If weekends have bars in them; the message names the offset that would fit.
    """
    if opening is None:
        return 0
    least = _INTRUDING_BUCKETS if timeframe.minutes < _COARSE_MINUTES else 1
    said = _weekends(clock.to_utc(local_ns), opening, least)
    if not said.spanned:
        return 0
    few = len(said.bad) <= said.spanned // 10
    if few and len(said.bad) < 2:
        return said.spanned
    candidates = [(candidate, candidate.to_utc(local_ns)) for candidate in CANDIDATES]
    if few:
        utc_ns = clock.to_utc(local_ns)
        # Stray ticks fit many a clock: only one that differs in daylight saving alone is taken for the right one.
        fitting = _fitting_clock([item for item in candidates if np.mean(item[1] == utc_ns) >= 0.5], opening, 0, least)
    else:
        fitting = _fitting_clock(candidates, opening, said.spanned // 10, least)
    if fitting:
        advice = f"its weekends would fit --utc-offset {fitting}."
    elif change := _change_of_clock(candidates, opening, least):
        if few and not _at_one_end(said):
            return said.spanned
        before, after, first = change
        advice = (
            f"its weekends would fit --utc-offset {before} before {first:%Y-%m-%d} and {after} from then on: split "
            "the file there."
        )
    elif few:
        return said.spanned
    else:
        advice = (
            "no offset would fit: are these bars of an instrument that trades at weekends, or filled in? If the clock "
            "is right, --leave-out-weekends leaves them out."
        )
    if timeframe.minutes >= _COARSE_MINUTES:
        advice += " If its times are ends of bars, give --bar-time end."
    if zoned:
        advice += " " + _ZONED
    raise DataError(
        f"{name} cannot be on the clock {clock}: {len(said.bad)} of its {said.spanned} FX weekends have bars in them, "
        f"the first at {pd.Timestamp(said.first_ns, tz='UTC'):%Y-%m-%d %H:%M} UTC; {advice}"
    )


def check_break(name: str, instrument: str, holes: Int64, clock: Clock, zoned: bool = False) -> BreakFound | None:
    """Refuse a clock under which the daily break of an instrument that has one lies elsewhere in the day.

    Parameters
    ----------
    holes : (2, N) int64
        `Steps.holes`, UTC as `clock` has it.

    Raises
    ------
    DataError
        If it lies elsewhere; the message names the offset that would fit.
    """
    found = daily_break(instrument, holes)
    if found is None or not found.contradicts:
        return found
    fitting = fitting_break(instrument, holes, clock, CANDIDATES)
    late = f"{abs(found.minutes)} minutes {'later' if found.minutes > 0 else 'earlier'}"
    advice = (
        f"--utc-offset {fitting} would fit." if fitting else "no offset would fit: is it another instrument's file?"
    )
    if zoned:
        advice += " " + _ZONED
    raise DataError(
        f"{name} cannot be on the clock {clock}: on {found.wrong} days its daily break ends {late} than 18:00 New "
        f"York, when {instrument} opens again; {advice}"
    )


class _Weekends(NamedTuple):
    # Weekends in the span, the trading weeks before those that have bars in them, the last week of the span, and the
    # first bar in a weekend.
    spanned: int
    bad: Int64
    last_week: int
    first_ns: int


def _weekends(utc_ns: Int64, opening: int, least: int) -> _Weekends:
    utc_ns = utc_ns[utc_ns != NO_TIME]
    if not len(utc_ns):
        return _Weekends(0, np.empty(0, np.int64), 0, 0)
    minutes, weeks = week_minutes(utc_ns), trading_week(utc_ns)
    # A week that opens late: its first minutes belong to the weekend before.
    early = minutes < opening - _TOLERANCE_MINUTES
    weeks = weeks - early.astype(np.int64)
    weekend = WEEK_MINUTES + min(opening - _TOLERANCE_MINUTES, 0)
    intruding = ((minutes >= TRADING_WEEK_MINUTES + _TOLERANCE_MINUTES) & (minutes < weekend)) | early
    weekends, counts = np.unique(weeks[intruding], return_counts=True)
    bad = weekends[counts >= least]
    last = int(weeks.max())
    spanned = last - int(weeks.min()) + int(bool(intruding[weeks == last].any()))
    first = utc_ns[intruding & np.isin(weeks, bad)]
    return _Weekends(max(spanned, len(bad)), bad, last, int(first.min()) if len(first) else 0)


def _fitting_clock(candidates: Sequence[tuple[Clock, Int64]], opening: int, strays: int, least: int) -> Clock | None:
    # Of the clocks with no more than `strays` bad weekends, the one under which trading fills the week's ends best.
    best: tuple[int, Clock] | None = None
    for clock, utc_ns in candidates:
        if len(_weekends(utc_ns, opening, least).bad) > strays:
            continue
        known = utc_ns[utc_ns != NO_TIME]
        minutes, weeks = week_minutes(known), trading_week(known)
        ends = (minutes < 120) | ((minutes >= TRADING_WEEK_MINUTES - 120) & (minutes < TRADING_WEEK_MINUTES))
        inner = (weeks > weeks.min()) | (minutes >= TRADING_WEEK_MINUTES - 120)
        filled = int((ends & inner).sum())
        if best is None or filled > best[0]:
            best = (filled, clock)
    return best[1] if best else None


def _change_of_clock(
    candidates: Sequence[tuple[Clock, Int64]], opening: int, least: int
) -> tuple[Clock, Clock, pd.Timestamp] | None:
    # The clock that fits for longest from the start, that which fits for longest up to the end, and where the first
    # of them ends to fit, if together they cover the file.
    found = [(clock, _weekends(utc_ns, opening, least)) for clock, utc_ns in candidates]
    if any(not len(weekends.bad) for _, weekends in found):
        return None
    before = max(found, key=lambda item: int(item[1].bad[0]))
    after = min(found, key=lambda item: int(item[1].bad[-1]))
    if after[1].bad[-1] >= before[1].bad[0]:
        return None
    return before[0], after[0], pd.Timestamp(before[1].first_ns, tz="UTC")


def _at_one_end(said: _Weekends) -> bool:
    # Whether the bad weekends follow one another from the start of the file, or up to its end.
    first, last = int(said.bad[0]), int(said.bad[-1])
    touches = first <= said.last_week - said.spanned + 1 or said.last_week - last <= 1
    return last - first == len(said.bad) - 1 and touches

"""What the gaps of a file say: its clock by the daily break, and whether its bars are stamped at their open or end."""

from collections import Counter
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.clock import Clock
from fx_pipeline.market.calendar import (
    DAY_MINUTES,
    MINUTE_NS,
    TRADING_WEEK_MINUTES,
    WEEK_MINUTES,
    trading_day,
    week_minutes,
)
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.timeframe import M1, Timeframe

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
#: What the time of a bar is in a file.
Stamped = Literal["open", "end"]
STAMPS: tuple[Stamped, ...] = get_args(Stamped)

#: Metals are closed from 17:00 to 18:00 New York each day (until September 2015 from 17:15): minutes after 17:00.
_BREAK_END = 60
_BREAK_MINUTES = (40, 80)
_WEEKEND_MINUTES = 40 * 60
_TOLERANCE_MINUTES = 10
_SHIFTS = (-120, -60, 60, 120)

#: In six real files of currency pairs, stamped at the open, the bars of minute 0 are the widest of the hour, 1.3 to 1.6
#: times the mean and 1.08 times those of minute 1 or more: what is published comes on the hour.
_WIDEST, _ERRORS, _ERRORS_APART = 1.25, 4.0, 3.0


def opening_minute(instrument: str) -> int | None:
    """Return when an instrument's week begins, minutes after Sunday 17:00 New York; None where it has no weekends."""
    kind = find_instrument(instrument).kind
    if kind == "crypto":
        return None
    return _BREAK_END if kind == "metal" else 0


def opening_seen(instrument: str, first_ns: int, last_ns: int, holes: Int64) -> int | None:
    """Return `opening_minute`, or 0 where a file shows no daily break though it reaches over the time of one.

    Some brokers quote metals through the break, and from Sunday 17:00 on.
    """
    opening = opening_minute(instrument)
    if opening != _BREAK_END or len(Gaps.of(holes).breaks.length):
        return opening
    days = np.arange(trading_day(first_ns)[0], trading_day(last_ns)[0] + 1)
    # Days of one week that follow one another have the break between them; day 0 was a Thursday.
    within = np.diff((days + 3) // 7) == 0
    return 0 if (within & (((days[1:] + 3) % 7) < 5)).any() else opening


class Gaps(NamedTuple):
    """The gaps of a file, in minutes of the trading week of New York.

    Attributes
    ----------
    lasts, firsts : (N,) int64
        Week minute of the bars before and after each gap.
    length : (N,) int64
        Minutes from the one to the other.
    """

    lasts: Int64
    firsts: Int64
    length: Int64

    @classmethod
    def of(cls, holes: Int64) -> Self:
        """Read the gaps of `Steps.holes`."""
        before, after = holes
        return cls(
            week_minutes(before).astype(np.int64), week_minutes(after).astype(np.int64), (after - before) // MINUTE_NS
        )

    def part(self, kept: npt.NDArray[np.bool_]) -> Self:
        """Return some of them."""
        return type(self)(*(array[kept] for array in self))

    @property
    def weekends(self) -> Self:
        """Those about as long as a weekend, or longer by a holiday, that have the weekend in them."""
        week_end = (self.lasts >= TRADING_WEEK_MINUTES - 120) & (self.length < _WEEKEND_MINUTES + 1_440)
        return self.part(week_end & (self.length >= _WEEKEND_MINUTES))

    @property
    def breaks(self) -> Self:
        """Those about as long as the daily break of metals, within a week."""
        shortest, longest = _BREAK_MINUTES
        return self.part((self.length >= shortest) & (self.length <= longest) & (self.firsts > _BREAK_END))


class BreakFound(NamedTuple):
    """At which time of the day a file has its daily break.

    Attributes
    ----------
    right : int
        Days with the break where the instrument has it.
    wrong : int
        Days with one at another time, always the same.
    minutes : int
        How much later than it should that one ends.
    """

    right: int
    wrong: int
    minutes: int

    @property
    def contradicts(self) -> bool:
        """Whether the clock cannot be right, at least for a part of the file."""
        return self.wrong > 2 * self.right or (self.wrong >= 5 and self.wrong >= 0.15 * (self.right + self.wrong))


def daily_break(instrument: str, holes: Int64) -> BreakFound | None:
    """Find the daily break of an instrument that has one; None where it has none or the file shows none."""
    if find_instrument(instrument).kind != "metal":
        return None
    breaks = Gaps.of(holes).breaks
    late = _around(breaks.firsts - _BREAK_END)
    right = int((np.abs(late) <= _TOLERANCE_MINUTES).sum())
    # A clock is off by half an hour at least.
    rounded = np.round(late / 30).astype(np.int64) * 30
    off = rounded[(np.abs(late - rounded) <= _TOLERANCE_MINUTES) & (rounded != 0)]
    if not right and not len(off):
        return None
    minutes, wrong = Counter(off.tolist()).most_common(1)[0] if len(off) else (0, 0)
    return BreakFound(right, wrong, minutes)


def fitting_break(instrument: str, holes: Int64, clock: Clock, candidates: tuple[Clock, ...]) -> Clock | None:
    """Return the clock under which the daily breaks of a file on `clock` lie right."""
    local = np.stack([clock.to_local(side) for side in holes])
    found: list[tuple[int, Clock]] = []
    for candidate in candidates:
        shown = daily_break(instrument, np.stack([candidate.to_utc(side) for side in local]))
        if shown is not None and not shown.contradicts:
            found.append((shown.right, candidate))
    return max(found, key=lambda item: item[0])[1] if found else None


def other_shifts(instrument: str, holes: Int64) -> list[int]:
    """Return by how many minutes the bars could be later or earlier and still lie in no weekend."""
    opening = opening_minute(instrument)
    weekends = Gaps.of(holes).weekends
    if opening is None or not len(weekends.length):
        return []
    firsts = (weekends.firsts + WEEK_MINUTES // 2) % WEEK_MINUTES - WEEK_MINUTES // 2
    return [
        shift
        for shift in _SHIFTS
        if (weekends.lasts + shift < TRADING_WEEK_MINUTES + _TOLERANCE_MINUTES).all()
        and (firsts + shift > opening - _TOLERANCE_MINUTES).all()
    ]


class Stamps(NamedTuple):
    """What says that bars begin at the times that they have, or that they are a bar late or early: clauses."""

    fits: str | None = None
    late: str | None = None
    early: str | None = None


def stamp_evidence(instrument: str, holes: Int64, wide: tuple[Float64, Float64], timeframe: Timeframe = M1) -> Stamps:
    """Look for what tells opens of bars from ends.

    Parameters
    ----------
    holes : (2, N) int64
        `Steps.holes`, of the times that are taken for opens.
    wide : (60,) float64, twice
        `Neighbours.minutes`.
    timeframe : Timeframe
        Of the bars.
    """
    opening = opening_minute(instrument)
    if opening is None:
        return Stamps()
    length = timeframe.minutes
    if timeframe.aligned_to_day:
        # They begin where the day does, or lie on no grid.
        return Stamps()
    closes, starts = _closes_and_starts(Gaps.of(holes), opening)
    # Opens of the last bars, of which the gaps have the last minute.
    closes = closes - (length - 1)
    count = len(closes)
    half = max(1, count / 2)
    at_close, at_start = int((closes == 0).sum()), int((starts == 0).sum())
    what = "weekends" if opening == 0 else "weekends and daily breaks"
    first = [
        f"{17 + (opening + minute) // 60}:{(opening + minute) % 60:02d} New York" for minute in (-length, 0, length)
    ]
    if (starts == -length).sum() >= half:
        return Stamps(
            early=f"after {int((starts == -length).sum())} of {count} {what} the first bar stands at {first[0]}"
        )
    late = int((starts == length).sum())
    sure = late >= half or (count >= 3 and at_close >= 0.8 * count)
    if at_close >= half and not at_start and not ((closes > 0) & (closes < max(30, length))).any() and sure:
        return Stamps(
            late=f"before {at_close} of {count} {what} the last bar stands at 17:00 New York, when trading has ended, "
            f"and after {late} the first at {first[2]}"
        )
    by_hour = _by_hour(*wide)
    if by_hour.late is None and by_hour.early is None and at_start >= half:
        return Stamps(fits=f"after {at_start} of {count} {what} the first bar stands at {first[1]}")
    return by_hour


def _closes_and_starts(gaps: Gaps, opening: int) -> tuple[Int64, Int64]:
    # Minutes after 17:00 New York of the last bar before each close, and after the opening of the first bar after it.
    ends = [gaps.weekends, *([gaps.breaks] if opening else [])]
    closes = np.concatenate([part.lasts for part in ends]) % DAY_MINUTES
    starts = np.concatenate([part.firsts for part in ends]) % DAY_MINUTES - opening
    return _around(closes), _around(starts)


def _around(minutes: Int64) -> Int64:
    # Minutes of a day as minutes before or after its start.
    return (minutes + DAY_MINUTES // 2) % DAY_MINUTES - DAY_MINUTES // 2


def _by_hour(means: Float64, errors: Float64) -> Stamps:
    widest = int(np.argmax(means))
    if means[widest] <= _WIDEST or means[widest] - 1 <= _ERRORS * errors[widest]:
        return Stamps()
    clause = f"bars of minute {widest} are the widest of the hour, {means[widest]:.2f} times the mean"
    if widest == 0:
        return Stamps(fits=clause)
    if widest == 1 and means[1] - means[0] > _ERRORS_APART * np.hypot(errors[0], errors[1]):
        return Stamps(late=clause)
    return Stamps(early=clause) if widest == 59 else Stamps()

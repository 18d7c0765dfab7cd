"""Prices beside one another: jumps, wild ranges, blocks that come twice, and the widest minute of the hour."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.buckets import Rows
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.months import month_of
from fx_pipeline.market.timeframe import M1, Timeframe

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
#: The bars of a month, sorted by time.
RowsOf = Callable[[str], Rows]

#: The largest step from one bar's close to the next one's open that an instrument makes within a session, as a share
#: of its price, when the bars around it are calm. The largest of eight real months of currency pairs, the Brexit
#: night among them, is 0.0024.
_USUAL_JUMP = 0.01
_JUMPS = {"XAU": 0.02, "XAG": 0.03, "BTC": 0.05, "TRY": 0.04, "ZAR": 0.02, "MXN": 0.02, "HUF": 0.02}
#: Over how long a gap, in minutes, how many times that step is possible. Over a longer one anything is.
_SESSION, _WEEKEND, _MONTH = 60, 4 * 1_440, 30 * 1_440
_OVER_WEEKEND, _OVER_MONTH = 5.0, 15.0
#: A market that does jump is in turmoil: its bars are wide. A jump of a file is many times the range of those beside.
_CALM_RANGES = 20.0
#: Likewise of a high or low beyond open and close.
_WICK_JUMPS, _WICK_RANGES = 5.0, 50.0
_BESIDE = 30
#: So many bars that stand apart are bad bars; more are another part of the file.
_FEW_BARS = 10
_LONG_BARS = 100
_MOST_JUMPS = 1_000
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1

#: A window of so many bars whose prices come again is no chance, when most of them moved.
_WINDOW, _MOVING = 16, 12
_REPEATS_NEEDED = 4
#: Prices as integers, in units that no display precision is finer than.
_STEPS = 1e6
_LONG_LAG_BARS = 1_440
# Odd numbers without a pattern: multiplication by them spreads the bits.
_SPREAD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
_BASE = np.uint64(0x9FB21C651E98DF25)
_BASE_TO_WINDOW = np.uint64(pow(0x9FB21C651E98DF25, _WINDOW, 2**64))

FAR = "price far from the bars before and after"
WILD = "high or low far from the bars before and after"


class Jump(NamedTuple):
    """A step between neighbours that the instrument does not make.

    Attributes
    ----------
    place : int
        Number of the bar after it among all bars.
    before_ns, after_ns : int
        Opens of the two bars, UTC nanoseconds.
    close, open : float
        From where to where.
    bar_minutes : int
        Length of a bar.
    """

    place: int
    before_ns: int
    after_ns: int
    close: float
    open: float
    bar_minutes: int = 1

    @property
    def size(self) -> float:
        """Share of the price."""
        return abs(self.open / self.close - 1)

    def beyond(self, limit: float) -> bool:
        """Whether it is too large for the time that it took, where `limit` is for a session."""
        # From the last minute of the one bar on.
        gap = (self.after_ns - self.before_ns) // MINUTE_NS - (self.bar_minutes - 1)
        return self.size > limit * (1 if gap <= _SESSION else _OVER_WEEKEND if gap <= _WEEKEND else _OVER_MONTH)


class Verdict(NamedTuple):
    """What the neighbours tell.

    Attributes
    ----------
    odd : tuple of (int, int, str)
        Bars that stand apart from those around them: from when to before when, UTC nanoseconds, and the reason.
    jump : Jump or None
        The first one after which prices stay elsewhere.
    to_and_fro : int
        Jumps, where they are too many to be bad bars.
    """

    odd: tuple[tuple[int, int, str], ...]
    jump: Jump | None
    to_and_fro: int


class Repeat(NamedTuple):
    """A block of bars that stands in the file twice: about where, UTC nanoseconds."""

    first_ns: int
    again_ns: int
    until_ns: int


def largest_jump(instrument: str) -> float:
    """Return the largest step between the bars of one session, as a share of the price."""
    pair = find_instrument(instrument)
    return max(_JUMPS.get(currency, _USUAL_JUMP) for currency in (pair.base, pair.quote))


class Neighbours:
    """Looks at bars in order of time, a part at a time."""

    def __init__(self, instrument: str, timeframe: Timeframe = M1) -> None:
        self._limit = largest_jump(instrument)
        self._timeframe = timeframe
        self._sides: list[_Side] = []

    def add(self, rows: Rows) -> None:
        """Look at more bars: sorted, unique, later than all before."""
        if not len(rows):
            return
        while len(self._sides) < len(rows.prices) // 4:
            self._sides.append(_Side(self._limit, self._timeframe))
        for number, side in enumerate(self._sides):
            side.add(rows.time, [np.ascontiguousarray(rows.prices[4 * number + field]) for field in range(4)])

    def verdict(self, rows_of: RowsOf) -> Verdict:
        """Tell bad bars from parts that do not belong together.

        Parameters
        ----------
        rows_of : callable
            The bars of a month.
        """
        odd: tuple[tuple[int, int, str], ...] = ()
        for number, side in enumerate(self._sides):
            found = side.verdict(rows_of, 4 * number)
            if found.jump is not None or found.to_and_fro:
                return found
            odd += found.odd
        return Verdict(odd, None, 0)

    def repeat(self) -> Repeat | None:
        """Return a block of bars that stands in the file twice, or None."""
        return self._sides[0].repeat() if self._sides else None

    def minutes(self) -> tuple[Float64, Float64]:
        """Return how wide bars are by minute of the hour, (60,), in means of all, and the standard error of each.

        Bars that are longer than a minute tell nothing of minutes: they are as wide at all of them.
        """
        if self._timeframe != M1:
            return np.ones(60), np.ones(60)
        bars, total, squares = self._sides[0].minutes if self._sides else np.zeros((3, 60))
        mean = total.sum() / max(bars.sum(), 1)
        if not mean:
            return np.ones(60), np.ones(60)
        known = np.maximum(bars, 1)
        each = total / known
        spread = np.sqrt(np.maximum(squares / known - each**2, 0) / known)
        return each / mean, spread / mean


class _Side:
    # One price side of the file.
    def __init__(self, limit: float, timeframe: Timeframe) -> None:
        self._limit = limit
        self._timeframe = timeframe
        self._bars = 0
        # Of the bar before: open, high, low, close; and its time.
        self._before = np.full(4, np.nan)
        self._before_ns, self._before_close = 0, math.nan
        # By minute of the hour: bars, and the sums of their ranges and of the squares of these.
        self.minutes = np.zeros((3, 60))
        self._window = np.zeros(_WINDOW, np.uint64)
        self._moved = np.zeros(_WINDOW, np.int64)
        self._rolling = np.zeros(1, np.uint64)
        self._jumps: list[Jump] = []
        self._jumps_seen = 0
        self._wild: list[int] = []
        self._hashes: list[UInt64] = []
        self._hash_times: list[Int64] = []
        self._hash_places: list[Int64] = []

    def add(self, time: Int64, fields: Sequence[Float64]) -> None:
        jumps, wild = np.empty(_MOST_JUMPS, np.int64), np.empty(_MOST_JUMPS, np.int64)
        # One window in sixteen is looked at.
        hashed = np.empty(len(time) // 8 + 64, np.int64)
        hashes = np.empty(len(hashed), np.uint64)
        steps = np.diff(time, prepend=self._before_ns)
        counts = _look(
            time, steps, *fields, self._bars, self._limit, self._before, self.minutes, self._window, self._moved,
            self._rolling, jumps, wild, hashed, hashes,
        )  # fmt: skip
        self._jumps_seen += counts[0]
        for place in jumps[: min(counts[0], _MOST_JUMPS - len(self._jumps))].tolist():
            close = float(fields[3][place - 1]) if place else self._before_close
            before_ns = int(time[place - 1]) if place else self._before_ns
            jump = (self._bars + place, before_ns, int(time[place]), close, float(fields[0][place]))
            self._jumps.append(Jump(*jump, self._timeframe.minutes))
        self._wild += time[wild[: min(counts[1], _MOST_JUMPS - len(self._wild))]].tolist()
        self._hashes.append(hashes[: counts[2]].copy())
        self._hash_times.append(time[hashed[: counts[2]]])
        self._hash_places.append(hashed[: counts[2]] + self._bars)
        self._bars += len(time)
        self._before_ns, self._before_close = int(time[-1]), float(fields[3][-1])

    def verdict(self, rows_of: RowsOf, first_field: int) -> Verdict:
        if self._jumps_seen > max(_FEW_BARS, 0.01 * self._bars) or self._jumps_seen >= _MOST_JUMPS:
            return Verdict((), self._jumps[0], self._jumps_seen)
        wild = self._calm(rows_of, first_field, dict.fromkeys(self._wild, math.inf), _WICK_RANGES)
        calm = self._calm(rows_of, first_field, {jump.after_ns: jump.size for jump in self._jumps}, _CALM_RANGES)
        jumps = [jump for jump in self._jumps if jump.after_ns in calm]
        apart, lasting = _apart(jumps, self._bars, self._limit)
        odd = [(at, at + 1, WILD) for at in sorted(wild)] + [(start, end, FAR) for start, end in apart]
        return Verdict(tuple(odd), lasting, 0)

    def _calm(self, rows_of: RowsOf, first_field: int, sizes: dict[int, float], ranges: float) -> set[int]:
        # The times at which the bars beside are narrow against what is seen there.
        kept: set[int] = set()
        rows: Rows | None = None
        month = ""
        for at, size in sizes.items():
            if month_of(at) != month or rows is None:
                month = month_of(at)
                rows = rows_of(month)
            open_, high, low, close = rows.prices[first_field : first_field + 4]
            place = int(np.searchsorted(rows.time, at))
            beside = slice(max(place - _BESIDE, 0), place + _BESIDE + 1)
            width = np.median(high[beside] - low[beside])
            if size == math.inf:
                seen = max(high[place] - max(open_[place], close[place]), min(open_[place], close[place]) - low[place])
            else:
                seen = size * close[place]
            if seen > ranges * width:
                kept.add(at)
        return kept

    def repeat(self) -> Repeat | None:
        hashes = np.concatenate(self._hashes)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        if len(again) < _REPEATS_NEEDED:
            return None
        places, times = np.concatenate(self._hash_places), np.concatenate(self._hash_times)
        first, second = order[again], order[again + 1]
        lags, counts = np.unique(places[second] - places[first], return_counts=True)
        for lag in lags[counts >= _REPEATS_NEEDED].tolist():
            block = places[second] - places[first] == lag
            # What comes again before it has ended is a pattern, as in a made-up file, and no copy.
            if lag >= _LONG_LAG_BARS or lag > np.ptp(places[second][block]):
                return Repeat(
                    int(times[first][block].min()), int(times[second][block].min()), int(times[second][block].max())
                )
        return None


def _apart(jumps: list[Jump], bars: int, limit: float) -> tuple[list[tuple[int, int]], Jump | None]:
    # A few bars between two jumps, at a level of their own and with that of before after them: from when to before
    # when. And the first jump after which prices stay elsewhere.
    apart: list[tuple[int, int]] = []
    number = 0
    while number < len(jumps):
        jump = jumps[number]
        back = jumps[number + 1] if number + 1 < len(jumps) else None
        if back is not None and not (
            back.place - jump.place <= _FEW_BARS
            and abs(back.open / jump.close - 1) <= 2 * limit
            and (jump.beyond(limit) or back.beyond(limit))
        ):
            back = None
        if back is not None:
            apart.append((jump.after_ns, back.after_ns))
            number += 1
        elif jump.beyond(limit):
            if bars >= _LONG_BARS and number == 0 and jump.place <= _FEW_BARS:
                apart.append((_FIRST_NS, jump.after_ns))
            elif bars >= _LONG_BARS and number + 1 == len(jumps) and bars - jump.place <= _FEW_BARS:
                apart.append((jump.after_ns, _LAST_NS))
            else:
                return apart, jump
        number += 1
    return apart, None


@numba.njit(cache=True, nogil=True)
def _look(
    time: Int64,
    steps: Int64,
    opens: Float64,
    highs: Float64,
    lows: Float64,
    closes: Float64,
    bars: int,
    limit: float,
    before: Float64,
    minutes: Float64,
    window: UInt64,
    moved: Int64,
    rolling: UInt64,
    jumps: Int64,
    wild: Int64,
    hashed: Int64,
    hashes: UInt64,
) -> tuple[int, int, int]:
    jump_count = wild_count = hash_count = 0
    moving = moved.sum()
    value = rolling[0]
    minute = (time[0] - steps[0]) // MINUTE_NS % 60
    for place in range(len(time)):
        open_, high, low, close = opens[place], highs[place], lows[place], closes[place]
        last = before[3]
        # NaN before the first bar.
        if abs(open_ - last) > limit * last and steps[place] <= _MONTH * MINUTE_NS:
            if jump_count < len(jumps):
                jumps[jump_count] = place
            jump_count += 1
        top, bottom = max(open_, close), min(open_, close)
        if high - top > _WICK_JUMPS * limit * top or bottom - low > _WICK_JUMPS * limit * bottom:
            if wild_count < len(wild):
                wild[wild_count] = place
            wild_count += 1
        minute = (0 if minute == 59 else minute + 1) if steps[place] == MINUTE_NS else time[place] // MINUTE_NS % 60
        width = (high - low) / close
        minutes[0, minute] += 1
        minutes[1, minute] += width
        minutes[2, minute] += width * width
        moves = high > low and (open_ != before[0] or high != before[1] or low != before[2] or close != last)
        bar = (
            np.uint64(np.int64(open_ * _STEPS)) * _SPREAD[0]
            + np.uint64(np.int64(high * _STEPS)) * _SPREAD[1]
            + np.uint64(np.int64(low * _STEPS)) * _SPREAD[2]
            + np.uint64(np.int64(close * _STEPS)) * _SPREAD[3]
        )
        bar ^= bar >> np.uint64(29)
        slot = (bars + place) % _WINDOW
        value = value * _BASE + bar - window[slot] * _BASE_TO_WINDOW
        moving += moves - moved[slot]
        window[slot], moved[slot] = bar, moves
        if moving >= _MOVING and (value * _SPREAD[0]) >> np.uint64(60) == np.uint64(0) and hash_count < len(hashes):
            hashed[hash_count] = place
            hashes[hash_count] = value
            hash_count += 1
        before[0], before[1], before[2], before[3] = open_, high, low, close
    rolling[0] = value
    return jump_count, wild_count, hash_count

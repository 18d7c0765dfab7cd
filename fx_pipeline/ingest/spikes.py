"""Spikes: a bar, or a short run of bars, whose price jumps away and comes back as no market does.

The rule looks at both sides of a bar, which is fair: the lake is built afterwards. Of each price side it asks

1. Excursion: how far the run's prices lie beyond both the close before and the open after it. It must exceed
   `_FLOOR` of the largest step that the instrument makes within a session (`neighbours.largest_jump`: 0.3 percent of
   currency pairs); for bid or ask alone, whose spread does widen at times, all of that step.
2. Return: the open after lies within `_RETURN` of the excursion of the close before.
3. Calm: the excursion is more than `_CALM` times the range of the bars beside it, the widest of the medians of the
   5 and the 30 bars before and after. A market in turmoil has wide bars beside: of 547,000 bars in 11 real files, none
   is a spike, the Brexit night in minutes and the pound's crash of 7 October 2016 in hours among them. The crashes of
   15 January 2015 and 3 January 2019 were re-enacted from what is known of them, as no minutes of them are at hand. Two
   and more bars whose opens and closes move away without a step between bars need `_CALM_MOVED` times, as crashes do.

At the two ends of what is known, where one side is missing, a step beyond the instrument's largest within `RUN_BARS`
bars of the end is a spike until more bars say otherwise: they are held back, and the month is built again when there
are some. A step that stays is no spike: it is a level change, which is told and kept.

The rule reads `BESIDE_BARS` bars on each side of a month, so that no month's end and no block of a file matters.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.neighbours import FAR, WILD, largest_jump
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.timeframe import M1, Timeframe

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: The longest run that can be a spike; a longer one is another level.
RUN_BARS = 10
#: Bars beside a month that the rule may read.
BESIDE_BARS = 200
#: Of a candidate so near to a month's end, the bars beyond are needed.
_NEAR_BARS = 60
_FLOOR = 0.3
_RETURN = 0.25
_CALM, _CALM_MOVED = 30.0, 100.0
_SHORT, _LONG = 5, 30
#: Of so many moves to and fro, each of half of the way, a run's bars are away each by itself.
_TO_AND_FRO = 3
#: At an end of what is known there must be so many bars to compare with.
_EDGE_BARS = 100
#: A step over a longer gap than this may be so many times as large.
_GAP_NS, _OVER_GAP = 60 * MINUTE_NS, 5.0
_LONG_GAP_NS, _OVER_LONG_GAP = 30 * 1_440 * MINUTE_NS, 15.0
_MARKS = ("", FAR, WILD)


class Level(NamedTuple):
    """A step after which prices stay elsewhere, in a calm market: open of the bar after it, and from where to where."""

    time_ns: int
    close: float
    open: float

    def says(self) -> str:
        """Say it in a line."""
        at = np.datetime_as_string(np.datetime64(self.time_ns, "ns").astype("datetime64[m]"))
        return f"{at}Z: from {self.close:.6g} to {self.open:.6g} ({100 * (self.open / self.close - 1):+.1f} percent)"


class Found(NamedTuple):
    """Spikes among bars.

    Attributes
    ----------
    marks : (T,) int8
        0 of bars that are none; `reason_of` has the reason of another.
    levels : tuple of Level
        Level changes, of the first side that shows them.
    """

    marks: npt.NDArray[np.int8]
    levels: tuple[Level, ...]

    def between(self, first: int, last: int) -> npt.NDArray[np.bool_]:
        """Whether each bar of [first, last) is a spike."""
        return np.asarray(self.marks[first:last] > 0)


class Scan:
    """Looks for bars that may be spikes, in order of time, a part at a time."""

    def __init__(self, instrument: str) -> None:
        self._floor = _FLOOR * largest_jump(instrument)
        self._closes: dict[int, float] = {}
        self._found: list[Int64] = []

    def add(self, time: Int64, prices: Float64) -> None:
        """Look at more bars: times (T,), prices (4 S, T) of S sides."""
        if not len(time):
            return
        for side in range(len(prices) // 4):
            high, low, close = (np.ascontiguousarray(prices[4 * side + field]) for field in (1, 2, 3))
            places = _wide(high, low, close, self._closes.get(side, math.nan), self._floor)
            self._found.append(time[places])
            self._closes[side] = float(close[-1])

    def times(self) -> Int64:
        """Return the opens of the bars whose range, with the close before, is wide enough for a spike: sorted."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self._found]))


def reason_of(mark: int) -> str:
    """Return the reason for which a bar of that mark is quarantined; empty of none."""
    return _MARKS[mark]


def near_ends(time: Int64, found: Int64) -> tuple[bool, bool]:
    """Whether bars beyond the first, and beyond the last of `time` (T,) are needed to judge those of `found`."""
    if not len(found) or not len(time):
        return False, False
    places = np.searchsorted(time, found)
    return bool(places.min() < _NEAR_BARS), bool(places.max() >= len(time) - _NEAR_BARS)


def find_spikes(
    instrument: str,
    time: Int64,
    sides: Sequence[tuple[Float64, bool]],
    known_before: bool,
    known_after: bool,
    timeframe: Timeframe = M1,
) -> Found:
    """Judge bars, sorted and unique on time.

    Parameters
    ----------
    time : (T,) int64
        UTC nanoseconds of the bars' opens.
    sides : sequence of ((4, T) float64, bool)
        Open, high, low and close of each side, and whether it is the price itself (mid, or a file's only side) and not
        a bid or ask beside it.
    known_before, known_after : bool
        Whether the first bar, and the last, are not the ends of all that is known.
    timeframe : Timeframe
        Of the bars. What a bar is compared with is counted in bars; only a gap is time, from the end of a bar on.
    """
    marks = np.zeros(len(time), np.int8)
    levels: dict[int, Level] = {}
    limit = largest_jump(instrument)
    # As if each bar lasted a minute: gaps between them, for which steps are allowed to be larger, keep their length.
    apart = time - np.arange(len(time)) * (timeframe.bar_ns - MINUTE_NS)
    for prices, is_price in sides:
        fields = [np.ascontiguousarray(row) for row in prices]
        own, steps = _judge(apart, fields, limit * (_FLOOR if is_price else 1.0), limit, known_before, known_after)
        np.maximum(marks, own, out=marks)
        for place, before in steps:
            levels.setdefault(
                int(time[place]), Level(int(time[place]), float(fields[3][before]), float(fields[0][place]))
            )
    return Found(marks, tuple(level for _, level in sorted(levels.items())))


def price_sides(prices: dict[str, Float64], modelled: bool) -> list[tuple[Float64, bool]]:
    """Return the sides of candles as `find_spikes` takes them.

    Parameters
    ----------
    prices : dict of str to (T,) float64
        By `bid_o` .. `ask_c`, of one side, of bid and ask, or of all three.
    modelled : bool
        Whether bid and ask all come from the cost model: they move as mid does then.
    """
    held = list(dict.fromkeys(name.split("_")[0] for name in prices))
    given = {side: np.stack([prices[f"{side}_{field}"] for field in "ohlc"]) for side in held}
    if len(given) == 1 or modelled:
        return [(given["mid"] if "mid" in given else next(iter(given.values())), True)]
    mid = given["mid"] if "mid" in given else (given["bid"] + given["ask"]) / 2
    return [(mid, True), (given["bid"], False), (given["ask"], False)]


@numba.njit(cache=True, nogil=True)
def _wide(high, low, close, before, floor):  # type: ignore[no-untyped-def]
    """Bars whose range, with the close before, exceeds `floor` as a share of the lowest price in it."""
    found = np.empty(len(close), np.int64)
    count = 0
    last = close[0] if math.isnan(before) else before
    for place in range(len(close)):
        bottom = min(low[place], last)
        # Division would double the time of this pass over all bars.
        if max(high[place], last) - bottom > floor * bottom:
            found[count] = place
            count += 1
        last = close[place]
    return found[:count].copy()


@numba.njit(cache=True, nogil=True)
def _over(gap_ns):  # type: ignore[no-untyped-def]
    """How many times a step may be as large over a gap."""
    return _OVER_LONG_GAP if gap_ns > _LONG_GAP_NS else _OVER_GAP if gap_ns > _GAP_NS else 1.0


@numba.njit(cache=True, nogil=True)
def _widest(high, low, marks, first, last, forwards):  # type: ignore[no-untyped-def]
    """The wider of the medians of the ranges of the 5 and of the 30 bars of [first, last) next to the run."""
    ranges = np.empty(_LONG)
    count = 0
    widest = 0.0
    place = first if forwards else last - 1
    while first <= place < last and count < _LONG:
        if marks[place] == 0:
            ranges[count] = high[place] - low[place]
            count += 1
            if count == _SHORT:
                widest = np.median(ranges[:count])
        place += 1 if forwards else -1
    return max(widest, np.median(ranges[:count])) if count else 0.0


@numba.njit(cache=True, nogil=True)
def _write(opens, closes, marks, first, last, base, away):  # type: ignore[no-untyped-def]
    for bar in range(first, last):
        if marks[bar] == 0:
            marks[bar] = 1 if max(abs(opens[bar] - base), abs(closes[bar] - base)) > away / 2 else 2


@numba.njit(cache=True, nogil=True)
def _come_back(  # type: ignore[no-untyped-def]
    time, opens, highs, lows, closes, places, floor, limit, marks
):
    """Mark the runs that come back; return the steps that stay, (bar after, bar before) each."""
    bars = len(opens)
    steps = [(np.int64(0), np.int64(0)) for _ in range(0)]
    done = 0
    for start in places:
        if start < done or marks[start] != 0:
            continue
        before = start - 1
        while before >= 0 and marks[before] != 0:
            before -= 1
        if before < 0:
            continue
        base = closes[before]
        far = _over(time[start] - time[before])
        calm_before = _widest(highs, lows, marks, 0, before + 1, False)
        top, bottom = highs[start], lows[start]
        body_top, body_bottom = opens[start], opens[start]
        for end in range(start + 1, min(start + RUN_BARS, bars - 1) + 1):
            top, bottom = max(top, highs[end - 1]), min(bottom, lows[end - 1])
            body_top = max(body_top, opens[end - 1], closes[end - 1])
            body_bottom = min(body_bottom, opens[end - 1], closes[end - 1])
            after = opens[end]
            away = max(top - max(base, after), min(base, after) - bottom)
            over = max(far, _over(time[end] - time[end - 1]))
            # A share of the lower price: what falls to a tenth is as far away as what rises tenfold.
            if away <= over * floor * min(base, bottom) or abs(after - base) > _RETURN * away:
                continue
            stepped = abs(opens[start] - base) >= away / 2 or abs(after - closes[end - 1]) >= away / 2
            wicks = max(body_top - base, base - body_bottom) <= _RETURN * away
            needed = _CALM if stepped or wicks or end == start + 1 else _CALM_MOVED
            if away > needed * max(calm_before, _widest(highs, lows, marks, end, bars, True)):
                _write(opens, closes, marks, start, end, base, away)
                done = end
                break
        step = abs(opens[start] - base)
        stays = done <= start and step > far * limit * min(base, opens[start])
        if stays and step > _CALM * max(calm_before, _widest(highs, lows, marks, start, bars, True)):
            steps.append((np.int64(start), np.int64(before)))
    return steps


@numba.njit(cache=True, nogil=True)
def _hold_back(time, opens, highs, lows, closes, limit, marks):  # type: ignore[no-untyped-def]
    """Mark the bars from the first of the last `RUN_BARS` on that is away from those before; whether there are any."""
    bars = len(opens)
    for start in range(max(1, bars - RUN_BARS), bars):
        before = start - 1
        while before >= 0 and marks[before] != 0:
            before -= 1
        if before < 0 or marks[start] != 0:
            continue
        base = closes[before]
        far = _over(abs(time[start] - time[before]))
        if max(highs[start] - base, base - lows[start]) <= far * limit * min(base, lows[start]):
            continue
        top, bottom, body, moves, last = highs[start], lows[start], 0.0, 0, base
        for bar in range(start, bars):
            top, bottom = max(top, highs[bar]), min(bottom, lows[bar])
            body = max(body, abs(opens[bar] - base), abs(closes[bar] - base))
        away = max(top - base, base - bottom)
        for bar in range(start, bars):
            moves += (abs(opens[bar] - last) >= away / 2) + (abs(closes[bar] - opens[bar]) >= away / 2)
            last = closes[bar]
        wicks = body <= _RETURN * away
        calm = _widest(highs, lows, marks, 0, before + 1, False)
        # A crash is seen by its wide bars; bars that are away each by itself are as wide.
        if not wicks and moves < _TO_AND_FRO:
            calm = max(calm, _widest(highs, lows, marks, start + 1, bars, True))
        stepped = abs(opens[start] - base) >= away / 2 or moves >= _TO_AND_FRO
        needed = _CALM if stepped or wicks or start == bars - 1 else _CALM_MOVED
        if away > needed * calm:
            _write(opens, closes, marks, start, bars, base, away)
            return True
    return False


def _judge(
    time: Int64, fields: Sequence[Float64], floor: float, limit: float, known_before: bool, known_after: bool
) -> tuple[npt.NDArray[np.int8], list[tuple[int, int]]]:
    # The marks of one side, and its level changes, (bar after, bar before) each.
    marks = np.zeros(len(time), np.int8)
    places = _wide(*fields[1:], math.nan, floor)
    if not len(places):
        return marks, []
    steps = _come_back(time, *fields, places, floor, limit, marks)
    held = False
    if len(time) >= _EDGE_BARS:
        open_, high, low, close = fields
        if not known_before:
            # The start is the end of the bars read backwards.
            turned = slice(_EDGE_BARS - 1, None, -1)
            ends = [np.ascontiguousarray(row[turned]) for row in (time, close, high, low, open_)]
            start = np.ascontiguousarray(marks[turned])
            held = _hold_back(*ends, limit, start)
            marks[turned] = start
        if not known_after:
            last = slice(-_EDGE_BARS, None)
            held |= _hold_back(*(row[last] for row in (time, *fields)), limit, marks[last])
    if held:
        steps = _come_back(time, *fields, places, floor, limit, marks)
    return marks, [step for step in steps if not marks[step[0]] and not marks[step[1]]]

"""Spikes: a bar, or a short run of bars, whose price jumps away and comes back as no market does.

The rule looks at both sides of a bar, which is fair: the lake is built afterwards. Of each price side it asks

1. Excursion: how far the run's prices lie beyond both the close before and the open after it. It must exceed
   `_FLOOR` of the largest step that the instrument makes within a session (`neighbours.largest_jump`: 0.3 percent of
   currency pairs); for bid or ask alone, whose spread does widen at times, all of that step.
2. Return: the open after lies within `_RETURN` of the excursion of the close before.
3. Calm: the excursion is more than `_CALM` times the range of the bars beside it, the widest of the medians of the
   5 and the 30 bars before and after. A market in turmoil has wide bars beside: of 11 real files, 547,000 bars with the
   Brexit night, the pound's crash of 7 October 2016, the franc of 15 January 2015 and the yen of 3 January 2019 among
   them (these three as hours), no excursion that came back so reaches 18 in a minute's or five minutes' bars. Two and
   more bars that follow one another without a step between bars need `_CALM_MOVED` times: only a crash does that.

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
        self.found: list[int] = []

    def add(self, time: Int64, prices: Float64) -> None:
        """Look at more bars: times (T,), prices (4 S, T) of S sides.

        `found` gets the open of each bar whose range, with the close before it, is wide enough to be a spike.
        """
        if not len(time):
            return
        for side in range(len(prices) // 4):
            high, low, close = (np.ascontiguousarray(prices[4 * side + field]) for field in (1, 2, 3))
            places = _wide(high, low, close, self._closes.get(side, math.nan), self._floor)
            self.found += time[places].tolist()
            self._closes[side] = float(close[-1])


def reason_of(mark: int) -> str:
    """Return the reason for which a bar of that mark is quarantined; empty of none."""
    return _MARKS[mark]


def near_ends(time: Int64, found: Sequence[int]) -> tuple[bool, bool]:
    """Whether bars beyond the first, and beyond the last of `time` (T,) are needed to judge those of `found`."""
    if not len(found) or not len(time):
        return False, False
    places = np.searchsorted(time, np.asarray(found, np.int64))
    return bool(places.min() < _NEAR_BARS), bool(places.max() >= len(time) - _NEAR_BARS)


def find_spikes(
    instrument: str, time: Int64, sides: Sequence[tuple[Float64, bool]], known_before: bool, known_after: bool
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
    """
    marks = np.zeros(len(time), np.int8)
    levels: dict[int, Level] = {}
    limit = largest_jump(instrument)
    for prices, is_price in sides:
        open_, high, low, close = (np.ascontiguousarray(row) for row in prices)
        floor = limit * (_FLOOR if is_price else 1.0)
        places = _wide(high, low, close, math.nan, floor)
        if not len(places):
            continue
        own = np.zeros(len(time), np.int8)
        steps = _judge(time, open_, high, low, close, places, floor, limit, known_before, known_after, own)
        np.maximum(marks, own, out=marks)
        for place, before in steps:
            levels.setdefault(int(time[place]), Level(int(time[place]), float(close[before]), float(open_[place])))
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
def _judge(  # type: ignore[no-untyped-def]
    time, opens, highs, lows, closes, places, floor, limit, known_before, known_after, marks
):
    """Write the marks of one side; return its level changes, (bar after, bar before) each."""
    bars = len(opens)
    steps = [(np.int64(0), np.int64(0)) for _ in range(0)]
    done = 0
    for start in places:
        if start < done:
            continue
        before = start - 1
        while before >= 0 and marks[before] != 0:
            before -= 1
        if before < 0:
            # The first bar of all: what stands out from the open after it.
            if start == 0 and not known_before and bars >= _EDGE_BARS:
                after = opens[1]
                away = max(highs[0] - after, after - lows[0])
                if away > limit * after and away > _CALM * _widest(highs, lows, marks, 1, bars, True):
                    marks[0] = 1 if max(abs(opens[0] - after), abs(closes[0] - after)) > away / 2 else 2
                    done = 1
            continue
        base = closes[before]
        far = _over(time[start] - time[before])
        calm_before = _widest(highs, lows, marks, 0, before + 1, False)
        top, bottom = highs[start], lows[start]
        for end in range(start + 1, min(start + RUN_BARS, bars - 1) + 1):
            top, bottom = max(top, highs[end - 1]), min(bottom, lows[end - 1])
            after = opens[end]
            away = max(top - max(base, after), min(base, after) - bottom)
            over = max(far, _over(time[end] - time[end - 1]))
            # A share of the lower price: what falls to a tenth is as far away as what rises tenfold.
            if away <= over * floor * min(base, bottom) or abs(after - base) > _RETURN * away:
                continue
            stepped = abs(opens[start] - base) >= away / 2 or abs(after - closes[end - 1]) >= away / 2
            needed = _CALM if stepped or end == start + 1 else _CALM_MOVED
            if away > needed * max(calm_before, _widest(highs, lows, marks, end, bars, True)):
                for bar in range(start, end):
                    body = max(abs(opens[bar] - base), abs(closes[bar] - base))
                    marks[bar] = 1 if body > away / 2 else 2
                done = end
                break
        if done > start:
            continue
        left = bars - start
        step = abs(opens[start] - base)
        if left <= RUN_BARS and not known_after and bars >= _EDGE_BARS:
            top, bottom = highs[start:].max(), lows[start:].min()
            away = max(top - base, base - bottom)
            inside = _widest(highs, lows, marks, start + 1, bars, True)
            needed = _CALM if left == 1 or step >= away / 2 else _CALM_MOVED
            back = abs(closes[bars - 1] - base) <= _RETURN * away and left > 1
            if not back and away > far * limit * min(base, bottom) and away > needed * max(calm_before, inside):
                for bar in range(start, bars):
                    body = max(abs(opens[bar] - base), abs(closes[bar] - base))
                    marks[bar] = 1 if body > away / 2 else 2
                done = bars
                continue
        calm = max(calm_before, _widest(highs, lows, marks, start, bars, True))
        if step > far * limit * min(base, opens[start]) and step > _CALM * calm:
            if start <= RUN_BARS and not known_before and bars >= _EDGE_BARS:
                for bar in range(start):
                    marks[bar] = 1
            else:
                steps.append((np.int64(start), np.int64(before)))
    return steps

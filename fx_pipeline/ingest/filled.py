"""Bars that an exporter made up for minutes without a tick: flat at the close before, or the bar before said again.

No bar is ever invented: such rows are left out and counted. What tells them from quiet minutes is the rest of the
file. In real M1 candles a third to a half of all flat bars stand at the close of the bar before, never five in a row
and a half percent of all bars at most; an exporter that fills makes nothing but such bars. Real neighbours with the
same four prices and the same volume are a thousandth of all bars. In files with volumes, a flat bar at the close before
without one was filled in; and where bars without a volume are nearly all flat, those at other prices were too: filled
in from the next bar, or along a line. Real prices of usual digits stand still for 23 bars at most: an hour of it is a
feed that had stopped, whatever the volumes say, unless prices stand still all the time, as those of a pegged pair do.
"""

import math
from typing import NamedTuple, Self

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.ingest.buckets import Rows

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Bars in a row at the close, or at all prices, of the bar before that no market makes.
_FROZEN_BARS = 60
_FEWEST = 20
#: In files with volumes, so many times the longest row that would come about by chance besides.
_BEYOND_CHANCE = 3
#: Share of the bars without a volume that are flat where an exporter made them.
_MUTE_SHARE = 0.9
_FEWEST_BARS = 200


class Quiet(NamedTuple):
    """Counts of bars in which little or nothing happened.

    Attributes
    ----------
    bars : int
    flat : int
        Bars of one price.
    still : int
        Flat bars at the close of the bar before.
    silent : int
        Bars without a volume that are still, or have the four prices of the bar before.
    mute : int
        Flat bars without a volume.
    volumes : int
        Bars with a volume.
    opened : int
        Other than flat bars that open at the close before.
    repeated, nearly : int
        Bars, other than flat ones, that say the bar before again, its volume too; and those that have its high and its
        low, and else something new, as happens where prices have few digits.
    stood : int
        Bars with the four prices of the bar before.
    longest, stands : int
        The longest row in one block of still and repeated bars, and of bars with the same four prices.
    """

    bars: int = 0
    flat: int = 0
    still: int = 0
    silent: int = 0
    mute: int = 0
    volumes: int = 0
    opened: int = 0
    repeated: int = 0
    nearly: int = 0
    stood: int = 0
    longest: int = 0
    stands: int = 0

    def plus(self, other: Self) -> Self:
        """Return the counts of both together."""
        both = type(self)(*(one + another for one, another in zip(self, other, strict=True)))
        longest, stands = max(self.longest, other.longest), max(self.stands, other.stands)
        return both._replace(longest=longest, stands=stands)

    @property
    def have_volumes(self) -> bool:
        """Whether the file's bars have volumes, those apart that may be filled in."""
        return 2 * self.volumes >= max(self.bars - max(self.silent, self.mute), 1)

    @property
    def only_mute(self) -> bool:
        """Whether bars without a volume are flat as a market's would not be."""
        many = self.mute >= max(_FEWEST, 0.005 * self.bars)
        return self.have_volumes and many and self.mute >= _MUTE_SHARE * (self.bars - self.volumes)

    @property
    def frozen_bars(self) -> int:
        """How long a row of bars at the same prices is that no market makes."""
        share = self.stood / max(self.bars, 1)
        if not self.have_volumes or share == 0:
            return _FROZEN_BARS
        if share == 1:
            return self.bars + 1
        return max(_FROZEN_BARS, round(_BEYOND_CHANCE * math.log(self.bars) / -math.log(share)))

    @property
    def froze(self) -> bool:
        """Whether prices stood still for longer than a market's do."""
        return self.stands + 1 >= self.frozen_bars

    @property
    def only_still(self) -> bool:
        """Whether flat bars stand at the close before as no market's do."""
        moving = max(self.bars - self.flat, 1)
        usual = 2 * self.opened < moving
        return usual and self.still >= max(_FEWEST, 0.02 * self.bars) and self.still >= 0.9 * self.flat

    @property
    def repeats(self) -> bool:
        """Whether so many bars say the one before again that they are no coincidence."""
        many = self.bars >= _FEWEST_BARS and self.repeated >= max(_FEWEST, 0.01 * self.bars)
        return many and self.repeated > 3 * self.nearly


class Filling:
    """Marks the rows that an exporter filled in, month by month in order.

    Parameters
    ----------
    quiet : Quiet
        Of the whole file.
    """

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self._last: dict[int, Float64] = {}

    @property
    def needed(self) -> bool:
        """Whether any row can be one that was filled in."""
        quiet = self._quiet
        # A row of them may lie in two blocks.
        frozen = 2 * max(quiet.longest, quiet.stands) >= _FROZEN_BARS
        told = (quiet.silent or quiet.only_mute) if quiet.have_volumes else quiet.only_still
        return bool(frozen or quiet.repeats or told)

    def marks(self, rows: Rows) -> Bool:
        """Return which of a month's rows, sorted by time, were filled in."""
        quiet = self._quiet
        flat, still, same, stood = np.ones((4, len(rows)), bool)
        volume = np.ascontiguousarray(rows.volume)
        for side in range(len(rows.prices) // 4):
            state = self._last.setdefault(side, np.full(5, np.nan))
            fields = _fields(rows, side)
            still_here, same_here, stood_here = np.empty((3, len(rows)), bool)
            _mark(*fields, volume, state, still_here, same_here, stood_here)
            flat &= fields[1] == fields[2]
            still &= still_here
            same &= same_here
            stood &= stood_here
        frozen = _long_runs(same, _FROZEN_BARS) | _long_runs(still | stood, quiet.frozen_bars)
        if quiet.have_volumes:
            filled = (still | stood | (flat & quiet.only_mute)) & (rows.volume == 0)
        elif quiet.only_still:
            filled = still
        else:
            filled = np.zeros(len(rows), bool)
        return filled | frozen | (same & quiet.repeats)


def count_quiet(rows: Rows, backwards: bool) -> tuple[Quiet, Bool]:
    """Count a block's rows, in the file's order, and tell which of them an exporter may have filled in.

    Parameters
    ----------
    backwards : bool
        Whether the file begins with its newest row.
    """
    doubtful = np.zeros(len(rows), bool)
    fields = [*_fields(rows, 0), np.ascontiguousarray(rows.volume)]
    if backwards:
        fields = [np.ascontiguousarray(field[::-1]) for field in fields]
    counts = Quiet(len(rows), *_count(*fields, doubtful))
    return counts, doubtful[::-1] if backwards else doubtful


def _fields(rows: Rows, side: int) -> list[Float64]:
    return [np.ascontiguousarray(rows.prices[4 * side + field]) for field in range(4)]


def _long_runs(marks: Bool, least: int) -> Bool:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    kept = np.zeros(len(marks), bool)
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        kept[start:end] = end - start >= least
    return kept


@numba.njit(cache=True, nogil=True)
def _count(
    opens: Float64, highs: Float64, lows: Float64, closes: Float64, volume: Int64, doubtful: Bool
) -> tuple[int, int, int, int, int, int, int, int, int, int, int]:
    flat = still = silent = mute = volumes = opened = repeated = nearly = stood = longest = run = stands = standing = 0
    for place in range(len(opens)):
        volumes += volume[place] > 0
        one_price = highs[place] == lows[place]
        flat += one_price
        if place == 0 or opens[place] != closes[place - 1]:
            at_close = False
        else:
            at_close = True
            opened += not one_price
            still += one_price
        mute += one_price and volume[place] == 0
        range_again = place > 0 and highs[place] == highs[place - 1] and lows[place] == lows[place - 1]
        stays = range_again and opens[place] == opens[place - 1] and closes[place] == closes[place - 1]
        silent += volume[place] == 0 and (stays or (one_price and at_close))
        again = stays and (volume[place] > 0 or not one_price) and volume[place] == volume[place - 1]
        repeated += again and not one_price
        nearly += range_again and not again and not one_price
        doubtful[place] = again or (one_price and at_close)
        run = run + 1 if doubtful[place] else 0
        longest = max(longest, run)
        stood += stays
        standing = standing + 1 if stays else 0
        stands = max(stands, standing)
    return flat, still, silent, mute, volumes, opened, repeated, nearly, stood, longest, stands


@numba.njit(cache=True, nogil=True)
def _mark(
    opens: Float64,
    highs: Float64,
    lows: Float64,
    closes: Float64,
    volume: Int64,
    state: Float64,
    still: Bool,
    same: Bool,
    stood: Bool,
) -> None:
    # `state` is the bar before: open, high, low, close, volume.
    for place in range(len(opens)):
        flat = highs[place] == lows[place]
        still[place] = flat and opens[place] == state[3]
        stood[place] = (
            opens[place] == state[0]
            and highs[place] == state[1]
            and lows[place] == state[2]
            and closes[place] == state[3]
        )
        same[place] = stood[place] and (volume[place] > 0 or not flat) and volume[place] == state[4]
        state[0], state[1], state[2], state[3] = opens[place], highs[place], lows[place], closes[place]
        state[4] = volume[place]

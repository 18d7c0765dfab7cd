"""How far apart a file's bars are, part by part: an M1 file may hold M5 bars where its terminal had nothing finer.

Most of a file's steps from bar to bar are one bar long, and the others whole numbers of bars: by that its timeframe is
found out. What is finer or coarser in a part of it is another file's.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.timeframe import M1, TIMEFRAMES, Timeframe

Int64 = npt.NDArray[np.int64]
#: The row in which a time stands, or None.
RowOf = Callable[[int], int | None]

_NAMES = {120: "M2", 180: "M3", 240: "M4", 300: "M5", 360: "M6", 600: "M10", 720: "M12", 900: "M15", 1200: "M20"}
_NAMES |= {1800: "M30", 3600: "H1", 7200: "H2", 14400: "H4", 28800: "H8", 43200: "H12", 86400: "D", 604800: "W"}
_FEWEST_BARS = 10
#: Of bars that are aligned to the day, whose clocks change, steps are off by so much at most.
_CLOCK_CHANGE_NS = 3600 * 10**9
#: A stretch is coarse when so many steps in a row are multiples of so many bars. Where bars are only missing, one step
#: in `multiple` is, at most: at these lengths chance makes one such stretch in a hundred million bars.
_MULTIPLES = np.array([2, 3, 5, 15, 60, 240, 1440])
_STEPS_NEEDED = np.array([40, 26, 12, 8, 6, 4, 3])
#: The same for steps shorter than a bar.
_SECONDS_NEEDED = 12
#: Gaps from here on are kept: daily breaks, weekends and holes.
HOLE_MINUTES = 30
_SHOWN = 4
# Columns of a run: its first two bars, its last two, its shortest step, and its steps.
_RUN = 6
_REST_NEEDED = 12


class Coarse(NamedTuple):
    """A stretch whose bars are not as long as the file's.

    Attributes
    ----------
    first, second, last_but_one, last : int
        Opens of its bars, nanoseconds. The first can be the last one of what stands before it, and the last the first
        of what follows.
    seconds : int
        Length of a bar.
    """

    first: int
    second: int
    last_but_one: int
    last: int
    seconds: int

    @property
    def name(self) -> str:
        """As charts call it."""
        return frame_name(self.seconds)


def frame_name(seconds: float) -> str:
    """Return what charts call bars of that length: M5, H1, S30."""
    return _NAMES.get(int(seconds), f"S{seconds:g}" if seconds < 60 else f"{seconds / 60:g}-minute")


def found_timeframe(time_ns: Int64) -> Timeframe:
    """Return the timeframe of which most steps from bar to bar are; M1 where nothing says otherwise.

    Parameters
    ----------
    time_ns : (N,) int64
        Opens, or ends, of bars on any clock; in any order.
    """
    steps = np.asarray(np.diff(np.unique(time_ns)), dtype=np.int64)
    if len(steps) < _FEWEST_BARS or (steps == MINUTE_NS).sum() >= _FEWEST_BARS:
        return M1
    lengths, counts = np.unique(steps, return_counts=True)
    usual = int(lengths[np.argmax(counts)])
    whole = counts[np.mod(lengths, usual) == 0].sum()
    named = {timeframe.bar_ns: timeframe for timeframe in TIMEFRAMES.values()}
    return named.get(usual, M1) if 2 * whole > len(steps) else M1


class Steps:
    """How far apart bars are, counted a stretch at a time; the stretches must come in order.

    Parameters
    ----------
    timeframe : Timeframe
        What the bars are said to be.
    """

    def __init__(self, timeframe: Timeframe = M1) -> None:
        self._timeframe = timeframe
        self._unit = timeframe.bar_ns
        self.bars = 0
        self.first: int | None = None
        self.last: int | None = None
        self._counts: Counter[int] = Counter()
        self._runs: list[Int64] = []
        self._holes: list[Int64] = []
        # By multiple, and for steps below a minute: steps of the run that is open, its first bar and its second,
        # the last but one, its shortest step.
        self._open = np.zeros((len(_MULTIPLES) + 1, 5), np.int64)

    def add(self, time_ns: Int64) -> None:
        """Count a stretch of bar opens, (N,) int64, sorted and unique, later than all before."""
        if not len(time_ns):
            return
        known = time_ns if self.last is None else np.append(self.last, time_ns)
        self.first = int(time_ns[0]) if self.first is None else self.first
        self.last = int(time_ns[-1])
        steps = np.diff(known)
        others, counts = np.unique(steps[steps != self._unit], return_counts=True)
        self.bars += len(time_ns)
        self._counts[self._unit] += len(steps) - int(counts.sum())
        self._counts.update(dict(zip(others.tolist(), counts.tolist(), strict=True)))
        if len(others):
            if not self._timeframe.aligned_to_day:
                runs = np.empty((len(steps) + 1, _RUN), np.int64)
                self._runs.append(runs[: _runs(known, self._unit, self._open, runs)].copy())
            # From the last minute of a bar on.
            wide = np.flatnonzero(steps - (self._unit - MINUTE_NS) >= HOLE_MINUTES * MINUTE_NS)
            self._holes.append(np.stack([known[wide] + self._unit - MINUTE_NS, known[wide + 1]]))
        else:
            # Steps of one bar end whatever run there was.
            runs = np.empty((len(self._open), _RUN), np.int64)
            self._runs.append(runs[: _close(self._open, int(known[0]), runs)].copy())

    @property
    def holes(self) -> Int64:
        """(2, N) int64: last minute before, and open after, each gap of `HOLE_MINUTES` or more, nanoseconds."""
        return np.concatenate([np.empty((2, 0), np.int64), *self._holes], axis=1)

    @property
    def share_of_steps(self) -> float:
        """Share of the steps that are one bar."""
        return self._counts[self._unit] / max(sum(self._counts.values()), 1)

    def coarse(self) -> list[Coarse]:
        """Return the stretches whose bars are longer than the file's, or shorter, in order; none overlap."""
        rest = np.empty((len(self._open), _RUN), np.int64)
        last = 0 if self.last is None else self.last
        rest = rest[: _close(self._open.copy(), last, rest)]
        found = np.concatenate([np.empty((0, _RUN), np.int64), *self._runs, rest])
        parts: list[Coarse] = []
        # The longest bars first: a stretch of H1 is one of M5 too.
        for first, second, before, end, step, _ in sorted(found.tolist(), key=lambda run: (-run[4], run[0], -run[3])):
            for start, stop in _without(first, end, parts):
                # What is left beside coarser bars must be evidence by itself.
                if (start, stop) == (first, end) or (stop - start) // step >= _REST_NEEDED:
                    after = second if start == first else start + step
                    parts.append(Coarse(start, after, before if stop == end else stop - step, stop, step // 10**9))
        return sorted(parts)

    def check(self, name: str, row_of: RowOf | None = None) -> None:
        """Refuse bars that are not as long as they are said to be, in the whole file or in a part of it.

        Parameters
        ----------
        name : str
            The file, for the message.
        row_of : callable, optional
            The row in which a time stands, or None.

        Raises
        ------
        DataError
            If most bars are not one bar apart, or those of a part are not; the message says where the others begin.
        """
        if self.bars < _FEWEST_BARS:
            return
        parts = self.coarse()
        if parts and self._counts[self._unit] >= _FEWEST_BARS:
            raise DataError(f"{name} is not {self._timeframe} throughout: {self._said(parts, row_of)}.")
        usual = max(self._counts, key=lambda step: (self._counts[step], -step))
        # Where bars are only missing, steps of all lengths are there.
        whole = sum(count for step, count in self._counts.items() if step % usual == 0)
        if usual != self._unit and (usual < self._unit or 2 * whole > sum(self._counts.values())):
            held, seconds = frame_name(usual / 1e9), usual / 1e9
            advice = (
                f"leave --timeframe out, or give --timeframe {held}"
                if held in TIMEFRAMES
                else f"bars of {', '.join(TIMEFRAMES)} are imported"
            )
            raise DataError(
                f"{name} holds {held} bars (most are {seconds:g} seconds apart), not {self._timeframe}: {advice}."
            )
        slack = _CLOCK_CHANGE_NS if self._timeframe.aligned_to_day else 0
        finer = sum(count for step, count in self._counts.items() if step < self._unit - slack)
        if self._timeframe != M1 and finer >= _FEWEST_BARS:
            raise DataError(
                f"{name} is not {self._timeframe} throughout: {finer:,} of its bars follow the one before sooner than "
                "a bar lasts. Cut the parts with shorter bars out."
            )

    def _said(self, parts: list[Coarse], row_of: RowOf | None) -> str:
        assert self.first is not None and self.last is not None

        def at(time_ns: int) -> str:
            row = row_of(time_ns) if row_of is not None else None
            return f"{pd.Timestamp(time_ns):%Y-%m-%d %H:%M}" + (f" (row {row})" if row is not None else "")

        if len(parts) == 1 and parts[0].first == self.first:
            (part,) = parts
            return (
                f"{part.name} bars up to {at(part.last_but_one)}, {self._timeframe} from {at(part.last)} UTC on: cut "
                "the file there"
            )
        if len(parts) == 1 and parts[0].last == self.last:
            (part,) = parts
            return (
                f"{self._timeframe} bars up to {at(part.first)}, {part.name} from {at(part.second)} UTC on: cut the "
                "file there"
            )
        shown = "; ".join(
            f"{part.name} bars from {at(part.first if part.first == self.first else part.second)} to "
            f"{at(part.last if part.last == self.last else part.last_but_one)}"
            for part in parts[:_SHOWN]
        )
        more = f" and {len(parts) - _SHOWN} more parts" if len(parts) > _SHOWN else ""
        begin = [part.last for part in parts if part.last != self.last][:_SHOWN]
        if parts[0].first != self.first:
            begin.insert(0, self.first)
        return f"{shown} UTC{more}; {self._timeframe} bars begin at {', '.join(map(at, begin))}: cut these parts out"


def _without(first: int, end: int, parts: list[Coarse]) -> list[tuple[int, int]]:
    # What of a run other parts have not taken.
    left = [(first, end)]
    for part in parts:
        left = [
            piece
            for start, stop in left
            for piece in ((start, min(stop, part.first)), (max(start, part.last), stop))
            if piece[0] < piece[1]
        ]
    return left


@numba.njit(cache=True, nogil=True)
def _runs(time: Int64, unit: int, state: Int64, found: Int64) -> int:
    # Runs of steps that are multiples of some bars, or below one.
    count = 0
    running = True
    for place in range(1, len(time)):
        step = time[place] - time[place - 1]
        if step == unit and not running:
            continue
        running = False
        for number in range(len(state)):
            if number < len(_MULTIPLES):
                fits = step % (_MULTIPLES[number] * unit) == 0
                needed = _STEPS_NEEDED[number]
            else:
                fits = step < unit
                needed = _SECONDS_NEEDED
            if fits:
                running = True
                if state[number, 0] == 0:
                    state[number, 1] = time[place - 1]
                    state[number, 2] = time[place]
                    state[number, 4] = step
                state[number, 0] += 1
                state[number, 3] = time[place - 1]
                state[number, 4] = min(state[number, 4], step)
            elif state[number, 0]:
                if state[number, 0] >= needed and count < len(found):
                    found[count, :3] = state[number, 1:4]
                    found[count, 3] = time[place - 1]
                    found[count, 4] = state[number, 4]
                    found[count, 5] = state[number, 0]
                    count += 1
                state[number, 0] = 0
    return count


def _close(state: Int64, last: int, found: Int64) -> int:
    # The runs that are still open end at `last`.
    needed = [*_STEPS_NEEDED.tolist(), _SECONDS_NEEDED]
    count = 0
    for number, enough in enumerate(needed):
        if state[number, 0] >= enough:
            found[count] = *state[number, 1:4], last, state[number, 4], state[number, 0]
            count += 1
        state[number, 0] = 0
    return count

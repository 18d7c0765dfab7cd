"""Kernels of the stationary bootstrap: half a random word a piece of a block, one look-up for what the piece does.

Block lengths are geometric, so a block can be cut anywhere: what remains of it is geometric again. Pieces of at most
`longest` elements therefore make the same paths as whole blocks. What a piece does to a path (its sum, its lowest and
highest point, its largest fall) is tabulated for each start and length beforehand, and a path costs a few additions
and comparisons a piece instead of an element. Blocks that are short, or lists too long for the table, are drawn
element by element.

Words come from splitmix64 (Steele, Lea and Flood 2014) with a counter a path. Half a word times `N` is a start (above
32 bits) and what is left of it a length: start and length are off from uniform and independent by less than
``N / 2^32``.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
WordArray = npt.NDArray[np.uint64]

# Longer pieces gain little and make a table that other work pushes out of the cache.
TABLE_BYTES = 8_000_000
LONGEST_PIECE = 16
# Shorter pieces than this cost more than their elements do.
SHORTEST_TABLE = 4
ELEMENTWISE_BELOW = 3.0
# A piece is rarely longer than this many mean lengths.
PIECE_MEANS = 2.5
FIRST_BITS = 10

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_FIRST_SHIFT = np.uint64(32 - FIRST_BITS)
# Unsigned constants throughout: numba checks a signed index for being negative, which costs as much as the look-up.
_0, _1, _2, _3, _4 = (np.uint64(value) for value in range(5))


class BlockLaw(NamedTuple):
    """How blocks are drawn from a list of `N`.

    Attributes
    ----------
    longest : int
        Elements of the longest piece, `P`; 1 draws element by element.
    goes_on : int
        A block goes beyond its longest piece when its 32-bit draw is below this; 0 is IID.
    below : (P + 1,) uint64
        A piece goes beyond `k` elements when the draw is below ``below[k]``; 0 at the end.
    first : (1024,) uint64
        The shortest piece that a draw with these leading bits can mean.
    """

    longest: int
    goes_on: int
    below: WordArray
    first: WordArray


def block_law(block_length: float, n: int) -> BlockLaw:
    """Prepare blocks of mean `block_length` (>= 1; 1 is IID) over a list of `n`."""
    keep = 1.0 - 1.0 / block_length
    # A piece longer than the list would pass its end more than once.
    longest = min(LONGEST_PIECE, round(PIECE_MEANS * block_length), TABLE_BYTES // (32 * n), n)
    if block_length < ELEMENTWISE_BELOW or longest < SHORTEST_TABLE:
        longest = 1
    beyond = np.rint(keep ** np.arange(longest + 1) * 2.0**32).astype(np.uint64)
    goes_on = int(beyond[longest])
    beyond[longest] = 0
    largest = ((np.arange(2**FIRST_BITS, dtype=np.uint64) + np.uint64(1)) << _FIRST_SHIFT) - np.uint64(1)
    first = 1 + (largest[:, None] < beyond[None, 1:]).sum(axis=1)
    return BlockLaw(longest, goes_on, beyond, first.astype(np.uint64))


@numba.njit(cache=True, nogil=True, inline="always")
def _mix(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@numba.njit(cache=True, nogil=True, inline="always")
def _stream(seed: np.uint64, path: np.uint64) -> np.uint64:
    return _mix(_mix(seed + _GOLDEN) + path * _GOLDEN)


@numba.njit(cache=True, nogil=True)
def draw_indices(
    n: np.uint64,
    seed: np.uint64,
    first_path: np.uint64,
    longest: np.uint64,
    goes_on: np.uint64,
    below: WordArray,
    first: WordArray,
    out: npt.NDArray[np.int64],
) -> None:
    """Write the elements of each path of `out` (R, steps): the plain form of what the equity kernels draw."""
    steps = out.shape[1]
    for row in range(out.shape[0]):
        state = _stream(seed, first_path + np.uint64(row))
        step, position, going, word, second = 0, _0, False, _0, False
        while step < steps:
            if not second:
                state += _GOLDEN
                word = _mix(state)
            product = (word & _LOW if second else word >> _32) * n
            second = not second
            position = position if going else product >> _32
            draw = product & _LOW
            going = bool(draw < goes_on)
            length = first[draw >> _FIRST_SHIFT]
            while draw < below[length]:
                length += _1
            for _ in range(length):
                if step < steps:
                    out[row, step] = position
                    step += 1
                position += _1
                position = _0 if position == n else position


@numba.njit(cache=True, nogil=True)
def excursion_table(pnl: FloatArray, low: FloatArray, high: FloatArray, fall: FloatArray, longest: int) -> FloatArray:
    """Tabulate the same as `piece_table` of elements that move within (`excursions`): (N * P * 4,)."""
    n = len(pnl)
    table = np.empty((n, longest, 4))
    for start in range(n):
        total, lowest, highest, deepest = 0.0, np.inf, -np.inf, 0.0
        at = start
        for length in range(longest):
            deepest = max(deepest, highest - total - low[at], fall[at])
            lowest, highest = min(lowest, total + low[at]), max(highest, total + high[at])
            total += pnl[at]
            deepest = max(deepest, highest - total)
            at = at + 1 if at + 1 < n else 0
            table[start, length] = (total, lowest, highest, deepest)
    return table.reshape(-1)


@numba.njit(cache=True, nogil=True)
def piece_table(pnl: FloatArray, longest: int) -> FloatArray:
    """Tabulate (N * P * 4,): sum, lowest, highest point and largest fall of each piece, by start and length."""
    n = len(pnl)
    table = np.empty((n, longest, 4))
    for start in range(n):
        total, lowest, highest, fall = 0.0, np.inf, -np.inf, 0.0
        at = start
        for length in range(longest):
            total += pnl[at]
            at = at + 1 if at + 1 < n else 0
            lowest, highest = min(lowest, total), max(highest, total)
            fall = max(fall, highest - total)
            table[start, length] = (total, lowest, highest, fall)
    return table.reshape(-1)


@numba.njit(cache=True, nogil=True)
def equity_by_piece(
    table: FloatArray,
    n: np.uint64,
    steps: np.uint64,
    seed: np.uint64,
    first_path: np.uint64,
    longest: np.uint64,
    goes_on: np.uint64,
    below: WordArray,
    first: WordArray,
    grid: WordArray,
    terminal: FloatArray,
    max_drawdown: FloatArray,
    equity_at_grid: FloatArray,
) -> None:
    """Accumulate paths, a piece at a time; `grid` ends with a mark beyond `steps`."""
    for row in range(len(terminal)):
        state = _stream(seed, first_path + np.uint64(row))
        equity = peak = worst = 0.0
        point, done, position, going, word, second = _0, _0, _0, False, _0, False
        if grid[_0] == _0:
            equity_at_grid[row, _0] = 0.0
            point = _1
        mark = grid[point]
        while done < steps:
            if not second:
                state += _GOLDEN
                word = _mix(state)
            product = (word & _LOW if second else word >> _32) * n
            second = not second
            start = position if going else product >> _32
            draw = product & _LOW
            length = first[draw >> _FIRST_SHIFT]
            while draw < below[length]:
                length += _1
            going = bool(draw < goes_on)
            length = length if length < steps - done else steps - done
            base = start * longest
            at = (base + length - _1) * _4
            position = start + length
            position = position - n if position >= n else position
            done += length
            while mark <= done:
                equity_at_grid[row, point] = equity + table[(base + (mark + length - done) - _1) * _4]
                point += _1
                mark = grid[point]
            fall = peak - (equity + table[at + _1])
            inner = table[at + _3]
            top = equity + table[at + _2]
            # Selections rather than branches: which side wins cannot be predicted.
            fall = fall if fall > inner else inner
            worst = fall if fall > worst else worst
            peak = top if top > peak else peak
            equity += table[at]
        terminal[row] = equity
        max_drawdown[row] = worst


@numba.njit(cache=True, nogil=True)
def equity_by_element(
    pnl: FloatArray,
    steps: np.uint64,
    seed: np.uint64,
    first_path: np.uint64,
    goes_on: np.uint64,
    grid: WordArray,
    terminal: FloatArray,
    max_drawdown: FloatArray,
    equity_at_grid: FloatArray,
) -> None:
    """Accumulate paths, an element at a time; a block goes on when the draw is below `goes_on`, never for 0 (IID)."""
    n = np.uint64(len(pnl))
    for row in range(len(terminal)):
        state = _stream(seed, first_path + np.uint64(row))
        equity = peak = worst = 0.0
        point, step, position, going, word, second = _0, _0, _0, False, _0, False
        if grid[_0] == _0:
            equity_at_grid[row, _0] = 0.0
            point = _1
        while step < steps:
            mark = grid[point]
            stop = mark if mark < steps else steps
            while step < stop:
                if not second:
                    state += _GOLDEN
                    word = _mix(state)
                product = (word & _LOW if second else word >> _32) * n
                second = not second
                position = position if going else product >> _32
                going = bool((product & _LOW) < goes_on)
                equity += pnl[position]
                position += _1
                position = _0 if position == n else position
                peak = equity if equity > peak else peak
                fall = peak - equity
                worst = fall if fall > worst else worst
                step += _1
            if step == mark:
                equity_at_grid[row, point] = equity
                point += _1
        terminal[row] = equity
        max_drawdown[row] = worst


@numba.njit(cache=True, nogil=True)
def excursions_by_element(
    table: FloatArray,
    n: np.uint64,
    steps: np.uint64,
    seed: np.uint64,
    first_path: np.uint64,
    goes_on: np.uint64,
    grid: WordArray,
    terminal: FloatArray,
    max_drawdown: FloatArray,
    equity_at_grid: FloatArray,
) -> None:
    """The same as `equity_by_element` of elements that move within: `table` is `excursion_table` of pieces of one."""
    for row in range(len(terminal)):
        state = _stream(seed, first_path + np.uint64(row))
        equity = peak = worst = 0.0
        point, step, position, going, word, second = _0, _0, _0, False, _0, False
        if grid[_0] == _0:
            equity_at_grid[row, _0] = 0.0
            point = _1
        while step < steps:
            mark = grid[point]
            stop = mark if mark < steps else steps
            while step < stop:
                if not second:
                    state += _GOLDEN
                    word = _mix(state)
                product = (word & _LOW if second else word >> _32) * n
                second = not second
                position = position if going else product >> _32
                going = bool((product & _LOW) < goes_on)
                at = position * _4
                fall = peak - (equity + table[at + _1])
                inner = table[at + _3]
                top = equity + table[at + _2]
                fall = fall if fall > inner else inner
                worst = fall if fall > worst else worst
                peak = top if top > peak else peak
                equity += table[at]
                position += _1
                position = _0 if position == n else position
                step += _1
            if step == mark:
                equity_at_grid[row, point] = equity
                point += _1
        terminal[row] = equity
        max_drawdown[row] = worst

"""What a day of candles is recognised by: whether its quarter hours rise or fall.

Whoever judges the same candles again under another name, scaled, shifted, turned upside down or dated otherwise has
looked at the same days. The signs of the changes from one quarter hour to the next survive all of that; those of their
means also survive noise, and a forged price now and then.

Bars that are longer than a quarter hour have a sign each. A day of hourly bars has too few of them to be recognised by,
so that its print goes back over the days before it until it has as many as a day of quarter hours: four days of hours,
16 of bars of four hours, 96 of days.
"""

from functools import cache
from math import comb

import numpy as np
import numpy.typing as npt

#: Quarter hours of a day, and 32-bit words that hold a bit of each.
QUARTERS, WORDS = 96, 3
#: A day (since 1970, UTC), the signs of its quarter hours, and which of them there are.
DAY = np.dtype([("day", "<i4"), ("sign", "<u4", (WORDS,)), ("known", "<u4", (WORDS,))])
#: Largest chance with which two days of other candles are taken for the same.
CHANCE = 4e-8
#: Quarter hours that two days must have in common to be compared: all of fewer agree too often by chance.
LEAST_KNOWN = 26
#: Largest share of them that differs between the same candles; the same of what agrees, for candles turned over.
MOST_DIFFERENT = 1.0 / 6.0
#: Days that a shift of the dates has to explain, and days that one of the clock has to.
_LEAST_SHIFTED, _LEAST_DELAYED = 3, 2
#: By how much a clock is shifted from one try to the next, and over how many of the newest days.
_STEP_NS, _PROBED_DAYS = 5 * 60 * 1_000_000_000, 4
_DAY_NS = 86_400 * 1_000_000_000
_QUARTER_NS = 15 * 60 * 1_000_000_000
#: What a sign is told of: the shortest of these that most bars are not longer than.
_SLOTS_NS = (_QUARTER_NS, 4 * _QUARTER_NS, 16 * _QUARTER_NS, _DAY_NS)

Days = npt.NDArray[np.void]


def no_days() -> Days:
    """Return a print of nothing."""
    return np.zeros(0, DAY)


def day_prints(time_ns: npt.ArrayLike, price: npt.ArrayLike) -> Days:
    """Take the prints of the days of some bars.

    A bit is whether the mean price of a quarter hour lies above that of the one before. Where either has no bar, or
    both are equal but for rounding, there is none: rounding would decide over the sign of nothing. How long the bars
    are is told by their times: nobody can escape by another name for them.

    Parameters
    ----------
    time_ns : (T,) array-like of int
        UTC nanoseconds of the bars' opens, increasing.
    price : (T,) array-like of float
        Mid closes; values that are not finite are no bars.

    Returns
    -------
    (D,) array of `DAY`
        Days of which at least one quarter hour is known, in order.
    """
    time = np.asarray(time_ns, dtype=np.int64)
    value = np.asarray(price, dtype=np.float64)
    usable = np.isfinite(value)
    time, value = time[usable], value[usable]
    if len(time) < 2:
        return no_days()
    slot_ns = _slot_ns(time)
    quarter = time // slot_ns
    first = np.append(0, np.flatnonzero(np.diff(quarter)) + 1)
    quarter, bars = quarter[first], np.diff(np.append(first, len(quarter)))
    # About the first price: the sums of prices that stand still are then the same, whatever the scale.
    mean = np.add.reduceat(value - value[0], first) / bars
    change = np.diff(mean)
    told = (np.diff(quarter) == 1) & (np.abs(change) > 1e-12 * np.abs(value[0]))
    quarter, rises = quarter[1:][told], change[told] > 0.0
    of_day = _DAY_NS // slot_ns
    days, of_own = np.unique(quarter // of_day, return_counts=True)
    if of_day < QUARTERS:
        # What lies before a stub of a Sunday would make a trading day of it.
        days = days[of_own * QUARTERS >= LEAST_KNOWN * of_day]
    known = np.zeros((len(days), QUARTERS), dtype=np.bool_)
    sign = np.zeros((len(days), QUARTERS), dtype=np.bool_)
    for back in range(QUARTERS // of_day):
        row = np.searchsorted(days, quarter // of_day + back)
        inside = row < len(days)
        inside[inside] = days[row[inside]] == quarter[inside] // of_day + back
        place = (quarter[inside] % of_day + QUARTERS - (back + 1) * of_day).astype(np.int64)
        known[row[inside], place] = True
        sign[row[inside], place] = rises[inside]
    found = np.zeros(len(days), DAY)
    found["day"], found["sign"], found["known"] = days, _packed(sign), _packed(known)
    return found


def _slot_ns(time_ns: npt.NDArray[np.int64]) -> int:
    usual = np.median(np.diff(time_ns)) if len(time_ns) > 1 else 0
    return next((slot for slot in _SLOTS_NS if usual <= slot), _DAY_NS)


def full(days: Days) -> Days:
    """Return the days of which enough is known to compare them: the trading days, without stubs of a Sunday."""
    return days[np.bitwise_count(days["known"]).sum(axis=1) >= LEAST_KNOWN]


def same_candles(ours: Days, theirs: Days) -> npt.NDArray[np.bool_]:
    """Tell which days show the same candles, or those candles turned over, whatever their dates.

    Of `n` quarter hours in common at most ``n / 6`` differ, and so few that other candles, of which each quarter hour
    rises or falls by a toss, do so with a chance of at most `CHANCE`: none of 26, 16 of 96 (3e-11).

    Parameters
    ----------
    ours : (A,) array of `DAY`
    theirs : (B,) array of `DAY`

    Returns
    -------
    (A, B) bool
    """
    shared = np.zeros((len(ours), len(theirs)), dtype=np.uint8)
    apart = np.zeros_like(shared)
    for word in range(WORDS):
        both = ours["known"][:, word, None] & theirs["known"][None, :, word]
        shared += np.bitwise_count(both)
        apart += np.bitwise_count((ours["sign"][:, word, None] ^ theirs["sign"][None, :, word]) & both)
    most = _most_apart()[shared]
    return (most >= 0) & ((apart <= most) | (apart >= shared - most))


@cache
def _most_apart() -> npt.NDArray[np.int16]:
    """Most quarter hours that may differ, by how many there are in common; -1 where nothing can be told."""
    most = np.full(QUARTERS + 1, -1, dtype=np.int16)
    for shared in range(1, QUARTERS + 1):
        tosses = 0
        for apart in range(int(shared * MOST_DIFFERENT) + 1):
            tosses += 2 * comb(shared, apart)
            if tosses > CHANCE * 2.0**shared:
                break
            most[shared] = apart
    return most


def overlap(ours: Days, theirs: Days) -> bool:
    """Whether two spans of bars share days by what is in them.

    Shifted by whole days, at least three days in a row of dates, and half of those that can be compared at that shift;
    or, in whatever order, half of the days of the shorter span. Pairs of one currency agree on a day now and then (4
    of 19 of EUR_USD and GBP_USD in January 2024), and never on half of them.

    Parameters
    ----------
    ours, theirs : (A,), (B,) array of `DAY`
        Days that are `full`.
    """
    if not len(ours) or not len(theirs):
        return False
    same = same_candles(ours, theirs)
    if not same.any():
        return False
    shorter = min(len(ours), len(theirs))
    if 2 * min(int(same.any(axis=1).sum()), int(same.any(axis=0).sum())) >= shorter:
        return True
    shift = theirs["day"][None, :] - ours["day"][:, None]
    shifts, compared = np.unique(shift, return_counts=True)
    matched = np.zeros(len(shifts), dtype=np.int64)
    np.add.at(matched, np.searchsorted(shifts, shift[same]), 1)
    return bool(((matched >= _LEAST_SHIFTED) & (2 * matched >= compared)).any())


def delayed(time_ns: npt.NDArray[np.int64], price: npt.NDArray[np.float64]) -> tuple[Days, npt.NDArray[np.int64]]:
    """Take the prints of the newest days at every other clock, in steps of five minutes, or of a bar if that is longer.

    Returns
    -------
    (P,) array of `DAY`
    (P,) int64
        By how many steps the clock of each was put forward.
    """
    slot_ns = _slot_ns(time_ns)
    step_ns = _STEP_NS if slot_ns == _QUARTER_NS else slot_ns
    behind_ns = QUARTERS * slot_ns
    newest = time_ns >= time_ns[-1] - _PROBED_DAYS * _DAY_NS - behind_ns
    clocks = range(1, _DAY_NS // step_ns)
    found = [full(day_prints(time_ns[newest] + step * step_ns, price[newest])) for step in clocks]
    # Bars of a day have no other clock than their own.
    steps = np.repeat(np.array(clocks, dtype=np.int64), [len(days) for days in found])
    return np.concatenate([no_days(), *found]), steps


def same_but_for_the_clock(
    probes: Days, steps: npt.NDArray[np.int64], theirs: Days, owner: npt.NDArray[np.int64]
) -> set[int]:
    """Return the owners of days that are those of `delayed` at one of its clocks: two at least, at one shift of dates.

    Parameters
    ----------
    probes, steps : (P,)
        Of `delayed`.
    theirs : (B,) array of `DAY`
        That are `full`.
    owner : (B,) int64
        Whose they are.
    """
    ours, others = np.nonzero(same_candles(probes, theirs))
    shift = theirs["day"][others].astype(np.int64) - probes["day"][ours]
    alike, count = np.unique(np.column_stack([owner[others], steps[ours], shift]), axis=0, return_counts=True)
    return {int(row[0]) for row in alike[count >= _LEAST_DELAYED]}


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")

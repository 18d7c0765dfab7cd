"""What a day of candles is recognised by: the direction of its quarter hours.

Whoever judges the same candles again under another name, scaled, shifted, turned upside down or dated otherwise has
looked at the same days. The signs of the changes from one quarter hour to the next survive all of that.
"""

import numpy as np
import numpy.typing as npt

#: Quarter hours of a day, and 32-bit words that hold a bit of each.
QUARTERS, WORDS = 96, 3
#: A day (since 1970, UTC), the signs of its quarter hours, and which of them there are.
DAY = np.dtype([("day", "<i4"), ("sign", "<u4", (WORDS,)), ("known", "<u4", (WORDS,))])
#: Quarter hours that two days must have in common to be compared.
LEAST_KNOWN = 64
#: Largest share of them that differs between the same candles; the same of what agrees, for candles turned over.
MOST_DIFFERENT = 1.0 / 6.0
#: Days that a shift of the dates has to explain.
_LEAST_SHIFTED = 3
_QUARTER_NS = 15 * 60 * 1_000_000_000

Days = npt.NDArray[np.void]


def no_days() -> Days:
    """Return a print of nothing."""
    return np.zeros(0, DAY)


def day_prints(time_ns: npt.ArrayLike, price: npt.ArrayLike) -> Days:
    """Take the prints of the days of some bars.

    A bit is whether the last price of a quarter hour lies above the last price of the one before. Where either has no
    bar, or both prices are equal, there is none: rounding decides over the sign of nothing.

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
    quarter = time // _QUARTER_NS
    last = np.append(np.flatnonzero(np.diff(quarter)), len(quarter) - 1)
    quarter, value = quarter[last], value[last]
    change = np.diff(value)
    told = (np.diff(quarter) == 1) & (change != 0.0)
    quarter, rises = quarter[1:][told], change[told] > 0.0
    days, row = np.unique(quarter // QUARTERS, return_inverse=True)
    place = (quarter % QUARTERS).astype(np.int64)
    known = np.zeros((len(days), QUARTERS), dtype=np.bool_)
    sign = np.zeros((len(days), QUARTERS), dtype=np.bool_)
    known[row, place] = True
    sign[row, place] = rises
    found = np.zeros(len(days), DAY)
    found["day"], found["sign"], found["known"] = days, _packed(sign), _packed(known)
    return found


def full(days: Days) -> Days:
    """Return the days of which enough is known to compare them: the trading days, without stubs of a Sunday."""
    return days[np.bitwise_count(days["known"]).sum(axis=1) >= LEAST_KNOWN]


def same_candles(ours: Days, theirs: Days) -> npt.NDArray[np.bool_]:
    """Tell which days show the same candles, or those candles turned over, whatever their dates.

    Of independent candles, of which each quarter hour rises or falls by a toss, a pair of days is taken for the same
    with a chance of at most ``2 P(Bin(n, 1/2) <= n / 6)``: 4e-8 at the worst n from 64, 3e-11 at 96.

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
    most = shared * MOST_DIFFERENT
    return (shared >= LEAST_KNOWN) & ((apart <= most) | (apart >= shared - most))


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


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")

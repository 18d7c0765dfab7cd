"""Where the quotes of a page of candles come from, in a word: `quoted`, `modelled`, or one of them except for some.

A page is kept with one word. Where a few bars differ, such as those whose bid and ask were crossed in a file, their
places in the page follow: `quoted except 3 17`.
"""

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
#: A longer run of bars that differ is a change of the source, and ends a page.
LONGEST_EXCEPTION = 10
#: More places than that would make a header too long.
MOST_EXCEPTIONS = 400
_EXCEPT = " except "


def unmixed(modelled: Bool) -> int:
    """Return how many of the first bars (T,) may share a page."""
    if not len(modelled):
        return 0
    starts = np.flatnonzero(np.diff(modelled, prepend=~modelled[:1]))
    lengths = np.diff(np.append(starts, len(modelled)))
    base = _base(modelled)
    long = starts[(lengths > LONGEST_EXCEPTION) & (modelled[starts] != base)]
    count = int(long[0]) if len(long) else len(modelled)
    places = np.flatnonzero(modelled[:count] != base)
    return int(places[MOST_EXCEPTIONS]) if len(places) > MOST_EXCEPTIONS else count


def quotes_word(modelled: Bool) -> str:
    """Say where the quotes of a page come from; `modelled` (T,) as of `unmixed`."""
    base = _base(modelled)
    places = np.flatnonzero(modelled != base)
    word = "modelled" if base else "quoted"
    return word + (_EXCEPT + " ".join(map(str, places.tolist())) if len(places) else "")


def modelled_of(word: str, bars: int) -> Bool:
    """Return which of a page's bars, (bars,), have modelled quotes.

    Raises
    ------
    ValueError
        If it is no such word of so many bars.
    """
    base, _, places = word.partition(_EXCEPT)
    modelled = np.full(bars, base != "quoted")
    numbers = np.array(places.split(), np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < bars:
        raise ValueError(f"{word!r} names a bar that a page of {bars} bars does not have.")
    modelled[numbers] = base == "quoted"
    return modelled


def base_word(word: str) -> str:
    """Return the word without its exceptions."""
    return word.partition(_EXCEPT)[0]


def _base(modelled: Bool) -> bool:
    # Of the first run that is no exception, or else of most bars.
    starts = np.flatnonzero(np.diff(modelled, prepend=~modelled[:1]))
    lengths = np.diff(np.append(starts, len(modelled)))
    long = starts[lengths > LONGEST_EXCEPTION]
    return bool(modelled[long[0]] if len(long) else 2 * modelled.sum() > len(modelled))

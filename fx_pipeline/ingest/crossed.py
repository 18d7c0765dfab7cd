"""Crossed quotes: an ask below the bid, which no market shows and many files hold.

Where bid and ask are of the same moments, neither open, close, high nor low of the ask can lie below the bid's. They do
where each side's price of a minute is that of its own last change, so that the two are of different moments. The bar
itself is sound then: each side's prices are possible, and they cross by no more than the bar moved, or than a spread.
Such a bar is mended: its middle is kept, bid and ask are put at the modelled spread of the hour around it, and
`quotes_modelled` says so, so that costs do not rest on it. What crosses by more is no quote, and is quarantined.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.spreads import spread_model

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: So many modelled spreads two sides of different moments may cross by, in a bar that hardly moved.
_SPREADS = 2.0
_HOUR_NS = 3_600_000_000_000


class Mended(NamedTuple):
    """Which bars, (T,), were mended, and the most by which one of them crossed, in pips."""

    bars: npt.NDArray[np.bool_]
    deepest_pips: float


def mend_crossed(instrument: str, time_ns: Int64, sides: Mapping[str, Float64]) -> Mended:
    """Mend crossed bars in place.

    Parameters
    ----------
    time_ns : (T,) int64
        Opens, UTC nanoseconds.
    sides : mapping of str to (4, T) float64
        Open, high, low and close by "bid", "ask" and, where it is given, "mid".
    """
    bid, ask = sides["bid"], sides["ask"]
    mended = np.zeros(len(time_ns), bool)
    with np.errstate(invalid="ignore"):
        crossed = np.flatnonzero((ask < bid).any(axis=0))
    if not len(crossed):
        return Mended(mended, 0.0)
    pair = find_instrument(instrument)
    b, a = bid[:, crossed], ask[:, crossed]
    with np.errstate(invalid="ignore"):
        depth = (b - a).max(axis=0)
        middle = sides["mid"][:, crossed] if "mid" in sides else (b + a) / 2
        sound = np.all([_sound(side) for side in (b, a, middle)], axis=0)
    model = spread_model(instrument)
    # The spread is the same within an hour, and New York is whole hours away from UTC.
    levels = model.levels(time_ns[crossed] // _HOUR_NS * _HOUR_NS)
    spread = levels * middle if model.unit == "share" else np.broadcast_to(levels * pair.pip, middle.shape)
    with np.errstate(invalid="ignore"):
        moved = np.maximum(b[1] - b[2], a[1] - a[2])
        sound &= (depth <= np.maximum(moved, _SPREADS * spread[0])) & (middle[2] > spread[2])
    places = crossed[sound]
    half = spread[:, sound] / 2
    bid[:, places] = np.round(middle[:, sound] - half, pair.display_precision)
    ask[:, places] = np.round(middle[:, sound] + half, pair.display_precision)
    mended[places] = True
    return Mended(mended, float(depth[sound].max() / pair.pip) if len(places) else 0.0)


def _sound(side: Float64) -> npt.NDArray[np.bool_]:
    opens, highs, lows, closes = side
    good = (lows > 0) & (highs < np.inf) & (lows <= np.minimum(opens, closes)) & (highs >= np.maximum(opens, closes))
    return np.asarray(good)

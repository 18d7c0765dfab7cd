"""Seven market features, all on the scale of what was usual in the bars before: docs/features.md has the formulas.

A day has as many bars as its hours, so that horizons mean the same on M5 and H1. Sums over windows are those of a fixed
tree (`rolling.trailing_sums`), and not running ones: a row does not change by a bit when the history begins elsewhere.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.features.clock import clock_features
from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.rolling import extrema, trailing_sums
from fx_pipeline.market.timeframe import Timeframe

Float64 = npt.NDArray[np.float64]

MARKET_NAMES = (
    "return_short",
    "return_medium",
    "return_long",
    "position_in_range",
    "volatility_ratio",
    "momentum",
    "spread_adjusted_move",
)
#: A move of twice its usual size is at three quarters of the range of its feature (tanh 1).
_USUAL = 2.0
_VOLATILITY_BARS = 24


@dataclass(frozen=True)
class Horizons:
    """Bars of the medium and the long horizon, and of the window that says what is usual."""

    medium: int
    long: int
    scale: int


#: An hour and a day, on the scale of a week; and six hours and a day, on that of a month.
HORIZONS = {"M5": Horizons(12, 288, 1_440), "H1": Horizons(6, 24, 480)}


def warmup_bars(timeframe: Timeframe) -> int:
    """Return the bars that a row reads: as many moves over the long horizon as the scale takes."""
    horizons = HORIZONS[timeframe.name]
    return horizons.long + horizons.scale


def compute(bars: Bars) -> npt.NDArray[np.float32]:
    """Compute the eleven features of each bar, (T, 11)."""
    horizons, close = HORIZONS[bars.timeframe.name], bars.close
    medium, long, scale = horizons.medium, horizons.long, horizons.scale
    one = _change(close, 1)
    move = _change(close, medium)
    lows, _ = extrema(bars.low, 0, long)
    _, highs = extrema(bars.high, 0, long)
    recent, usual = _usual(one, _VOLATILITY_BARS), _usual(one, scale)
    trend = trailing_sums(close, medium) / medium - trailing_sums(close, long) / long
    spread = np.maximum(bars.ask_close - bars.bid_close, 0.0)
    beyond = np.sign(move) * np.maximum(np.abs(move) - spread, 0.0)
    features = (
        _squashed(one, usual),
        _squashed(move, _usual(move, scale)),
        _squashed(_change(close, long), _usual(_change(close, long), scale)),
        _ratio(close - lows, highs - lows),
        _ratio(recent, recent + usual),
        _squashed(trend, _usual(trend, scale)),
        _squashed(beyond, _usual(move, scale)),
    )
    return np.column_stack([*features, clock_features(bars.time)]).astype(np.float32)


def _change(close: Float64, bars: int) -> Float64:
    """Change of the close over `bars` bars, (T,); NaN in the first ones."""
    change = np.full(len(close), np.nan)
    change[bars:] = close[bars:] - close[:-bars]
    return change


def _usual(moves: Float64, bars: int) -> Float64:
    """Root mean square of the last `bars` moves, (T,)."""
    return np.sqrt(trailing_sums(moves * moves, bars) / bars)


@numba.njit(cache=True, nogil=True)
def _squashed(moves, usual):  # type: ignore[no-untyped-def]
    """tanh of moves over twice what is usual; 0 where nothing moves.

    One by one: a vectorised tanh may give other bits at the end of an array than in its middle.
    """
    out = np.zeros(len(moves))
    for t in range(len(moves)):
        if usual[t] != 0.0:
            out[t] = math.tanh(moves[t] / (_USUAL * usual[t]))
    return out


def _ratio(part: Float64, whole: Float64) -> Float64:
    """A share, 0 to 1; one half of nothing."""
    return np.divide(part, whole, out=np.full_like(part, 0.5), where=~(whole == 0.0))

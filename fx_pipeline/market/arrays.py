"""A market as contiguous arrays, loaded once: what features fill and environments, validation and live read."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.market.units import unit_pips

Float64 = npt.NDArray[np.float64]

#: Bars that one observation covers.
WINDOW_BARS = 32
SESSION_BARS = 360


@dataclass(frozen=True)
class MarketArrays:
    """Bars of one instrument in time order.

    Attributes
    ----------
    instrument : str
    pip : float
        Size of a pip in price units.
    time : (T,) int64
        UTC nanoseconds of each bar's open.
    open, high, low, close : (T,) float64
        Mid prices.
    bid_open, ask_open, bid_close, ask_close : (T,) float64
    features : (T, 9) float32
        The temporal features; NaN while warming up.
    outcome_sigma : (T,) float64
        Standard deviation of the last 20 one-bar changes, in price units.
    fingerprint : str
        Hash of the data behind the arrays.
    timeframe : Timeframe
        Length of the bars.
    feature_set : str
        Name of the set that `features` (T, F) are of.
    """

    instrument: str
    pip: float
    time: npt.NDArray[np.int64]
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    bid_open: Float64
    ask_open: Float64
    bid_close: Float64
    ask_close: Float64
    features: npt.NDArray[np.float32]
    outcome_sigma: Float64
    fingerprint: str
    timeframe: Timeframe = M1
    feature_set: str = "temporal9"

    def __post_init__(self) -> None:
        for field in fields(self):
            array = getattr(self, field.name)
            if isinstance(array, np.ndarray) and len(array) != len(self.time):
                raise ValueError(f"{field.name} has {len(array)} bars, time has {len(self.time)}.")

    def __len__(self) -> int:
        return len(self.time)

    @property
    def unit_pips(self) -> float:
        """Pips of a unit, in which networks see prices: 1 for currency pairs; see `market.units`."""
        return unit_pips(self.instrument)

    @property
    def unit(self) -> float:
        """Size of a unit in price units."""
        return self.pip * self.unit_pips

    def slice(self, first: int, last: int) -> "MarketArrays":
        """Return the bars [first, last) as a market of their own."""
        parts: dict[str, Any] = {
            field.name: np.ascontiguousarray(getattr(self, field.name)[first:last])
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return replace(self, **parts)

    def windows(self, bars: npt.NDArray[np.int64], window_bars: int = WINDOW_BARS) -> npt.NDArray[np.float32]:
        """Gather the feature windows that end at and include each bar.

        Parameters
        ----------
        bars : (B,) int64

        Returns
        -------
        (B, window_bars, 9) float32

        Raises
        ------
        IndexError
            If a window begins before the first bar: a negative index would wrap around to the newest bars.
        """
        if len(bars) and int(np.min(bars)) < window_bars - 1:
            raise IndexError(
                f"the window of {window_bars} bars that ends at bar {int(np.min(bars))} begins before bar 0."
            )
        offsets = np.arange(1 - window_bars, 1)
        return self.features[bars[:, None] + offsets]

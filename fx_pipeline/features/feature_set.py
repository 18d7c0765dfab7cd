"""What a feature set is; each is a folder beside this file and a line in `registry`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.timeframe import Timeframe

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
#: What becomes of a feature when the price had moved the other way: it stays, changes its sign, or becomes 1 - x.
Mirror = Literal["keep", "negate", "complement"]


@dataclass(frozen=True)
class Bars:
    """What features are computed from: consecutive bars of one instrument. All arrays are (T,).

    Attributes
    ----------
    instrument : str
    timeframe : Timeframe
    unit : float
        What changes of price are counted in, in price units; see `market.units`.
    time : (T,) int64
        UTC nanoseconds of the opens.
    open, high, low, close : (T,) float64
        Mid prices.
    bid_close, ask_close : (T,) float64
    """

    instrument: str
    timeframe: Timeframe
    unit: float
    time: npt.NDArray[np.int64]
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    bid_close: Float64
    ask_close: Float64

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class FeatureSet:
    """Features by name, and the one kernel that computes them for the table and for a live bar alike.

    Attributes
    ----------
    name, title : str
    version : int
        Raised when a definition changes.
    names : tuple of str
        Of the features, in their order; F of them.
    notes : mapping of str to str
        By name, what each says, for people.
    compute : callable
        Bars (T) to (T, F) float32; NaN in the first `warmup_bars(timeframe)` - 1 rows and where a row reads a price
        that is none. A row depends on the last `warmup_bars` bars and on nothing else, to the bit.
    warmup_bars : callable
        Timeframe to the number of bars that a row reads, its own among them.
    mirror : tuple of str, or None
        Of each feature; None where no simple rule turns the market upside down.
    bounds : (F, 2) tuple of pairs
        Least and greatest value of each feature; infinite where there is none.
    timeframes : tuple of str
        Names of the timeframes that it is defined for.
    """

    name: str
    title: str
    version: int
    names: tuple[str, ...]
    notes: Mapping[str, str]
    compute: Callable[[Bars], Float32]
    warmup_bars: Callable[[Timeframe], int]
    mirror: tuple[Mirror, ...] | None
    bounds: tuple[tuple[float, float], ...]
    timeframes: tuple[str, ...] = field(default=("M1", "M5", "M15", "H1", "H4", "D"))

    def __post_init__(self) -> None:
        count = len(self.names)
        if set(self.notes) != set(self.names) or len(self.bounds) != count:
            raise ConfigurationError(f"feature set {self.name} needs a note and bounds for each of its features.")
        if self.mirror is not None and len(self.mirror) != count:
            raise ConfigurationError(f"feature set {self.name} needs a mirror rule for each of its features, or none.")

    def __len__(self) -> int:
        return len(self.names)

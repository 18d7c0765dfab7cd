"""What a feature set is; each is a folder beside this file and a line in `registry`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.timeframe import TIMEFRAMES, Timeframe
from fx_pipeline.market.units import unit_pips

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
#: What becomes of a feature when the price had moved the other way: it stays, changes its sign, or becomes 1 - x.
Mirror = Literal["keep", "negate", "complement"]
#: What of a bar a set may read, beside its time.
PRICES = ("open", "high", "low", "close", "bid_close", "ask_close")
#: Columns of the table that are of no set.
RESERVED = frozenset(
    (
        "instrument",
        "time",
        *PRICES,
        "bid_open",
        "ask_open",
        "volume",
        "quotes_modelled",
        "source",
        "outcome_sigma",
        "warm",
    )
)
#: Added to a version for each pip of a unit that is not one pip.
_VERSION_OF_UNIT = 1_000
_NAME = re.compile(r"[a-z][a-z0-9_]*")


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
        Bars (T) to (T, F) float32. A row depends on the last `warmup_bars` bars, its own among them, and on nothing
        else, to the bit. It is called by `features.compute` alone, which hands it contiguous arrays of positive, finite
        prices, NaN for those that it does not read, and makes the first `warmup_bars` - 1 rows NaN, and those that read
        a price that is none.
    warmup_bars : callable
        Timeframe to the number of bars that a row reads, its own among them.
    mirror : tuple of str, or None
        Of each feature; None where no simple rule turns the market upside down.
    bounds : (F, 2) tuple of pairs
        Least and greatest value of each feature; infinite where there is none.
    reads : tuple of str
        Which of `PRICES` it reads.
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
    reads: tuple[str, ...] = ("close",)
    timeframes: tuple[str, ...] = tuple(TIMEFRAMES)

    def __post_init__(self) -> None:
        count = len(self.names)
        for name in (self.name, *self.names):
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} of feature set {self.name} cannot name a table or a column: use small letters, digits "
                    "and underscores."
                )
        if len(set(self.names)) < count or not count or set(self.names) & RESERVED:
            raise ConfigurationError(
                f"feature set {self.name} needs features, each of a name of its own, and none of {sorted(RESERVED)}."
            )
        unknown = [*set(self.reads) - set(PRICES), *set(self.timeframes) - set(TIMEFRAMES)]
        if unknown or not self.reads or not self.timeframes:
            raise ConfigurationError(
                f"feature set {self.name} has reads and timeframes among {', '.join(PRICES)} and "
                f"{', '.join(TIMEFRAMES)}, at least one of each; not {', '.join(unknown) or 'none'}."
            )
        if set(self.notes) != set(self.names) or len(self.bounds) != count:
            raise ConfigurationError(f"feature set {self.name} needs a note and bounds for each of its features.")
        if self.mirror is not None and len(self.mirror) != count:
            raise ConfigurationError(f"feature set {self.name} needs a mirror rule for each of its features, or none.")

    def __len__(self) -> int:
        return len(self.names)

    def check_timeframe(self, timeframe: Timeframe) -> None:
        """Refuse a timeframe that it is not defined for.

        Raises
        ------
        ConfigurationError
        """
        if timeframe.name not in self.timeframes:
            raise ConfigurationError(
                f"feature set {self.name} is not defined for {timeframe}: use {', '.join(self.timeframes)}."
            )

    def version_of(self, instrument: str) -> int:
        """Return the version of an instrument's features: another one when a definition or its unit changes."""
        unit = unit_pips(instrument)
        return self.version + (0 if unit == 1.0 else round(_VERSION_OF_UNIT * unit))

"""Bid, mid and ask of files that hold one side, or two."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.alignment import bar_ends
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.candles import PRICE_COLUMNS, SIDES
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.spreads import spread_model
from fx_pipeline.market.timeframe import M1, Timeframe

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Side = Literal["bid", "mid", "ask"]

_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class GivenSides:
    """The price sides that a file gives.

    Attributes
    ----------
    instrument : str
    columns : tuple of str
        K names of `PRICE_COLUMNS`, side by side: those whose prices the file gives.
    modelled : bool
        Whether bid and ask come from the cost model, unless the file itself says for each row.
    """

    instrument: str
    columns: tuple[str, ...]
    modelled: bool

    @classmethod
    def of(cls, path: Path, instrument: str, names: set[str], side: Side) -> Self:
        """Tell the sides by the names of the prices of `Parsed`; `side` is what "one" stands for.

        Raises
        ------
        DataError
            If there are two sides, and they are not bid and ask.
        """
        given = {name.split("_")[0] for name in names}
        if len(given) > 1 and not {"bid", "ask"} <= given:
            shown = " and ".join(sorted("unnamed" if name == "one" else name for name in given))
            raise DataError(f"{path} has {shown} prices, but not both bid and ask: leave one side only.")
        held = [side] if given == {"one"} else [name for name in SIDES if name in given]
        return cls(instrument, tuple(f"{name}_{field}" for name in held for field in "ohlc"), len(held) == 1)

    @property
    def held(self) -> tuple[str, ...]:
        """The sides, each once."""
        return tuple(dict.fromkeys(name.split("_")[0] for name in self.columns))

    @property
    def widest_step_down(self) -> float:
        """How far the modelled bid can lie below the given price, at the widest spread of the week.

        A spread that is a share of the price leaves a positive price positive.
        """
        model = spread_model(self.instrument)
        if not self.modelled or model.unit == "share":
            return 0.0
        spreads = model.levels(np.arange(24 * 7) * _HOUR_NS)
        return float(SIDES.index(self._held) * spreads.max() * find_instrument(self.instrument).pip / 2)

    def rounded(self, prices: dict[str, Float64]) -> Float64:
        """Return the given prices, (K, N), at the instrument's display precision."""
        precision = find_instrument(self.instrument).display_precision
        names = [name if name in prices else f"one_{name[-1]}" for name in self.columns]
        given: Float64 = np.stack([prices[name] for name in names])
        return given.round(precision)

    def complete(self, given: Float64, time_ns: Int64, timeframe: Timeframe = M1) -> dict[str, Float64]:
        """Return all twelve prices.

        Parameters
        ----------
        given : (K, N) float64
            As of `rounded`, of possible bars only.
        time_ns : (N,) int64
            Bar opens, UTC nanoseconds.
        timeframe : Timeframe
            Of the bars. The spread at a bar's close is that of its last minute; at its high and low, of which nobody
            knows when they were, the narrower of the two.

        Returns
        -------
        dict of str to (N,) float64
            By `PRICE_COLUMNS`, at the instrument's display precision.
        """
        pair = find_instrument(self.instrument)
        prices = dict(zip(self.columns, given, strict=True))
        if self.modelled:
            held = SIDES.index(self._held)
            share = spread_model(self.instrument).unit == "share"
            scale = (1.0 if share else pair.pip) / 2
            at_open = at_close = self._spread_levels(time_ns) * scale
            if timeframe != M1:
                at_close = self._spread_levels(bar_ends(time_ns, timeframe) - MINUTE_NS) * scale
            between = np.minimum(at_open, at_close)
            for number, side in enumerate(SIDES):
                for field, price, half in zip("ohlc", given, (at_open, between, between, at_close), strict=True):
                    if number != held:
                        # Each price by its own share, so that the order of a bar's prices stays.
                        shifted = price + (number - held) * (half * price if share else half)
                        prices[f"{side}_{field}"] = np.round(shifted, pair.display_precision)
                if number != held and timeframe != M1:
                    ends = prices[f"{side}_o"], prices[f"{side}_c"]
                    prices[f"{side}_h"] = np.maximum.reduce([prices[f"{side}_h"], *ends])
                    prices[f"{side}_l"] = np.minimum.reduce([prices[f"{side}_l"], *ends])
        elif "mid_o" not in prices:
            for field in "ohlc":
                middle = (prices[f"bid_{field}"] + prices[f"ask_{field}"]) / 2
                prices[f"mid_{field}"] = np.round(middle, pair.display_precision)
        return {name: prices[name] for name in PRICE_COLUMNS}

    @property
    def _held(self) -> str:
        return self.columns[0].split("_")[0]

    def _spread_levels(self, time_ns: Int64) -> Float64:
        # The spread is the same within an hour, and New York is whole hours away from UTC.
        hours = time_ns // _HOUR_NS
        first = int(hours.min()) if len(hours) else 0
        last = int(hours.max()) if len(hours) else 0
        return spread_model(self.instrument).levels(np.arange(first, last + 1) * _HOUR_NS)[hours - first]

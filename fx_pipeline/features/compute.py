"""Features of any set: of a whole history, of a stream of bars, and anew to see whether a row looks ahead.

All three go through one function, so that the table, training, validation and live have the same bits.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fx_pipeline.features.feature_set import PRICES, Bars, FeatureSet, Float32
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.timeframe import Timeframe


def compute_features(features: FeatureSet, bars: Bars) -> Float32:
    """Compute the features of each bar.

    A price that is none (not finite, or not positive) makes every row that reads it NaN: its own and the warm-up less
    one that follow, as if the bars began anew after it. No other row changes by a bit.

    Parameters
    ----------
    features : FeatureSet
    bars : Bars
        Consecutive ones (T). Prices that the set does not read may be anything.

    Returns
    -------
    (T, F) float32
        NaN in the first `warmup_bars` - 1 rows.

    Raises
    ------
    ConfigurationError
        If the set is not defined for the timeframe, or computes something of another shape or type.
    """
    features.check_timeframe(bars.timeframe)
    size, warm_up = len(bars), features.warmup_bars(bars.timeframe)
    if size < warm_up:
        return np.full((size, len(features)), np.nan, dtype=np.float32)
    bad, unread = np.zeros(size, dtype=np.bool_), np.full(size, np.nan)
    columns = dict.fromkeys(PRICES, unread)
    for name in features.reads:
        values = np.ascontiguousarray(getattr(bars, name), dtype=np.float64)
        wrong = ~((values > 0.0) & (values < np.inf))
        # Comparisons with NaN would leave finite, wrong extrema: any number serves in its place, as no row that reads
        # it is kept.
        columns[name] = np.where(wrong, 1.0, values) if wrong.any() else values
        bad |= wrong
    time = np.ascontiguousarray(bars.time, dtype=np.int64)
    rows = features.compute(replace(bars, time=time, **columns))
    if rows.shape != (size, len(features)) or rows.dtype != np.float32:
        raise ConfigurationError(
            f"feature set {features.name} computed {rows.shape} {rows.dtype} of {size} bars: ({size}, {len(features)}) "
            "float32 is wanted."
        )
    rows[: warm_up - 1] = np.nan
    if bad.any():
        rows[_within(bad, warm_up)] = np.nan
    return rows


def _within(bad: npt.NDArray[np.bool_], bars: int) -> npt.NDArray[np.bool_]:
    """Rows (T,) of which one of the last `bars` bars, their own among them, is bad."""
    seen = np.concatenate(([0], np.cumsum(bad)))
    first = np.maximum(np.arange(len(bad)) + 1 - bars, 0)
    return np.asarray(seen[1:] > seen[first])


def bars_of(market: MarketArrays) -> Bars:
    """Return the bars of a market, without copying them."""
    prices = {name: getattr(market, name) for name in PRICES}
    return Bars(market.instrument, market.timeframe, market.unit, market.time, **prices)


def with_features(market: MarketArrays, name: str) -> MarketArrays:
    """Return the market with the features of another set, computed here."""
    return replace(market, features=compute_features(feature_set(name), bars_of(market)), feature_set=name)


def warmup_bars(market: MarketArrays) -> int:
    """Return how many bars a row of the market's features reads, its own among them."""
    return feature_set(market.feature_set).warmup_bars(market.timeframe)


def causal_mismatches(market: MarketArrays, bars: int, seed: int) -> list[int]:
    """Compute rows anew from the warm-up before them and nothing after, and list those that differ by a bit.

    Parameters
    ----------
    market : MarketArrays
        Its features are what is tested.
    bars : int
        How many bars to draw, among those with a whole warm-up behind them.
    seed : int

    Returns
    -------
    list of int
        Bars whose row depends on something else than the bars up to it.
    """
    warm_up = warmup_bars(market)
    if len(market) < warm_up:
        return []
    drawn = np.random.default_rng(seed).integers(warm_up - 1, len(market), bars)
    different = []
    for bar in np.unique(drawn).tolist():
        row = compute_features(feature_set(market.feature_set), bars_of(market.slice(bar + 1 - warm_up, bar + 1)))[-1]
        if row.tobytes() != market.features[bar].tobytes():
            different.append(bar)
    return different


class IncrementalFeatures:
    """Features of a stream of bars, one bar at a time, by the kernel of the table.

    Parameters
    ----------
    features : FeatureSet
    instrument : str
    timeframe : Timeframe
    unit : float
        In price units; see `market.units`.
    """

    def __init__(self, features: FeatureSet, instrument: str, timeframe: Timeframe, unit: float) -> None:
        self._features = features
        self._keep = features.warmup_bars(timeframe)
        empty = np.empty(0)
        self._bars = Bars(instrument, timeframe, unit, np.empty(0, dtype=np.int64), *(empty for _ in PRICES))

    def append(self, time_ns: int, prices: Mapping[str, float]) -> Float32 | None:
        """Add a closed bar and return its features (F,), or None while warming up.

        After a price that is none it warms up again, as the rows of `compute_features` do.

        Parameters
        ----------
        time_ns : int
            Of the bar's open.
        prices : mapping of str to float
            Those that the set reads, by name.

        Raises
        ------
        ValueError
            If the bar is not newer than the last one.
        """
        before = self._bars
        if len(before) and time_ns <= before.time[-1]:
            raise ValueError(f"bar at {time_ns} is not newer than the last one at {before.time[-1]}.")
        kept = slice(max(len(before) + 1 - self._keep, 0), None)
        columns = {
            name: np.append(getattr(before, name)[kept], prices[name] if name in self._features.reads else np.nan)
            for name in PRICES
        }
        self._bars = replace(before, time=np.append(before.time[kept], np.int64(time_ns)), **columns)
        if len(self._bars) < self._keep:
            return None
        row = compute_features(self._features, self._bars)[-1]
        return row if np.isfinite(row).all() else None

"""Bars drawn from a feature table, and only those of them loaded that a test of their rows takes."""

import duckdb
import numpy as np

from fx_pipeline.features.compute import compute_features
from fx_pipeline.features.feature_set import PRICES, Bars
from fx_pipeline.features.names import DEFAULT_SET, FeatureTable
from fx_pipeline.market.months import month_bounds
from fx_pipeline.market.timeframe import M1, Timeframe
from fx_pipeline.market.units import price_unit


def causal_bars(
    connection: duckdb.DuckDBPyConnection,
    instrument: str,
    bars: int,
    seed: int,
    feature_set: str = DEFAULT_SET,
    timeframe: Timeframe = M1,
) -> tuple[int, list[int]]:
    """Compute rows anew on the bars up to them and nothing after, at bars drawn at random, and list those that differ.

    Parameters
    ----------
    connection : DuckDBPyConnection
    instrument : str
    bars : int
        How many bars to draw, among those with a whole warm-up behind them; fewer may be tested, as none is twice.
    seed : int
    feature_set : str
    timeframe : Timeframe

    Returns
    -------
    drawn : int
        How many were drawn; 0 when the history is shorter than the warm-up.
    different : list of int
        Bars, counted from the first of the instrument, whose row depends on something else than the bars up to it, or
        whose month has not the bars that were written.
    """
    table = FeatureTable(feature_set, timeframe)
    definition, unit = table.definition, price_unit(instrument)
    warm_up = definition.warmup_bars(timeframe)
    months = connection.execute(
        f"SELECT month, bars FROM {table.months} WHERE instrument = ? ORDER BY month", [instrument]
    ).fetchall()
    begins = np.concatenate(([0], np.cumsum([count for _, count in months]))).astype(np.int64)
    if begins[-1] < warm_up:
        return 0, []
    drawn = np.random.default_rng(seed).integers(warm_up - 1, int(begins[-1]), bars)
    different = []
    query = (
        f"SELECT epoch_ns(time) AS time, {', '.join((*definition.reads, *definition.names))} FROM {table.name} "
        "WHERE instrument = ? AND time >= make_timestamp_ns(?) AND time < make_timestamp_ns(?) ORDER BY time"
    )
    for bar in np.unique(drawn).tolist():
        last = int(np.searchsorted(begins, bar, side="right")) - 1
        first = int(np.searchsorted(begins, bar + 1 - warm_up, side="right")) - 1
        span = [instrument, month_bounds(months[first][0])[0], month_bounds(months[last][0])[1]]
        rows = connection.execute(query, span).fetchnumpy()
        end = int(bar - begins[first]) + 1
        part = slice(end - warm_up, end)
        time = np.asarray(rows["time"][part], dtype=np.int64)
        prices = {name: np.full(len(time), np.nan) for name in PRICES}
        prices |= {name: np.asarray(rows[name][part], dtype=np.float64) for name in definition.reads}
        row = np.array([np.ma.filled(rows[name][end - 1 : end], np.nan) for name in definition.names], dtype=np.float32)
        whole = len(rows["time"]) == begins[last + 1] - begins[first]
        anew = compute_features(definition, Bars(instrument, timeframe, unit, time, **prices)) if whole else None
        if anew is None or anew[-1].tobytes() != row.tobytes():
            different.append(bar)
    return len(drawn), different

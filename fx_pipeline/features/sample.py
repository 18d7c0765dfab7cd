"""Bars drawn from the feature table, and only those of them loaded that a test of their rows takes."""

import duckdb
import numpy as np

from fx_pipeline.features.kernel import FEATURE_NAMES, WARMUP_BARS, compute_features
from fx_pipeline.market.instrument import instrument as find_instrument
from fx_pipeline.market.months import month_bounds


def causal_bars(connection: duckdb.DuckDBPyConnection, instrument: str, bars: int, seed: int) -> tuple[int, list[int]]:
    """Compute rows anew on the bars up to them and nothing after, at bars drawn at random, and list those that differ.

    Parameters
    ----------
    connection : DuckDBPyConnection
    instrument : str
    bars : int
        How many bars to draw, among those with a whole warm-up behind them; fewer may be tested, as none is twice.
    seed : int

    Returns
    -------
    drawn : int
        How many were drawn; 0 when the history is shorter than the warm-up.
    different : list of int
        Bars, counted from the first of the instrument, whose row depends on something else than the bars up to it, or
        whose month has not the bars that were written.
    """
    months = connection.execute(
        "SELECT month, bars FROM feature_months WHERE instrument = ? ORDER BY month", [instrument]
    ).fetchall()
    begins = np.concatenate(([0], np.cumsum([count for _, count in months]))).astype(np.int64)
    if begins[-1] < WARMUP_BARS:
        return 0, []
    drawn = np.random.default_rng(seed).integers(WARMUP_BARS - 1, int(begins[-1]), bars)
    pip, different = find_instrument(instrument).pip, []
    names = ", ".join(FEATURE_NAMES)
    for bar in np.unique(drawn).tolist():
        last = int(np.searchsorted(begins, bar, side="right")) - 1
        first = int(np.searchsorted(begins, bar + 1 - WARMUP_BARS, side="right")) - 1
        query = (
            f"SELECT epoch_ns(time) AS time, close, {names} FROM features WHERE instrument = ? "
            "AND time >= make_timestamp_ns(?) AND time < make_timestamp_ns(?) ORDER BY time"
        )
        span = [instrument, month_bounds(months[first][0])[0], month_bounds(months[last][0])[1]]
        rows = connection.execute(query, span).fetchnumpy()
        end = int(bar - begins[first]) + 1
        part = slice(end - WARMUP_BARS, end)
        close, time = np.asarray(rows["close"][part]), np.asarray(rows["time"][part], dtype=np.int64)
        row = np.array([np.ma.filled(rows[name][end - 1 : end], np.nan) for name in FEATURE_NAMES], dtype=np.float32)
        whole = len(rows["time"]) == begins[last + 1] - begins[first]
        if not whole or compute_features(close, time, pip)[0][-1].tobytes() != row.tobytes():
            different.append(bar)
    return len(drawn), different

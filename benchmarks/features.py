"""The feature kernel against pandas, the field's usual way: nine features of a million bars, one core.

Prints `vs_pandas` (times faster), `bars_per_s` and `share_of_limit`: the time that copying the kernel's inputs and
outputs takes on this core, over the time that the kernel takes.
"""

import statistics

import numpy as np
import pandas as pd

from benchmarks.measure import copy_bandwidth, interleaved, report, wants_json
from fx_pipeline.features.clock import CLOCK_TABLE
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, week_minutes

BARS = 1_000_000
PIP = 0.01


def with_pandas(close: np.ndarray, time_ns: np.ndarray) -> np.ndarray:
    """The same features by pandas' rolling windows; (T, 9) float32."""
    series = pd.Series(close)

    def scaled(values: pd.Series) -> pd.Series:
        low, high = values.rolling(1_440).min(), values.rolling(1_440).max()
        return ((values - low) / (high - low)).where(high > low, 0.5)

    low, high = series.rolling(60).min(), series.rolling(60).max()
    columns = [
        ((series - low) / (high - low)).where(high > low, 0.5),
        scaled(series.diff(60)),
        scaled(high - low),
        scaled(series.diff(5)),
        np.tanh(series.diff() / PIP / 10.0),
    ]
    clock = CLOCK_TABLE[week_minutes(time_ns)]
    return np.column_stack([*columns, clock]).astype(np.float32)


def main() -> None:
    """Run the benchmark."""
    generator = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-05T22:00Z").as_unit("ns").value
    time_ns = open_minutes(start, start + int(BARS * 1.45) * MINUTE_NS)[:BARS]
    close = np.round(150.0 + np.cumsum(generator.normal(0.0, 0.02, BARS)), 3)
    ours, _ = features_of_closes(close, time_ns, PIP)
    theirs = with_pandas(close, time_ns)
    np.testing.assert_allclose(ours[WARMUP_BARS:], theirs[WARMUP_BARS:], rtol=1e-5, atol=1e-6)
    times = interleaved(
        {"pandas": lambda: with_pandas(close, time_ns), "kernel": lambda: features_of_closes(close, time_ns, PIP)}, 5
    )
    kernel = statistics.median(times["kernel"])
    traffic = close.nbytes + time_ns.nbytes + BARS * (4 * len(FEATURE_NAMES) + 8)
    report(
        f"nine features of {BARS:,} bars",
        times,
        {
            "vs_pandas": round(statistics.median(times["pandas"]) / kernel, 2),
            "bars_per_s": round(BARS / kernel),
            "share_of_limit": round(2 * traffic / copy_bandwidth() / kernel, 4),
        },
        wants_json(),
    )


if __name__ == "__main__":
    main()

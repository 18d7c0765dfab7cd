"""The feature kernels: temporal9 against pandas, wavelet67 against kymatio, and every set's bars a second.

    python -m benchmarks.features [--json]

`share_of_limit` is the share of the machine's copy bandwidth that temporal9 reaches, counting the bytes it has to read
and write once: a kernel that only copied them would have 1. `wavelet_vs_kymatio` is of the same coefficients of the
same windows, one thread each: kymatio without subsampling, whose last frame is at the newest bar. Beside it stands
kymatio as it comes, which computes less: frames every 64 bars, the envelopes thinned out, at another scale.
"""

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import copy_bandwidth, interleaved, report, wants_json
from fx_pipeline.features.clock import CLOCK_TABLE
from fx_pipeline.features.compute import compute_features
from fx_pipeline.features.feature_set import Bars
from fx_pipeline.features.registry import FEATURE_SETS, feature_set
from fx_pipeline.features.temporal9.closes import features_of_closes
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS
from fx_pipeline.features.wavelet67.filters import Q1, WINDOW, J
from fx_pipeline.features.wavelet67.kernel import scatter
from fx_pipeline.market.calendar import MINUTE_NS, open_minutes, week_minutes
from fx_pipeline.market.timeframe import timeframe

BARS = 250_000
PIP = 0.01
#: Windows of the race with kymatio, and bars that every set computes: a month of M1.
WINDOWS, MONTH = 320, 30_000


def with_pandas(close: np.ndarray, time_ns: np.ndarray) -> np.ndarray:
    """Compute the features as one would with pandas' rolling windows."""
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


def against_pandas(close: np.ndarray, time_ns: np.ndarray) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Race temporal9 with pandas on the same bars."""
    ours, _ = features_of_closes(close, time_ns, PIP)
    theirs = with_pandas(close, time_ns)
    np.testing.assert_allclose(ours[WARMUP_BARS:], theirs[WARMUP_BARS:], rtol=1e-5, atol=1e-6)
    times = interleaved(
        {"pandas": lambda: with_pandas(close, time_ns), "kernel": lambda: features_of_closes(close, time_ns, PIP)}, 5
    )
    kernel = statistics.median(times["kernel"])
    traffic = close.nbytes + time_ns.nbytes + BARS * (4 * len(FEATURE_NAMES) + 8)
    return times, {
        "vs_pandas": round(statistics.median(times["pandas"]) / kernel, 2),
        "bars_per_s": round(BARS / kernel),
        "share_of_limit": round(2 * traffic / copy_bandwidth() / kernel, 4),
    }


def against_kymatio(close: np.ndarray) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Race wavelet67 with kymatio on the same windows, one thread each."""
    try:
        from kymatio.scattering1d.frontend.numpy_frontend import ScatteringNumPy1D
    except ImportError as error:
        raise SystemExit(f"kymatio is missing ({error}): install the dev extra (make setup).") from error
    changes = np.diff(close)
    windows = np.stack([changes[first : first + WINDOW] for first in range(0, 4 * WINDOWS, 4)])
    windows /= np.sqrt(np.mean(windows**2, axis=1, keepdims=True))
    newest_first = np.ascontiguousarray(windows[:, ::-1])

    contenders: dict[str, Callable[[], Any]] = {"wavelet67": lambda: scatter(newest_first)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = ScatteringNumPy1D(J=J, shape=WINDOW, Q=Q1, oversampling=J)
        thinned = ScatteringNumPy1D(J=J, shape=WINDOW, Q=Q1)
    difference = float(np.abs(scatter(newest_first) - same(windows)[..., -1]).max())
    contenders |= {"kymatio": lambda: same(windows), "kymatio, thinned out": lambda: thinned(windows)}
    times = interleaved(contenders, 5)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return times, {
        "wavelet_vs_kymatio": round(medians["kymatio"] / medians["wavelet67"], 2),
        "wavelet_vs_kymatio_thinned_out": round(medians["kymatio, thinned out"] / medians["wavelet67"], 2),
        "wavelet_windows_per_s": round(WINDOWS / medians["wavelet67"]),
        "wavelet_largest_difference": difference,
    }


def every_set(close: np.ndarray) -> dict[str, int]:
    """Return bars a second of every set, on the first of its timeframes, with all cores that it uses."""
    speeds = {}
    for name in FEATURE_SETS:
        features = feature_set(name)
        bars_of = timeframe(features.timeframes[0])
        start = pd.Timestamp("2020-01-05T22:00Z").as_unit("ns").value
        minutes = open_minutes(start, start + int(MONTH * bars_of.minutes * 1.45) * MINUTE_NS)
        part = close[:MONTH]
        bars = Bars(name, bars_of, PIP, minutes[:: bars_of.minutes][:MONTH], *[part] * 4, part - PIP, part + PIP)
        (taken,) = interleaved({name: lambda f=features, b=bars: compute_features(f, b)}, 3).values()  # type: ignore[misc]
        speeds[name] = round(MONTH / statistics.median(taken))
    return speeds


def main() -> None:
    """Run the benchmark."""
    generator = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-05T22:00Z").as_unit("ns").value
    time_ns = open_minutes(start, start + int(BARS * 1.45) * MINUTE_NS)[:BARS]
    close = np.round(150.0 + np.cumsum(generator.normal(0.0, 0.02, BARS)), 3)
    times, figures = against_pandas(close, time_ns)
    scattering, more = against_kymatio(close)
    figures |= more | {"bars_per_s_of": every_set(close)}
    report(f"nine features of {BARS:,} bars, {WINDOWS} windows", times | scattering, figures, wants_json())


if __name__ == "__main__":
    main()

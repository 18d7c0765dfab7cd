"""What hybrid is."""

import numpy as np
import numpy.typing as npt

from fx_pipeline.features.feature_set import Bars, FeatureSet
from fx_pipeline.features.temporal9.entry import FEATURE_SET as TEMPORAL
from fx_pipeline.features.wavelet67.entry import FEATURE_SET as WAVELET
from fx_pipeline.market.timeframe import Timeframe

_PARTS = (WAVELET, TEMPORAL)


def compute(bars: Bars) -> npt.NDArray[np.float32]:
    """Compute the 67 coefficients and the nine temporal features of each bar, (T, 76)."""
    size, wanted = len(bars), warmup_bars(bars.timeframe)
    columns = []
    for part in _PARTS:
        # The part with the shorter memory would fill rows that the other one leaves cold.
        skip = min(wanted - part.warmup_bars(bars.timeframe), size)
        rows = np.full((size, len(part)), np.nan, dtype=np.float32)
        rows[skip:] = part.compute(bars.since(skip))
        columns.append(rows)
    return np.concatenate(columns, axis=1)


def warmup_bars(timeframe: Timeframe) -> int:
    """Return the longer of the two."""
    return max(part.warmup_bars(timeframe) for part in _PARTS)


FEATURE_SET = FeatureSet(
    name="hybrid",
    title="Scattering coefficients of the last 257 changes, and the nine temporal features.",
    # Another definition of a part is another one of both.
    version=WAVELET.version * 10 + TEMPORAL.version,
    names=(*WAVELET.names, *TEMPORAL.names),
    notes={**WAVELET.notes, **TEMPORAL.notes},
    compute=compute,
    warmup_bars=warmup_bars,
    mirror=(*(WAVELET.mirror or ()), *(TEMPORAL.mirror or ())),
    bounds=(*WAVELET.bounds, *TEMPORAL.bounds),
)

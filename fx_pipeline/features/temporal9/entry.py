"""What temporal9 is."""

from fx_pipeline.features.clock import CLOCK_NAMES, CLOCK_NOTES
from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS, compute

FEATURE_SET = FeatureSet(
    name="temporal9",
    title="Nine temporal features of the close: range, momentum, last change and the clock.",
    version=1,
    names=FEATURE_NAMES,
    notes={
        "position_in_range_60": "Where the close lies in the range of the last 60 closes, 0 to 1.",
        "min_max_scaled_momentum_60": "Change over 60 bars, scaled to its own range of the last 1,440 bars.",
        "min_max_scaled_rolling_range": "Range of the last 60 closes, scaled likewise.",
        "min_max_scaled_momentum_5": "Change over 5 bars, scaled likewise.",
        "price_change_pips": "tanh of the last one-bar change in tens of the instrument's unit: a pip of currency "
        "pairs.",
        **CLOCK_NOTES,
    },
    compute=compute,
    warmup_bars=lambda timeframe: WARMUP_BARS,
    # A range stays as wide upside down; what is scaled to its own range is mirrored in it.
    mirror=("complement", "complement", "keep", "complement", "negate", *("keep" for _ in CLOCK_NAMES)),
    bounds=((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), *((-1.0, 1.0) for _ in range(5))),
)

"""What picco17 is."""

from fx_pipeline.features.clock import CLOCK_MIRROR, CLOCK_NAMES, CLOCK_NOTES
from fx_pipeline.features.feature_set import FeatureSet
from fx_pipeline.features.picco17.kernel import MARKET_NAMES, compute, warmup_bars

FEATURE_SET = FeatureSet(
    name="picco17",
    title="Seven market features of M5 or H1 bars and four of the clock; 17 with the six of the position.",
    version=1,
    names=(*MARKET_NAMES, *CLOCK_NAMES),
    notes={
        "return_short": "Change over one bar, over twice its usual size, squashed by tanh.",
        "return_medium": "Change over an hour (M5) or six (H1), likewise.",
        "return_long": "Change over a day, likewise.",
        "position_in_range": "Where the close lies between the lowest low and the highest high of a day.",
        "volatility_ratio": "Usual size of a change in the last 24 bars, as a share of it and that of the scale.",
        "momentum": "Mean close of the medium horizon less that of a day, over twice its usual size, by tanh.",
        "spread_adjusted_move": "Change over the medium horizon beyond the spread, over twice its usual size, by tanh.",
        **CLOCK_NOTES,
    },
    compute=compute,
    warmup_bars=warmup_bars,
    mirror=(
        "negate",
        "negate",
        "negate",
        "complement",
        "keep",
        "negate",
        "negate",
        *CLOCK_MIRROR,
    ),
    bounds=(
        *((-1.0, 1.0) for _ in range(3)),
        (0.0, 1.0),
        (0.0, 1.0),
        (-1.0, 1.0),
        (-1.0, 1.0),
        *((-1.0, 1.0) for _ in CLOCK_NAMES),
    ),
    reads=("high", "low", "close", "bid_close", "ask_close"),
    timeframes=("M5", "H1"),
)

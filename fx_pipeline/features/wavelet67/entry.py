"""What wavelet67 is."""

from fx_pipeline.features.feature_set import FeatureSet, Mirror
from fx_pipeline.features.wavelet67.filters import WINDOW, bank
from fx_pipeline.features.wavelet67.kernel import COEFFICIENTS, WARMUP_BARS, compute

_FIRST = [f"scattering_1_{a:02d}" for a in range(len(bank().first))]
_PATHS = [(a, b, f"scattering_2_{a:02d}_{b}") for a, b in bank().paths.tolist()]
#: No change is larger than the root of their number times their root mean square, and no filter adds to the largest.
LARGEST = WINDOW**0.5

_SIDELESS: Mirror = "keep"
_MIRROR: tuple[Mirror, ...] = ("negate", *(_SIDELESS for _ in range(COEFFICIENTS - 1)))


def _period(wavelet: int, second: bool = False) -> str:
    family = bank().second if second else bank().first
    return f"{1.0 / family[wavelet].frequency:.1f} bars"


FEATURE_SET = FeatureSet(
    name="wavelet67",
    title="Scattering coefficients of the last 257 changes of the close (J = 6, Q = 4, two orders).",
    version=1,
    names=("scattering_0", *_FIRST, *(name for *_, name in _PATHS)),
    notes={
        "scattering_0": "Average of the last 257 changes, the newest counting most, over their root mean square.",
        **{name: f"Average size of changes at periods of about {_period(a)}." for a, name in enumerate(_FIRST)},
        **{
            name: f"How much that of periods of {_period(a)} swings at periods of about {_period(b, True)}."
            for a, b, name in _PATHS
        },
    },
    compute=compute,
    warmup_bars=lambda timeframe: WARMUP_BARS,
    # Moduli know no sides.
    mirror=_MIRROR,
    bounds=((-LARGEST, LARGEST), *((0.0, LARGEST) for _ in range(COEFFICIENTS - 1))),
)

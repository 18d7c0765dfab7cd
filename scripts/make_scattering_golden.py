"""Make the golden scattering coefficients that the tests hold wavelet67 against, with kymatio (in the dev extra).

    python scripts/make_scattering_golden.py

Windows of changes, newest first, and kymatio's coefficients at the newest change are written to
`fx_pipeline_tests/features/wavelet67/golden_scattering.npz`.
"""

from pathlib import Path

import numpy as np

# `kymatio.numpy` cannot be imported beside SciPy 1.15 and later; the frontend of one dimension can.
from kymatio.scattering1d.frontend.numpy_frontend import ScatteringNumPy1D

from fx_pipeline.features.wavelet67.filters import Q1, WINDOW, J

TARGET = Path(__file__).parents[1] / "fx_pipeline_tests" / "features" / "wavelet67" / "golden_scattering.npz"


def windows() -> np.ndarray:
    """Windows of changes (B, 257), newest first: noise, heavy tails, a trend, a step, a wave, spikes, and a burst."""
    rng = np.random.default_rng(20261201)
    age = np.arange(WINDOW)
    burst = rng.standard_normal(WINDOW) * np.where((age > 40) & (age < 90), 5.0, 1.0)
    made = [
        *rng.standard_normal((3, WINDOW)),
        *rng.standard_t(3, (3, WINDOW)),
        np.ones(WINDOW),
        np.where(age < 100, 1.0, -1.0),
        np.cos(2 * np.pi * age / 21),
        np.where(age == 0, 16.0, 0.0),
        np.where(age == WINDOW - 1, 16.0, 0.0),
        burst,
    ]
    return np.stack([window / np.sqrt(np.mean(window**2)) for window in made])


def main() -> None:
    """Write the file."""
    made = windows()
    # Without subsampling: with it, kymatio 0.3.0 loses a factor of two an octave.
    transform = ScatteringNumPy1D(J=J, shape=WINDOW, Q=Q1, oversampling=J)
    coefficients = transform(np.ascontiguousarray(made[:, ::-1]))[..., -1]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    np.savez(TARGET, windows=made, coefficients=coefficients)
    print(f"{TARGET}: {coefficients.shape}")


if __name__ == "__main__":
    main()

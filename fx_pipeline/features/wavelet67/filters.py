"""The filters of the scattering transform: Morlet wavelets and a Gaussian average, in the Fourier domain.

Formulas: Andén and Mallat, Deep Scattering Spectrum, IEEE Transactions on Signal Processing 62 (2014), section II, with
the parameters of kymatio 0.3.0 (Andreux et al., Journal of Machine Learning Research 21, 2020), which the tests hold
these filters against.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

#: Scale of the average (2^J bars), wavelets an octave of the first and of the second order.
J, Q1, Q2 = 6, 4, 1
#: Period of the extended window, and changes of a window: mirrored at both ends it has just that period.
PERIOD = 512
WINDOW = PERIOD // 2 + 1
_SIGMA = 0.1
_CROSSING = math.sqrt(0.5)
_ALPHA = 5.0


@dataclass(frozen=True)
class Wavelet:
    """A wavelet: its frequency and width in cycles a bar, and by how many octaves its output may be thinned out."""

    frequency: float
    width: float
    octave: int


def wavelets(per_octave: int) -> list[Wavelet]:
    """Return a family: frequencies fall by equal ratios, and by equal steps where width is as small as it may be."""
    ratio = 2.0 ** (1.0 / per_octave)
    frequency = max(1.0 / (1.0 + 2.0 ** (3.0 / per_octave)), 0.35)
    narrowest = _SIGMA / 2**J
    width = frequency * (1.0 - 1.0 / ratio) / (1.0 + 1.0 / ratio) / math.sqrt(2.0 * math.log(1.0 / _CROSSING))
    found = [(frequency, width)]
    while found[-1][1] > narrowest * ratio:
        found.append((found[-1][0] / ratio, found[-1][1] / ratio))
    elbow = found[-1][0]
    found += [(elbow - step / per_octave * elbow, narrowest) for step in range(1, per_octave)]
    return [Wavelet(xi, sigma, _octave(xi, sigma)) for xi, sigma in found]


def _octave(frequency: float, width: float) -> int:
    return math.floor(-math.log2(min(frequency + _ALPHA * width, 0.5))) - 1


def gaussian(width: float, frequency: float = 0.0, periods: int | None = None) -> Float64:
    """Return a Gaussian around a frequency, wrapped around the frequencies 0 to 1, (PERIOD,)."""
    if periods is None:
        periods = _periods(width)
    around_zero = periods == 1 and not frequency
    grid = np.fft.fftfreq(PERIOD) if around_zero else np.arange((1 - periods) * PERIOD, periods * PERIOD) / PERIOD
    values = np.exp(-((grid - frequency) ** 2) / (2.0 * width**2))
    return np.asarray(values.reshape(2 * periods - 1, PERIOD).mean(axis=0))


def _periods(width: float) -> int:
    # So many that a Gaussian has fallen below 1e-7 at the ends.
    return min(math.ceil(math.sqrt(-2.0 * width**2 * math.log(1e-7)) + 1.0), 5)


def morlet(wavelet: Wavelet) -> Float64:
    """Return the Fourier transform of a wavelet, real, (PERIOD,): its mean is zero, its absolute values sum to 1."""
    low = gaussian(wavelet.width)
    band = gaussian(wavelet.width, wavelet.frequency)
    band = band - band[0] / low[0] * low
    return np.asarray(band / np.abs(np.fft.ifft(band)).sum())


def average() -> Float64:
    """Return the weights of the average over time by distance in bars, (PERIOD,): they are positive and sum to 1."""
    weights = np.fft.ifft(gaussian(_SIGMA / 2**J)).real
    return np.asarray(weights / np.abs(weights).sum())


@dataclass(frozen=True)
class Bank:
    """All that the transform is made of.

    Attributes
    ----------
    first, second : list of Wavelet
    first_filters : (22, PERIOD) float64
        Fourier transforms, divided by PERIOD, so that an unscaled transform back is enough.
    second_filters : (7, PERIOD) float64
    paths : (44, 2) int64
        Of the second order: which wavelet of the first and of the second family.
    weights : (WINDOW,) float64
        Of the average at the newest change, by age in bars; what was mirrored is folded back.
    """

    first: list[Wavelet]
    second: list[Wavelet]
    first_filters: Float64
    second_filters: Float64
    paths: npt.NDArray[np.int64]
    weights: Float64


@cache
def bank() -> Bank:
    """Make the filters once."""
    first, second = wavelets(Q1), wavelets(Q2)
    paths = [(a, b) for a, one in enumerate(first) for b, two in enumerate(second) if two.octave > one.octave]
    weights = average()[:WINDOW].copy()
    # Each age but the newest and the oldest comes twice in a period.
    weights[1:-1] *= 2.0
    return Bank(
        first,
        second,
        np.stack([morlet(wavelet) for wavelet in first]) / PERIOD,
        np.stack([morlet(wavelet) for wavelet in second]) / PERIOD,
        np.asarray(paths, dtype=np.int64),
        np.maximum(weights, 0.0),
    )

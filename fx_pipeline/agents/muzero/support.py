"""Two-hot values: a scalar in pips as a distribution over fixed bins.

The bins are equally spaced on MuZero's transformed axis h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x (Pohlen et al.
2018, "Observe and look further"), so they are fine near zero, where most rewards lie, and reach far. A value is split
over its two neighbours in pips, not on the transformed axis, and read back as the mean of the bins in pips, as in
DreamerV3 (Hafner et al. 2023): the mean of a noisy target is then learned without bias.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

EPSILON = 0.001


def transform(pips: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """h(x)."""
    x = np.asarray(pips, dtype=np.float64)
    return np.sign(x) * (np.sqrt(np.abs(x) + 1.0) - 1.0) + EPSILON * x


def inverse_transform(transformed: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The inverse of h."""
    y = np.asarray(transformed, dtype=np.float64)
    root = (np.sqrt(1.0 + 4.0 * EPSILON * (np.abs(y) + 1.0 + EPSILON)) - 1.0) / (2.0 * EPSILON)
    return np.sign(y) * (root**2 - 1.0)


def bin_centres(bins: int, support_pips: float, unit_pips: float = 1.0) -> npt.NDArray[np.float32]:
    """Values of the bins in pips, (bins,) ascending, symmetric about 0.

    Parameters
    ----------
    bins : int
    support_pips : float
        The last bin, in units.
    unit_pips : float
        Pips of a unit, of the instrument (`market.units`): the axis is that of units, whatever a pip is.
    """
    half = inverse_transform(np.linspace(0.0, 1.0, bins // 2 + 1) * transform(support_pips))
    return (unit_pips * np.concatenate([-half[:0:-1], half])).astype(np.float32)


def encode(pips: npt.NDArray[np.floating[Any]], centres: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Split values over their two neighbouring bins.

    Parameters
    ----------
    pips : (...) float
        Values beyond the outermost bins count as those bins.
    centres : (bins,) float32

    Returns
    -------
    (..., bins) float32
        Rows sum to 1; `decode` gives the values back.
    """
    values = np.clip(np.asarray(pips, dtype=np.float64), centres[0], centres[-1])
    below = np.clip(np.searchsorted(centres, values, side="right") - 1, 0, len(centres) - 2)
    share = (values - centres[below]) / (centres[below + 1].astype(np.float64) - centres[below])
    encoded = np.zeros((*values.shape, len(centres)), dtype=np.float32)
    np.put_along_axis(encoded, below[..., None], (1.0 - share)[..., None].astype(np.float32), axis=-1)
    np.put_along_axis(encoded, below[..., None] + 1, share[..., None].astype(np.float32), axis=-1)
    return encoded


def decode(
    probabilities: npt.NDArray[np.floating[Any]], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.floating[Any]]:
    """Mean of the bins: (..., bins) probabilities to (...) pips."""
    return probabilities @ centres

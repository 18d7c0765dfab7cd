"""Counter-based random numbers: a draw depends on where it is asked for, never on what was drawn before.

Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), the generator of
`numpy.random.Philox`. The key is (seed, the environment's counter); the block counter is (index, sub, stream, 0).
So an environment's noise is the same whatever the batch around it and whatever the order of the rows.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

STREAM_DIRICHLET = np.uint64(0)
STREAM_CHANCE = np.uint64(1)
STREAM_ACTION = np.uint64(2)
STREAM_GUMBEL = np.uint64(3)

_M0 = np.uint64(0xD2E7470EE14C6C93)
_M1 = np.uint64(0xCA5A826395121157)
_W0 = np.uint64(0x9E3779B97F4A7C15)
_W1 = np.uint64(0xBB67AE8584CAA73B)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TO_52_BITS = np.uint64(12)
_ZERO = np.uint64(0)
_TWO_PI = 2.0 * math.pi


@njit(nogil=True, cache=True)
def _multiply_high(a, b):  # type: ignore[no-untyped-def]
    """Upper 64 bits of a 64 x 64 bit product."""
    a_low, a_high = a & _LOW, a >> _HALF
    b_low, b_high = b & _LOW, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@njit(nogil=True, cache=True)
def philox(seed, counter, index, sub, stream):  # type: ignore[no-untyped-def]
    """Four 64-bit words of the block (index, sub, stream, 0) under the key (seed, counter); all arguments uint64."""
    k0, k1 = seed, counter
    c0, c1, c2, c3 = index, sub, stream, _ZERO
    for turn in range(10):
        if turn > 0:
            k0 = k0 + _W0
            k1 = k1 + _W1
        high0, low0 = _multiply_high(_M0, c0), _M0 * c0
        high1, low1 = _multiply_high(_M1, c2), _M1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return c0, c1, c2, c3


@njit(nogil=True, cache=True)
def _to_unit(word):  # type: ignore[no-untyped-def]
    """A uniform number strictly between 0 and 1, so that its logarithm is finite."""
    return (np.float64(word >> _TO_52_BITS) + 0.5) * (1.0 / 4503599627370496.0)


@njit(nogil=True, cache=True)
def uniform(seed, counter, index, sub, stream):  # type: ignore[no-untyped-def]
    """One uniform number in (0, 1); all arguments uint64."""
    return _to_unit(philox(seed, counter, index, sub, stream)[0])


@njit(nogil=True, cache=True)
def _log_gamma_draw(alpha, seed, counter, sub):  # type: ignore[no-untyped-def]
    """Logarithm of a gamma(alpha, 1) draw.

    Marsaglia and Tsang (2000), "A simple method for generating gamma variables". Below 1 the draw is that of
    alpha + 1 times u ** (1 / alpha); in logarithms, since that power underflows for a small alpha.
    """
    boosted = alpha + 1.0 if alpha < 1.0 else alpha
    d = boosted - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = 0
    while True:
        w0, w1, w2, w3 = philox(seed, counter, np.uint64(attempt), sub, STREAM_DIRICHLET)
        normal = math.sqrt(-2.0 * math.log(_to_unit(w0))) * math.cos(_TWO_PI * _to_unit(w1))
        root = 1.0 + c * normal
        if root > 0.0:
            v = root * root * root
            if math.log(_to_unit(w2)) < 0.5 * normal * normal + d - d * v + d * math.log(v):
                log_draw = math.log(d * v)
                if alpha < 1.0:
                    log_draw += math.log(_to_unit(w3)) / alpha
                return log_draw
        attempt += 1


@njit(nogil=True, cache=True)
def dirichlet_into(out, alpha, seed, counter):  # type: ignore[no-untyped-def]
    """Fill ``out`` (A,) with one draw of the symmetric Dirichlet distribution."""
    greatest = -np.inf
    for action in range(out.shape[0]):
        out[action] = _log_gamma_draw(alpha, seed, counter, np.uint64(action))
        greatest = max(greatest, out[action])
    total = 0.0
    for action in range(out.shape[0]):
        out[action] = math.exp(out[action] - greatest)
        total += out[action]
    for action in range(out.shape[0]):
        out[action] /= total


@njit(nogil=True, cache=True)
def gumbel_draw(seed, counter, action):  # type: ignore[no-untyped-def]
    """One standard Gumbel number; all arguments uint64."""
    return -math.log(-math.log(uniform(seed, counter, action, _ZERO, STREAM_GUMBEL)))


@njit(nogil=True, cache=True)
def _dirichlet_rows(out, alpha, seed, counters):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        dirichlet_into(out[row], alpha, seed, counters[row])


def dirichlet_noise(
    alpha: float, num_actions: int, *, seed: int, counters: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.float64]:
    """Symmetric Dirichlet noise, one row an environment.

    Parameters
    ----------
    alpha
        Concentration, positive.
    num_actions
        A.
    seed
        In [0, 2**64).
    counters
        (B,), one number for each environment's draw.

    Returns
    -------
    numpy.ndarray
        (B, A) float64, rows sum to 1. Row ``b`` depends on ``(seed, counters[b])`` alone.

    Raises
    ------
    ValueError
        If ``seed`` or ``counters`` are not as described, or ``alpha`` is not positive.
    """
    if not (math.isfinite(alpha) and alpha > 0.0):
        raise ValueError(f"alpha must be finite and positive, got {alpha}")
    checked = as_counters(counters, len(counters))
    out = np.empty((len(checked), num_actions), dtype=np.float64)
    _dirichlet_rows(out, alpha, as_seed(seed), checked)
    return out


@njit(nogil=True, cache=True)
def _gumbel_rows(out, seed, counters):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        for action in range(out.shape[1]):
            out[row, action] = gumbel_draw(seed, counters[row], np.uint64(action))


def gumbel_noise(num_actions: int, *, seed: int, counters: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Standard Gumbel noise, one row an environment, as a search under Gumbel selection draws it.

    Parameters
    ----------
    num_actions
        A.
    seed
        In [0, 2**64).
    counters
        (B,), one number for each environment's draw.

    Returns
    -------
    numpy.ndarray
        (B, A) float64. Row ``b`` depends on ``(seed, counters[b])`` alone.

    Raises
    ------
    ValueError
        If ``seed`` or ``counters`` are not as described.
    """
    checked = as_counters(counters, len(counters))
    out = np.empty((len(checked), num_actions), dtype=np.float64)
    _gumbel_rows(out, as_seed(seed), checked)
    return out


def as_seed(seed: int) -> np.uint64:
    """``seed`` as a 64-bit key.

    Raises
    ------
    ValueError
        If it does not lie in [0, 2**64).
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must lie in [0, 2**64), got {seed}")
    return np.uint64(seed)


def as_counters(counters: npt.NDArray[np.integer[Any]] | None, batch: int) -> npt.NDArray[np.uint64]:
    """``counters`` as (B,) uint64; None counts the rows.

    Raises
    ------
    ValueError
        If the shape is not (B,), the type is not an integer one, or a counter is negative.
    """
    if counters is None:
        return np.arange(batch, dtype=np.uint64)
    array = np.asarray(counters)
    if array.shape != (batch,):
        raise ValueError(f"counters must have shape ({batch},), one for each row, got {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"counters must be integers, got {array.dtype}")
    if np.issubdtype(array.dtype, np.signedinteger) and (array < 0).any():
        raise ValueError("counters must not be negative")
    return np.ascontiguousarray(array, dtype=np.uint64)

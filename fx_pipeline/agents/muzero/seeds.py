"""Random numbers by purpose and place: no generator is carried along, so there is none to save or to lose.

Each use of randomness in a training asks for a fresh generator that depends on (seed, purpose, counter) alone. A
resumed training therefore draws what the uninterrupted one would have drawn.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random number is for."""

    WEIGHTS = 0
    STARTS = 1
    SEARCH = 2
    EXPLORATION = 3
    BATCH = 4
    DROPOUT = 5
    REANALYZE = 6
    PROJECTION = 7


def _sequence(seed: int, purpose: Purpose, counter: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(purpose), counter])


def generator(seed: int, purpose: Purpose, counter: int = 0) -> np.random.Generator:
    """A generator for one use."""
    return np.random.default_rng(_sequence(seed, purpose, counter))


def derived_seed(seed: int, purpose: Purpose, counter: int = 0) -> int:
    """A 63-bit seed for one use, for libraries that take an integer."""
    return int(_sequence(seed, purpose, counter).generate_state(1, np.uint64)[0] >> np.uint64(1))

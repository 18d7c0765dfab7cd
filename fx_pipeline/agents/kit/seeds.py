"""Random numbers by purpose and place: no generator is carried along, so there is none to save or to lose.

Each use of randomness in a training asks for a fresh generator that depends on (seed, purpose, counter) alone. A
resumed training therefore draws what the uninterrupted one would have drawn. Purposes are numbered by each agent.
"""

import numpy as np


def _sequence(seed: int, purpose: int, counter: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(purpose), counter])


def generator(seed: int, purpose: int, counter: int = 0) -> np.random.Generator:
    """A generator for one use."""
    return np.random.default_rng(_sequence(seed, purpose, counter))


def derived_seed(seed: int, purpose: int, counter: int = 0) -> int:
    """A 63-bit seed for one use, for libraries that take an integer."""
    return int(_sequence(seed, purpose, counter).generate_state(1, np.uint64)[0] >> np.uint64(1))

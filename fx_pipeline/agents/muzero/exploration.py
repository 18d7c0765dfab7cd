"""How self-play leaves the search's path: random actions, and the warm-up without a search.

Every draw depends on (seed, counter of the decision) alone, so it does not depend on how decisions are batched.
"""

import numpy as np
from numba import njit

from fx_pipeline.search.random import uniform

#: Streams of the random numbers, apart from those of the search; see `fx_pipeline.search.random`.
STREAM_EPSILON = np.uint64(100)
STREAM_RANDOM_ACTION = np.uint64(101)
STREAM_STICKY = np.uint64(102)
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)


@njit(nogil=True, cache=True)
def explore(actions, legal, epsilon, seed, counters):  # type: ignore[no-untyped-def]
    """Replace each of ``actions`` (B,), with probability ``epsilon``, by a uniformly random one of ``legal`` (B, A)."""
    for row in range(len(actions)):
        if uniform(seed, counters[row], _ZERO, _ZERO, STREAM_EPSILON) >= epsilon:
            continue
        allowed = 0
        for action in range(legal.shape[1]):
            allowed += legal[row, action]
        drawn = int(uniform(seed, counters[row], _ZERO, _ZERO, STREAM_RANDOM_ACTION) * allowed)
        for action in range(legal.shape[1]):
            if legal[row, action]:
                if drawn == 0:
                    actions[row] = action
                    break
                drawn -= 1


@njit(nogil=True, cache=True)
def sticky(actions, static, legal, targets, manner, counters):  # type: ignore[no-untyped-def]
    """Write actions (B,) that enter with probability ``manner.sticky_enter``, to any exposure alike, and leave to flat
    with probability ``manner.sticky_close``.

    ``targets`` (A,) are the exposures of the actions, NaN for the one that keeps what is held.
    """
    openings = 0
    for action in range(len(targets)):
        openings += _opens(targets[action])
    for row in range(len(actions)):
        held, counter = static[row, 0], counters[row]
        wanted = _keeps(targets, held)
        if held == 0.0:
            if uniform(manner.seed, counter, _ZERO, _ZERO, STREAM_STICKY) < manner.sticky_enter:
                drawn = int(uniform(manner.seed, counter, _ONE, _ZERO, STREAM_STICKY) * openings)
                for action in range(len(targets)):
                    if _opens(targets[action]):
                        if drawn == 0:
                            wanted = action
                            break
                        drawn -= 1
        elif uniform(manner.seed, counter, _TWO, _ZERO, STREAM_STICKY) < manner.sticky_close:
            for action in range(len(targets)):
                if targets[action] == 0.0:
                    wanted = action
        if not legal[row, wanted]:
            for action in range(legal.shape[1]):
                if legal[row, action]:
                    wanted = action
                    break
        actions[row] = wanted


@njit(nogil=True, cache=True)
def _opens(target):  # type: ignore[no-untyped-def]
    # What keeps is not a number.
    return target < 0.0 or target > 0.0


@njit(nogil=True, cache=True)
def _keeps(targets, held):  # type: ignore[no-untyped-def]
    """The action that leaves an exposure, float32, as it is; 0 where there is none."""
    for action in range(len(targets)):
        if targets[action] != targets[action]:
            return action
    for action in range(len(targets)):
        if np.float32(targets[action]) == held:
            return action
    return 0

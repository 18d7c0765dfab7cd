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
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)


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
    """Write actions (B,) that enter with probability ``manner.sticky_enter`` and change what is held with probability
    ``manner.sticky_close``: to flat, or, every other time where that is legal, to another exposure.

    Of several exposures each is as likely. A model that never saw a position resized would not know what that costs,
    and an agent that resizes at random learns that entering is bad.

    ``targets`` (A,) are the exposures of the actions, NaN for the one that keeps what is held.
    """
    for row in range(len(actions)):
        held, counter = static[row, 0], counters[row]
        wanted = _keeps(targets, held)
        if held == 0.0:
            if uniform(manner.seed, counter, _ZERO, _ZERO, STREAM_STICKY) < manner.sticky_enter:
                drawn = uniform(manner.seed, counter, _ONE, _ZERO, STREAM_STICKY)
                wanted = _another(targets, legal[row], held, drawn)
        elif uniform(manner.seed, counter, _TWO, _ZERO, STREAM_STICKY) < manner.sticky_close:
            drawn = 2.0 * uniform(manner.seed, counter, _THREE, _ZERO, STREAM_STICKY) - 1.0
            wanted = _another(targets, legal[row], held, drawn) if drawn >= 0.0 else -1
            if wanted < 0:
                wanted = _flat(targets)
        if wanted < 0 or not legal[row, wanted]:
            for action in range(legal.shape[1]):
                if legal[row, action]:
                    wanted = action
                    break
        actions[row] = wanted


@njit(nogil=True, cache=True)
def _another(targets, legal, held, drawn):  # type: ignore[no-untyped-def]
    """One of the legal actions that open a position or change it to another, by ``drawn`` in [0, 1); -1 if none is."""
    count = 0
    for action in range(len(targets)):
        count += _moves(targets[action], legal[action], held)
    place = int(drawn * count)
    for action in range(len(targets)):
        if _moves(targets[action], legal[action], held):
            if place == 0:
                return action
            place -= 1
    return -1


@njit(nogil=True, cache=True)
def _moves(target, legal, held):  # type: ignore[no-untyped-def]
    # The exposure of what keeps is not a number: it is neither less nor more than another one.
    return legal and (target < 0.0 or target > 0.0) and np.float32(target) != held


@njit(nogil=True, cache=True)
def _flat(targets):  # type: ignore[no-untyped-def]
    for action in range(len(targets)):
        if targets[action] == 0.0:
            return action
    return -1


@njit(nogil=True, cache=True)
def _keeps(targets, held):  # type: ignore[no-untyped-def]
    """The action that leaves an exposure, float32, as it is; -1 where there is none."""
    for action in range(len(targets)):
        if targets[action] != targets[action]:
            return action
    for action in range(len(targets)):
        if np.float32(targets[action]) == held:
            return action
    return -1

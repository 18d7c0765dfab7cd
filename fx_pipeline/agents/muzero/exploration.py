"""How self-play leaves the search's path: random actions, and the warm-up without a search.

Every draw depends on (seed, counter of the decision) alone, so it does not depend on how decisions are batched.
"""

import numpy as np
from numba import njit

from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
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
def sticky(actions, static, legal, enter, close, seed, counters):  # type: ignore[no-untyped-def]
    """Write actions (B,) that enter with probability ``enter``, either side, and close with probability ``close``."""
    for row in range(len(actions)):
        wanted = HOLD
        if static[row, 0] == 0.0:
            if uniform(seed, counters[row], _ZERO, _ZERO, STREAM_STICKY) < enter:
                side = uniform(seed, counters[row], _ONE, _ZERO, STREAM_STICKY)
                wanted = BUY if side < 0.5 else SELL
        elif uniform(seed, counters[row], _TWO, _ZERO, STREAM_STICKY) < close:
            wanted = CLOSE
        if not legal[row, wanted]:
            for action in range(legal.shape[1]):
                if legal[row, action]:
                    wanted = action
                    break
        actions[row] = wanted

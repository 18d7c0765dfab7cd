"""Actions, chance outcomes and their order, which checkpoints depend on."""

from enum import IntEnum

import numba
import numpy as np
import numpy.typing as npt

from fx_pipeline.environment.action_sets import UNIT4

#: A move of more than this many standard deviations of one-bar changes is UP or DOWN.
OUTCOME_THRESHOLD = 0.33


class Action(IntEnum):
    """What an agent can do at the close of a bar, of the set `unit4`."""

    HOLD = 0
    BUY = 1
    SELL = 2
    CLOSE = 3


class Outcome(IntEnum):
    """Where the market went from one close to the next."""

    UP = 0
    NEUTRAL = 1
    DOWN = 2


HOLD, BUY, SELL, CLOSE = (int(action) for action in Action)
UP, NEUTRAL, DOWN = (int(outcome) for outcome in Outcome)
NUM_ACTIONS = len(Action)
NUM_OUTCOMES = len(Outcome)
playable = UNIT4.playable


@numba.njit(cache=True, nogil=True)
def outcome_of(change: float, sigma: float) -> int:
    """Return the outcome of a change of the close, given the standard deviation of recent one-bar changes."""
    if change > OUTCOME_THRESHOLD * sigma:
        return UP
    if change < -OUTCOME_THRESHOLD * sigma:
        return DOWN
    return NEUTRAL


def outcomes(close: npt.NDArray[np.float64], sigma: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
    """Label each step t -> t + 1: a training target that looks one bar ahead, never an input.

    Parameters
    ----------
    close, sigma : (T,) float64

    Returns
    -------
    (T - 1,) int8
    """
    change = np.diff(close)
    threshold = OUTCOME_THRESHOLD * sigma[:-1]
    return np.select([change > threshold, change < -threshold], [UP, DOWN], NEUTRAL).astype(np.int8)

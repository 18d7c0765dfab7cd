"""Value targets: n-step returns that end in a search value."""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt


class Recorded(NamedTuple):
    """What a replay has recorded of E episodes of T steps.

    Attributes
    ----------
    rewards, root_values : (E, T) float32
    policies : (E, T, A) float32
        All zero where no search was made.
    actions : (E, T) int8
    lengths : (E,) int64
        Steps recorded; T means finished.
    """

    rewards: npt.NDArray[np.float32]
    root_values: npt.NDArray[np.float32]
    policies: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int8]
    lengths: npt.NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def _explores(recorded, episode, step, cut):  # type: ignore[no-untyped-def]
    policy = recorded.policies[episode, step]
    return policy[recorded.actions[episode, step]] < cut * policy.max()


@numba.njit(cache=True, nogil=True)
def value_targets(  # type: ignore[no-untyped-def]
    recorded, episodes, steps, count, td_steps, discount, bootstrap_at_end, cut, trusted, targets
):
    """Write the value targets of `count` consecutive steps of each sample into `targets` (B, count).

    z[t] = sum_{i < m} discount^i r[t + i] + discount^m v[t + m], with m = n (`td_steps`) or less where the episode
    ends sooner (MuZero, appendix G, https://arxiv.org/abs/1911.08265). An episode that goes on beyond what has been
    recorded ends in the newest search value; so does a finished one if `bootstrap_at_end`, else its end is worth 0.
    Steps beyond the recorded ones get 0, and the caller masks them.

    A return also ends before a step of exploration: one whose action has less than a share `cut` of the weight that
    the search's policy gives to the best one. What such a step costs is not what its state is worth (Watkins 1989, who
    cuts the traces of Q(lambda) there). The first `trusted` steps are followed anyway.

    Parameters
    ----------
    recorded : Recorded
    episodes, steps : (B,) int64
        Row and first step of each sample.
    count : int
    td_steps : (B,) int64
        n of each sample.
    discount : float
    bootstrap_at_end : bool
    cut : float
        0 to follow every action.
    trusted : int
        0 for the value of a state, 1 for that of the action taken in it.
    targets : (B, count) float32
    """
    rewards, root_values, lengths = recorded.rewards, recorded.root_values, recorded.lengths
    session = rewards.shape[1]
    for sample in range(len(episodes)):
        episode = episodes[sample]
        length = lengths[episode]
        ends = length == session and not bootstrap_at_end
        for k in range(count):
            step = steps[sample] + k
            if step >= length:
                targets[sample, k] = 0.0
                continue
            horizon = min(td_steps[sample], (length if ends else length - 1) - step)
            total = 0.0
            factor = 1.0
            for i in range(horizon):
                if i >= trusted and _explores(recorded, episode, step + i, cut):
                    horizon = i
                    break
                total += factor * rewards[episode, step + i]
                factor *= discount
            if step + horizon < length:
                total += factor * root_values[episode, step + horizon]
            targets[sample, k] = total


def empty_targets(batch: int, count: int) -> npt.NDArray[np.float32]:
    """An array for `value_targets` to fill."""
    return np.empty((batch, count), dtype=np.float32)


def corrected_td_steps(td_steps: int, ages: npt.NDArray[np.int64], decay_waves: float) -> npt.NDArray[np.int64]:
    """n of samples that were played `ages` (B,) waves ago: n' = clip(n - age / decay, 1, n); n for a decay of 0."""
    if decay_waves == 0.0:
        return np.full(len(ages), td_steps, dtype=np.int64)
    return np.clip(td_steps - np.floor(ages / decay_waves), 1, td_steps).astype(np.int64)

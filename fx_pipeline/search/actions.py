"""From visit counts to actions."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.search.random import STREAM_ACTION, as_counters, as_seed, uniform
from fx_pipeline.search.types import IntArray

_ZERO = np.uint64(0)


def select_actions(
    visits: IntArray,
    temperature: float | npt.NDArray[np.floating[Any]],
    *,
    seed: int,
    counters: IntArray | None,
) -> npt.NDArray[np.int64]:
    """Draw each row's action with probability proportional to ``visits ** (1 / temperature)``.

    Parameters
    ----------
    visits
        (B, A), not negative, at least one visit a row. An action without a visit is never drawn.
    temperature
        One number or (B,), not negative; 0 takes the most visited action, the first of equals.
    seed, counters
        Row ``b``'s draw depends on ``(seed, counters[b])`` alone; it is independent of the search's noise under the
        same pair.

    Returns
    -------
    numpy.ndarray
        Actions, (B,) int64.

    Raises
    ------
    ValueError
        If an argument is not as described.
    """
    counts = _checked_visits(visits)
    batch = counts.shape[0]
    temperatures = np.asarray(temperature, dtype=np.float64)
    if temperatures.shape not in ((), (batch,)):
        raise ValueError(f"temperature must be one number or of shape ({batch},), got shape {temperatures.shape}")
    if not (np.isfinite(temperatures) & (temperatures >= 0.0)).all():
        raise ValueError("temperature must be finite and not negative")
    actions = np.empty(batch, dtype=np.int64)
    draw_actions(
        actions,
        counts,
        np.ascontiguousarray(np.broadcast_to(temperatures, (batch,))),
        as_seed(seed),
        as_counters(counters, batch),
    )
    return actions


@njit(nogil=True, cache=True)
def draw_actions(actions, counts, temperatures, seed, counters):  # type: ignore[no-untyped-def]
    """Write the drawn action of each row of ``counts`` (B, A) float64 into ``actions`` (B,); see `select_actions`."""
    batch, num_actions = counts.shape
    weights = np.empty(num_actions)
    for row in range(batch):
        most_visited = 0
        for action in range(num_actions):
            if counts[row, action] > counts[row, most_visited]:
                most_visited = action
        actions[row] = most_visited
        if temperatures[row] == 0.0:
            continue
        total = 0.0
        for action in range(num_actions):
            weights[action] = 0.0
            if counts[row, action] > 0.0:
                # Relative to the most visited, the exponential cannot overflow at a small temperature.
                ratio = math.log(counts[row, action] / counts[row, most_visited])
                weights[action] = math.exp(ratio / temperatures[row])
            total += weights[action]
        draw = uniform(seed, counters[row], _ZERO, _ZERO, STREAM_ACTION) * total
        for action in range(num_actions):
            if weights[action] > 0.0:
                actions[row] = action
                draw -= weights[action]
                if draw < 0.0:
                    break


def _checked_visits(visits: IntArray) -> npt.NDArray[np.float64]:
    array = np.asarray(visits)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"visits must be integers of shape (B, A), got {array.dtype} of shape {array.shape}")
    if (array < 0).any():
        raise ValueError("visits must not be negative")
    unvisited = np.flatnonzero(array.sum(axis=1) == 0)
    if unvisited.size:
        raise ValueError(f"visits has no visit at all in row {int(unvisited[0])}: run the search first")
    return np.ascontiguousarray(array, dtype=np.float64)

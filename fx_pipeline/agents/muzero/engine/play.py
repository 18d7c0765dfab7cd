"""Self-play of a group of sessions in compiled code: search, act, step, record; no Python between two bars."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.agents.muzero.engine.forward import embed
from fx_pipeline.agents.muzero.engine.search import grow
from fx_pipeline.agents.muzero.exploration import explore, sticky
from fx_pipeline.environment.lockstep import describe, step_sessions
from fx_pipeline.search.actions import draw_actions


class Record(NamedTuple):
    """The replay's arrays (E, T, ...), and which of its rows each session of the group fills."""

    rows: npt.NDArray[np.int64]
    static: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int8]
    outcomes: npt.NDArray[np.int8]
    rewards: npt.NDArray[np.float32]
    root_values: npt.NDArray[np.float32]
    policies: npt.NDArray[np.float32]


class Manner(NamedTuple):
    """How to play; `warmup_steps` is the step of the session from which on the search plays.

    `noise` is the factor of the noise at the root; `best_value` records the Q of its most visited action as its value.
    """

    noise: float
    best_value: bool
    temperature: float
    epsilon: float
    warmup_steps: int
    sticky_enter: float
    sticky_close: float
    seed: np.uint64


@njit(nogil=True, cache=True)
def play(  # type: ignore[no-untyped-def]
    packed, scratch, room, rules, game, seats, record, manner, codes, places, counters, session_bars, first_step, steps
):
    """Play `steps` bars of B sessions from `first_step` on.

    ``codes`` (K, channels) float32 are market codes; ``places`` (B, steps) says which one a session sees at each step.
    ``counters`` (B,) uint64 are those of each session's first decision.

    Returns
    -------
    int
        Sum of the search depths of all sessions and steps; -1 if the model gave a number that is not finite.
    """
    batch = len(seats.starts)
    actions = np.zeros(batch, dtype=np.int64)
    counts = np.zeros((batch, seats.legal.shape[1]))
    temperatures = np.full(batch, manner.temperature)
    now = np.zeros(batch, dtype=np.uint64)
    bars = np.zeros(batch, dtype=np.int64)
    depths = 0
    for played in range(steps):
        step = first_step + played
        searches = step >= manner.warmup_steps
        for row in range(batch):
            now[row] = counters[row] + np.uint64(step)
            bars[row] = seats.starts[row] + step
        if searches:
            for row in range(batch):
                embed(packed, codes[places[row, played]], seats.static[row], room.states[row])
            if not grow(packed, scratch, room, rules, seats.legal, now):
                return -1
            for row in range(batch):
                depths += room.depths[row]
                for action in range(counts.shape[1]):
                    counts[row, action] = room.visits[row, action]
            if rules.uses_gumbel:
                actions[:] = room.actions[:batch]
            else:
                draw_actions(actions, counts, temperatures, rules.seed, now)
            explore(actions, seats.legal, manner.epsilon, manner.seed, now)
        else:
            sticky(actions, seats.static, seats.legal, manner.sticky_enter, manner.sticky_close, manner.seed, now)
        for row in range(batch):
            place = record.rows[row]
            record.static[place, step] = seats.static[row]
            record.actions[place, step] = actions[row]
            record.root_values[place, step] = room.values[row] if searches else 0.0
            if searches and manner.best_value:
                record.root_values[place, step] = room.q_values[row, room.visits[row].argmax()]
            for action in range(counts.shape[1]):
                record.policies[place, step, action] = room.policy[row, action] if searches else 0.0
        rewards, outcomes = step_sessions(game, seats, bars, actions, step == session_bars - 1)
        describe(game, seats, step + 1 >= session_bars - 1)
        for row in range(batch):
            place = record.rows[row]
            record.rewards[place, step] = rewards[row]
            record.outcomes[place, step] = outcomes[row]
    return depths

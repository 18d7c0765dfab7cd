"""A whole search in compiled code: the kernels of `fx_pipeline.search` with the networks of `forward` between them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.agents.muzero.engine import pack as pk
from fx_pipeline.agents.muzero.engine.forward import afterstate, dynamics, policy_of, value_of
from fx_pipeline.agents.muzero.engine.kernels import address
from fx_pipeline.agents.muzero.engine.vectors import LANES, copy
from fx_pipeline.environment.actions import NUM_OUTCOMES
from fx_pipeline.search import growth
from fx_pipeline.search import tree as trees
from fx_pipeline.search.descent import choose_first, descend, harvest


class Trees(NamedTuple):
    """Trees of R environments and what passes between them and the networks, of one thread.

    ``states, next_states`` (R, H) float32; ``prior_logits`` (R, A), ``chance_logits`` (R, C),
    ``values, rewards`` (R,) and ``q_values, policy`` (R, A) float64; ``visits`` (R, A), ``depths`` (R,) int32;
    ``actions`` (R,) int64.
    """

    tree: trees.Tree
    leaves: trees.Leaves
    states: npt.NDArray[np.float32]
    next_states: npt.NDArray[np.float32]
    prior_logits: npt.NDArray[np.float64]
    chance_logits: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    rewards: npt.NDArray[np.float64]
    visits: npt.NDArray[np.int32]
    q_values: npt.NDArray[np.float64]
    depths: npt.NDArray[np.int32]
    policy: npt.NDArray[np.float64]
    actions: npt.NDArray[np.int64]


def allocate_trees(rows: int, simulations: int, hidden: int, actions: int) -> Trees:
    """Room for `rows` searches of `simulations` simulations among so many actions."""
    width = max(actions, NUM_OUTCOMES)
    return Trees(
        tree=trees.allocate_tree(rows, simulations + 1, width, hidden),
        leaves=trees.allocate_leaves(rows),
        states=pk.aligned((rows, hidden), np.float32),
        next_states=pk.aligned((rows, hidden), np.float32),
        prior_logits=np.zeros((rows, actions)),
        chance_logits=np.zeros((rows, NUM_OUTCOMES)),
        values=np.zeros(rows),
        rewards=np.zeros(rows),
        visits=np.zeros((rows, actions), dtype=np.int32),
        q_values=np.zeros((rows, actions)),
        depths=np.zeros(rows, dtype=np.int32),
        policy=np.zeros((rows, actions)),
        actions=np.zeros(rows, dtype=np.int64),
    )


@njit(nogil=True, cache=True)
def grow(packed, scratch, room, rules, legal, counters):  # type: ignore[no-untyped-def]
    """Search from the first rows of ``room.states``; the results lie in ``room``. False if a number is not finite.

    ``rules`` are `fx_pipeline.search.rules.Rules`; ``legal`` (B, A) bool and ``counters`` (B,) uint64 say how many rows
    there are. A node's policy is asked for when it is visited again, so logits of the others are never looked at.
    """
    batch = len(legal)
    tree, leaves = room.tree, room.leaves
    lanes = packed.sizes[pk.HIDDEN] // LANES
    policy_of(packed, scratch, room.states[:batch], room.prior_logits[:batch])
    value_of(packed, scratch, room.states[:batch], room.values[:batch])
    for row in range(batch):
        finite = np.isfinite(room.values[row])
        for action in range(legal.shape[1]):
            finite = finite and np.isfinite(room.prior_logits[row, action])
        if not finite:
            return False
    trees.plant_roots(tree, room.states[:batch], room.prior_logits[:batch], room.values[:batch], legal, rules, counters)
    for simulation in range(rules.simulations):
        split = descend(tree, leaves, legal, rules, counters, simulation)
        if split > 0:
            unknown = 0
            for i in range(split):
                if leaves.actions[i] == trees.UNKNOWN_ACTION:
                    source = tree.states[leaves.rows[i], leaves.parents[i]]
                    copy(address(source), address(room.next_states[unknown]), lanes)
                    unknown += 1
            if unknown > 0:
                logits = room.prior_logits[:unknown]
                policy_of(packed, scratch, room.next_states[:unknown], logits)
                if not choose_first(tree, leaves, split, logits, legal, rules):
                    return False
            for i in range(split):
                source = tree.states[leaves.rows[i], leaves.decisions[i]]
                copy(address(source), address(scratch.states[i]), lanes)
            chance_logits, values = room.chance_logits[:split], room.values[:split]
            afterstate(packed, scratch, leaves.actions[:split], chance_logits, values)
            if growth.graft_chance(tree, leaves, 0, simulation + 1, chance_logits, values, rules) >= 0:
                return False
        if split < batch:
            count = batch - split
            for i in range(count):
                source = tree.states[leaves.rows[split + i], leaves.decisions[split + i]]
                copy(address(source), address(scratch.states[i]), lanes)
            states, rewards, values = room.next_states[:count], room.rewards[:count], room.values[:count]
            actions, outcomes = leaves.actions[split:batch], leaves.edges[split:batch]
            dynamics(packed, scratch, actions, outcomes, states, rewards, values)
            no_logits = room.prior_logits[:count, :0]
            bad = growth.graft_decision(tree, leaves, split, simulation + 1, states, rewards, no_logits, values, rules)
            if bad >= 0:
                return False
    harvest(tree, legal, rules, room.visits, room.q_values, room.depths, room.policy, room.actions)
    for row in range(batch):
        room.values[row] = tree.values[row, trees.ROOT]
    return True

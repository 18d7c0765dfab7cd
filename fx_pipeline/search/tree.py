"""Search trees in preallocated arrays, and the kernels that plant their roots.

Simulation k creates node k + 1 in every environment; node 0 is the root. Decision and chance nodes share the arrays:
an edge of a decision node is an action, one of a chance node an outcome. What belongs to an edge is stored with
the child it leads to, so an action's visit count is its child's, and its value is reward + discount * child value.

The arithmetic follows mctx operation for operation, in float64.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.search.random import dirichlet_into, gumbel_draw

ROOT = 0
UNVISITED = -1
NO_PARENT = -1
#: First prior of a decision node whose policy has not been asked for, and the action that its leaf has until then.
UNKNOWN_PRIOR = -1.0
UNKNOWN_ACTION = -1
MIN_VALUE_RANGE = 1e-8
TINY = float(np.finfo(np.float64).tiny)


class Tree(NamedTuple):
    """Trees of B environments with up to N nodes, W = max(A, C) edges a node.

    ``visits, values, raw_values, rewards, parents, edges, depths, is_chance`` are (B, N); ``raw_values`` are the
    model's, and ``rewards`` and ``edges`` belong to the edge that leads to the node. ``children, probs, policies`` are
    (B, N, W); the first of ``probs`` is UNKNOWN_PRIOR where a policy has not been asked for, and ``policies`` are the
    improved ones of the last backup, or of the last choice.
    ``states`` (B, N, H) is set at decision nodes only. ``root_scores`` (B, W) is Gumbel noise plus logits of the root's
    actions, the greatest legal logit being 0; ``scratch`` (W,) is what a kernel works with.
    """

    visits: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    raw_values: npt.NDArray[np.float64]
    rewards: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int32]
    edges: npt.NDArray[np.int32]
    depths: npt.NDArray[np.int32]
    is_chance: npt.NDArray[np.bool_]
    children: npt.NDArray[np.int32]
    probs: npt.NDArray[np.float64]
    policies: npt.NDArray[np.float64]
    states: npt.NDArray[np.float32]
    root_scores: npt.NDArray[np.float64]
    scratch: npt.NDArray[np.float64]


class Leaves(NamedTuple):
    """Where one simulation left the trees; every array is (B,) int64.

    The first n entries are the rows to expand with an afterstate, the last B - n those to expand with the dynamics.
    ``parents`` and ``edges`` say which edge to expand; ``decisions`` and ``actions`` name the decision node above it
    and the action taken there (for an afterstate they are the same pair; UNKNOWN_ACTION where `descent.choose_first`
    has yet to choose).
    """

    rows: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int64]
    edges: npt.NDArray[np.int64]
    decisions: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int64]


def allocate_tree(batch: int, nodes: int, width: int, hidden: int) -> Tree:
    """Room for ``batch`` trees; nothing in it is read before a root is planted and nodes are grafted."""
    return Tree(
        visits=np.zeros((batch, nodes), dtype=np.int32),
        values=np.zeros((batch, nodes), dtype=np.float64),
        raw_values=np.zeros((batch, nodes), dtype=np.float64),
        rewards=np.zeros((batch, nodes), dtype=np.float64),
        parents=np.full((batch, nodes), NO_PARENT, dtype=np.int32),
        edges=np.full((batch, nodes), NO_PARENT, dtype=np.int32),
        depths=np.zeros((batch, nodes), dtype=np.int32),
        is_chance=np.zeros((batch, nodes), dtype=np.bool_),
        children=np.full((batch, nodes, width), UNVISITED, dtype=np.int32),
        probs=np.zeros((batch, nodes, width), dtype=np.float64),
        policies=np.zeros((batch, nodes, width), dtype=np.float64),
        states=np.zeros((batch, nodes, hidden), dtype=np.float32),
        root_scores=np.zeros((batch, width), dtype=np.float64),
        scratch=np.zeros(width, dtype=np.float64),
    )


def allocate_leaves(batch: int) -> Leaves:
    """Room for the leaves of ``batch`` trees."""
    return Leaves(*(np.zeros(batch, dtype=np.int64) for _ in Leaves._fields))


@njit(nogil=True, cache=True, forceinline=True)
def softmax_into(out, logits, width):  # type: ignore[no-untyped-def]
    """Write softmax(logits) to out[:width]; False if a logit is NaN or +inf, or none is finite."""
    greatest = -np.inf
    for i in range(width):
        if math.isnan(logits[i]) or logits[i] == np.inf:
            return False
        greatest = max(greatest, logits[i])
    if greatest == -np.inf:
        return False
    total = 0.0
    for i in range(width):
        out[i] = math.exp(logits[i] - greatest)
        total += out[i]
    for i in range(width):
        out[i] /= total
    return True


@njit(nogil=True, cache=True, forceinline=True)
def open_node(tree, row, node, parent, edge, is_chance, reward, value):  # type: ignore[no-untyped-def]
    """Write a node that has been visited once, by the simulation that made it."""
    tree.visits[row, node] = 1
    tree.values[row, node] = value
    tree.raw_values[row, node] = value
    tree.rewards[row, node] = reward
    tree.parents[row, node] = parent
    tree.edges[row, node] = edge
    tree.is_chance[row, node] = is_chance
    tree.children[row, node, :] = UNVISITED
    if parent == NO_PARENT:
        tree.depths[row, node] = 0
    else:
        tree.depths[row, node] = tree.depths[row, parent] + 1
        tree.children[row, parent, edge] = node


@njit(nogil=True, cache=True)
def plant_roots(tree, states, logits, values, legal, rules, counters):  # type: ignore[no-untyped-def]
    """Set node 0 of each row.

    With Dirichlet noise the order is that of mctx: softmax over all A actions, mix with noise over all A, then mask
    and normalise.
    """
    num_actions = logits.shape[1]
    noise = np.empty(num_actions)
    masked = np.empty(num_actions)
    for row in range(logits.shape[0]):
        open_node(tree, row, ROOT, NO_PARENT, NO_PARENT, False, 0.0, values[row])
        tree.states[row, ROOT, :] = states[row]
        probs = tree.probs[row, ROOT]
        if rules.noise_fraction > 0.0:
            softmax_into(probs, logits[row], num_actions)
            dirichlet_into(noise, rules.noise_alpha, rules.seed, counters[row])
        for action in range(num_actions):
            if not legal[row, action]:
                masked[action] = -np.inf
            elif rules.noise_fraction > 0.0:
                mixed = (1.0 - rules.noise_fraction) * probs[action] + rules.noise_fraction * noise[action]
                masked[action] = math.log(max(mixed, TINY))
            else:
                masked[action] = logits[row, action]
        softmax_into(probs, masked, num_actions)
        if rules.uses_gumbel:
            _score_root(tree, row, masked, rules, counters[row])


@njit(nogil=True, cache=True)
def _score_root(tree, row, masked, rules, counter):  # type: ignore[no-untyped-def]
    greatest = -np.inf
    for logit in masked:
        greatest = max(greatest, logit)
    for action in range(len(masked)):
        tree.root_scores[row, action] = masked[action] - greatest
        if rules.noise_scale > 0.0:
            tree.root_scores[row, action] += rules.noise_scale * gumbel_draw(rules.seed, counter, np.uint64(action))

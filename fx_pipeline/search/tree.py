"""Search trees in preallocated arrays, and the kernels that grow them.

Simulation k creates node k + 1 in every environment; node 0 is the root. Decision and chance nodes share the arrays:
an edge of a decision node is an action, one of a chance node an outcome. What belongs to an edge is stored with
the child it leads to, so an action's visit count is its child's, and its value is reward + discount * child value.

The arithmetic follows mctx (`stochastic_muzero_policy`) operation for operation, in float64. mctx adds noise below 1e-7
to break ties between actions; here the first of equals wins, so that a search needs no random number to be exact.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fx_pipeline.search.random import STREAM_CHANCE, dirichlet_into, uniform

ROOT = 0
UNVISITED = -1
NO_PARENT = -1
MIN_VALUE_RANGE = 1e-8
_TINY = float(np.finfo(np.float64).tiny)


class Tree(NamedTuple):
    """Trees of B environments with up to N nodes, W = max(A, C) edges a node.

    ``visits, values, rewards, parents, edges, depths, is_chance`` are (B, N); ``rewards`` and ``edges`` belong to the
    edge that leads to the node. ``children, probs`` are (B, N, W). ``states`` (B, N, H) is set at decision nodes only.
    """

    visits: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    rewards: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int32]
    edges: npt.NDArray[np.int32]
    depths: npt.NDArray[np.int32]
    is_chance: npt.NDArray[np.bool_]
    children: npt.NDArray[np.int32]
    probs: npt.NDArray[np.float64]
    states: npt.NDArray[np.float32]


class Leaves(NamedTuple):
    """Where one simulation left the trees; every array is (B,) int64.

    The first n entries are the rows to expand with an afterstate, the last B - n those to expand with the dynamics.
    ``parents`` and ``edges`` say which edge to expand; ``decisions`` and ``actions`` name the decision node above it
    and the action taken there (for an afterstate they are the same pair).
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
        rewards=np.zeros((batch, nodes), dtype=np.float64),
        parents=np.full((batch, nodes), NO_PARENT, dtype=np.int32),
        edges=np.full((batch, nodes), NO_PARENT, dtype=np.int32),
        depths=np.zeros((batch, nodes), dtype=np.int32),
        is_chance=np.zeros((batch, nodes), dtype=np.bool_),
        children=np.full((batch, nodes, width), UNVISITED, dtype=np.int32),
        probs=np.zeros((batch, nodes, width), dtype=np.float64),
        states=np.zeros((batch, nodes, hidden), dtype=np.float32),
    )


def allocate_leaves(batch: int) -> Leaves:
    """Room for the leaves of ``batch`` trees."""
    return Leaves(*(np.zeros(batch, dtype=np.int64) for _ in Leaves._fields))


@njit(nogil=True, cache=True)
def _softmax_into(out, logits, width):  # type: ignore[no-untyped-def]
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


@njit(nogil=True, cache=True)
def _open_node(tree, row, node, parent, edge, is_chance, reward, value):  # type: ignore[no-untyped-def]
    tree.visits[row, node] = 1
    tree.values[row, node] = value
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
def _backup(tree, row, leaf, discount):  # type: ignore[no-untyped-def]
    """Carry the leaf's value to the root; decision -> afterstate is undiscounted and without reward."""
    value = tree.values[row, leaf]
    node = leaf
    while node != ROOT:
        parent = tree.parents[row, node]
        edge_discount = 1.0 if tree.is_chance[row, node] else discount
        value = tree.rewards[row, node] + edge_discount * value
        count = tree.visits[row, parent]
        tree.values[row, parent] = (tree.values[row, parent] * count + value) / (count + 1.0)
        tree.visits[row, parent] = count + 1
        node = parent


@njit(nogil=True, cache=True)
def _select_action(tree, row, node, exploration, legal):  # type: ignore[no-untyped-def]
    """The action with the greatest pUCT score; Q is normalised by the node's and its children's least and greatest."""
    num_actions = legal.shape[1]
    lowest = tree.values[row, node]
    highest = lowest
    for action in range(num_actions):
        child = tree.children[row, node, action]
        if child != UNVISITED:
            q = tree.rewards[row, child] + tree.values[row, child]
            lowest = min(lowest, q)
            highest = max(highest, q)
    span = max(highest - lowest, MIN_VALUE_RANGE)
    weight = exploration[tree.visits[row, node]]
    best = -1
    best_score = -np.inf
    for action in range(num_actions):
        if node == ROOT and not legal[row, action]:
            continue
        child = tree.children[row, node, action]
        count = 0
        value_score = 0.0
        if child != UNVISITED:
            count = tree.visits[row, child]
            value_score = (tree.rewards[row, child] + tree.values[row, child] - lowest) / span
        score = value_score + weight * tree.probs[row, node, action] / (count + 1)
        if best < 0 or score > best_score:
            best = action
            best_score = score
    return best


@njit(nogil=True, cache=True)
def _quota_outcome(tree, row, node, num_outcomes):  # type: ignore[no-untyped-def]
    """The outcome that is furthest behind its probability: the greatest p / (n + 1)."""
    best = 0
    best_score = -1.0
    for outcome in range(num_outcomes):
        child = tree.children[row, node, outcome]
        count = 0 if child == UNVISITED else tree.visits[row, child]
        score = tree.probs[row, node, outcome] / (count + 1)
        if score > best_score:
            best = outcome
            best_score = score
    return best


@njit(nogil=True, cache=True)
def _sampled_outcome(tree, row, node, num_outcomes, draw):  # type: ignore[no-untyped-def]
    last_possible = 0
    for outcome in range(num_outcomes):
        probability = tree.probs[row, node, outcome]
        if probability > 0.0:
            last_possible = outcome
            draw -= probability
            if draw < 0.0:
                return outcome
    # Rounding can leave a sum of probabilities just below 1.
    return last_possible


@njit(nogil=True, cache=True)
def plant_roots(tree, states, logits, values, legal, noise_fraction, alpha, seed, counters):  # type: ignore[no-untyped-def]
    """Set node 0 of each row.

    With noise the order is that of mctx: softmax over all A actions, mix with Dirichlet noise over all A, then mask
    and normalise.
    """
    num_actions = logits.shape[1]
    noise = np.empty(num_actions)
    masked = np.empty(num_actions)
    for row in range(logits.shape[0]):
        _open_node(tree, row, ROOT, NO_PARENT, NO_PARENT, False, 0.0, values[row])
        tree.states[row, ROOT, :] = states[row]
        probs = tree.probs[row, ROOT]
        if noise_fraction > 0.0:
            _softmax_into(probs, logits[row], num_actions)
            dirichlet_into(noise, alpha, seed, counters[row])
        for action in range(num_actions):
            if not legal[row, action]:
                masked[action] = -np.inf
            elif noise_fraction > 0.0:
                mixed = (1.0 - noise_fraction) * probs[action] + noise_fraction * noise[action]
                masked[action] = math.log(max(mixed, _TINY))
            else:
                masked[action] = logits[row, action]
        _softmax_into(probs, masked, num_actions)


@njit(nogil=True, cache=True)
def descend(tree, leaves, legal, num_outcomes, exploration, sample_chance, seed, counters, simulation):  # type: ignore[no-untyped-def]
    """Walk every tree to an edge that has no child yet; returns the number of rows that need an afterstate."""
    batch = legal.shape[0]
    front = 0
    back = batch
    for row in range(batch):
        node = ROOT
        while True:
            if not tree.is_chance[row, node]:
                edge = _select_action(tree, row, node, exploration, legal)
            elif sample_chance:
                depth = np.uint64(tree.depths[row, node])
                draw = uniform(seed, counters[row], np.uint64(simulation), depth, STREAM_CHANCE)
                edge = _sampled_outcome(tree, row, node, num_outcomes, draw)
            else:
                edge = _quota_outcome(tree, row, node, num_outcomes)
            child = tree.children[row, node, edge]
            if child == UNVISITED:
                break
            node = child
        if tree.is_chance[row, node]:
            back -= 1
            slot = back
            leaves.decisions[slot] = tree.parents[row, node]
            leaves.actions[slot] = tree.edges[row, node]
        else:
            slot = front
            front += 1
            leaves.decisions[slot] = node
            leaves.actions[slot] = edge
        leaves.rows[slot] = row
        leaves.parents[slot] = node
        leaves.edges[slot] = edge
    return front


@njit(nogil=True, cache=True)
def graft_chance(tree, leaves, begin, node, logits, values, discount):  # type: ignore[no-untyped-def]
    """Add chance nodes from leaves[begin:] and back their values up; returns the first bad entry or -1."""
    for i in range(logits.shape[0]):
        row = leaves.rows[begin + i]
        if not (math.isfinite(values[i]) and _softmax_into(tree.probs[row, node], logits[i], logits.shape[1])):
            return i
        _open_node(tree, row, node, leaves.parents[begin + i], leaves.edges[begin + i], True, 0.0, values[i])
        _backup(tree, row, node, discount)
    return -1


@njit(nogil=True, cache=True)
def graft_decision(tree, leaves, begin, node, states, rewards, logits, values, discount):  # type: ignore[no-untyped-def]
    """Add decision nodes from leaves[begin:] and back their values up; returns the first bad entry or -1."""
    for i in range(logits.shape[0]):
        row = leaves.rows[begin + i]
        finite = math.isfinite(values[i]) and math.isfinite(rewards[i])
        for j in range(states.shape[1]):
            finite = finite and math.isfinite(states[i, j])
            tree.states[row, node, j] = states[i, j]
        if not (finite and _softmax_into(tree.probs[row, node], logits[i], logits.shape[1])):
            return i
        parent, edge = leaves.parents[begin + i], leaves.edges[begin + i]
        _open_node(tree, row, node, parent, edge, False, rewards[i], values[i])
        _backup(tree, row, node, discount)
    return -1


@njit(nogil=True, cache=True)
def harvest(tree, visits, q_values, max_depth):  # type: ignore[no-untyped-def]
    """Read the root's edges and the greatest depth of each row into ``visits, q_values`` (B, A), ``max_depth`` (B,)."""
    for row in range(visits.shape[0]):
        for action in range(visits.shape[1]):
            child = tree.children[row, ROOT, action]
            visits[row, action] = 0 if child == UNVISITED else tree.visits[row, child]
            q_values[row, action] = 0.0 if child == UNVISITED else tree.rewards[row, child] + tree.values[row, child]
        deepest = 0
        for node in range(tree.depths.shape[1]):
            deepest = max(deepest, tree.depths[row, node])
        max_depth[row] = deepest

"""How trees grow: a new node at the end of a way, and what it tells the nodes above it.

With ``backup="mean"`` a node's value is the mean of its simulations, as in mctx. That mean counts every action that was
only tried, and at a chance node of a few visits the outcomes that happened to come first. With ``backup="expected"``
it is (raw + n * expectation) / (n + 1): the model's own value of the node counts as one visit, the n visits of its
children as one expectation each, over the outcomes by their probabilities or over the actions by the improved policy.
The improved policy is that of Danihelka et al. 2022, so its settings matter then under pUCT too.
"""

import math

import numpy as np
from numba import njit

from fx_pipeline.search.gumbel import improved_policy_into
from fx_pipeline.search.tree import ROOT, UNKNOWN_PRIOR, UNVISITED, open_node, softmax_into

_EXPONENT = np.int32(0x7F800000)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _back_up(tree, row, leaf, rules):  # type: ignore[no-untyped-def]
    """Carry the leaf's value to the root; decision -> afterstate is undiscounted and without reward."""
    value = tree.values[row, leaf]
    node = leaf
    while node != ROOT:
        parent = tree.parents[row, node]
        count = tree.visits[row, parent]
        tree.visits[row, parent] = count + 1
        if rules.expects:
            if tree.is_chance[row, parent]:
                value = _value_over_outcomes(tree, row, parent, rules)
            else:
                value = _value_over_actions(tree, row, parent, rules)
            tree.values[row, parent] = value
        else:
            edge_discount = 1.0 if tree.is_chance[row, node] else rules.discount
            value = tree.rewards[row, node] + edge_discount * value
            tree.values[row, parent] = (tree.values[row, parent] * count + value) / (count + 1.0)
        node = parent


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _value_over_outcomes(tree, row, node, rules):  # type: ignore[no-untyped-def]
    expectation = 0.0
    raw = tree.raw_values[row, node]
    for outcome in range(rules.num_outcomes):
        probability = tree.probs[row, node, outcome]
        child = tree.children[row, node, outcome]
        if child != UNVISITED:
            expectation += probability * (tree.rewards[row, child] + rules.discount * tree.values[row, child])
        elif probability > 0.0:
            # Some outcomes without the others would say what the market does, not what the action is worth.
            return raw
    visits = tree.visits[row, node] - 1
    return (raw + visits * expectation) / (visits + 1.0)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _value_over_actions(tree, row, node, rules):  # type: ignore[no-untyped-def]
    policy = tree.policies[row, node]
    improved_policy_into(policy, tree, row, node, rules.num_actions, rules)
    expectation, total = 0.0, 0.0
    for action in range(rules.num_actions):
        child = tree.children[row, node, action]
        if child != UNVISITED:
            q = tree.rewards[row, child] + rules.action_discount * tree.values[row, child]
            expectation += policy[action] * q
            total += policy[action]
    raw = tree.raw_values[row, node]
    if total <= 0.0:
        return raw
    visits = tree.visits[row, node] - 1
    return (raw + visits * expectation / total) / (visits + 1.0)


@njit(nogil=True, cache=True, error_model="numpy")
def graft_chance(tree, leaves, begin, node, logits, values, rules):  # type: ignore[no-untyped-def]
    """Add chance nodes from leaves[begin:] and back their values up; returns the first bad entry or -1."""
    for i in range(logits.shape[0]):
        row = leaves.rows[begin + i]
        if not (math.isfinite(values[i]) and softmax_into(tree.probs[row, node], logits[i], logits.shape[1])):
            return i
        open_node(tree, row, node, leaves.parents[begin + i], leaves.edges[begin + i], True, 0.0, values[i])
        _back_up(tree, row, node, rules)
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def graft_decision(tree, leaves, begin, node, states, rewards, logits, values, rules):  # type: ignore[no-untyped-def]
    """Add decision nodes from leaves[begin:] and back their values up; returns the first bad entry or -1.

    With ``logits`` (B, 0) they have no priors until `descent.choose_first` gives them some: half of the decision nodes
    are never visited again, and need none.
    """
    bits = states.view(np.int32)
    for i in range(values.shape[0]):
        row = leaves.rows[begin + i]
        # NaN and infinity have all bits of the exponent; a loop over integers takes sixteen at a time.
        broken = 0
        for j in range(states.shape[1]):
            broken |= (bits[i, j] & _EXPONENT) == _EXPONENT
            tree.states[row, node, j] = states[i, j]
        finite = broken == 0 and math.isfinite(values[i]) and math.isfinite(rewards[i])
        if logits.shape[1] == 0:
            tree.probs[row, node, 0] = UNKNOWN_PRIOR
        elif finite:
            finite = softmax_into(tree.probs[row, node], logits[i], logits.shape[1])
        if not finite:
            return i
        parent, edge = leaves.parents[begin + i], leaves.edges[begin + i]
        open_node(tree, row, node, parent, edge, False, rewards[i], values[i])
        _back_up(tree, row, node, rules)
    return -1

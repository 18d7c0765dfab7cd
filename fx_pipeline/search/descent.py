"""The way down the trees to the edges that the next nodes belong to, and what a search leaves at the roots.

mctx adds noise below 1e-7 to break ties between pUCT scores; here the first of equals wins, so that a search needs no
random number to be exact.

The choice at a node is inlined by force, with settings in plain variables: calls that pass the tree on cost more than
the choice itself.
"""

import numpy as np
from numba import njit

from fx_pipeline.search.gumbel import choose_action, improved_policy_into, select_interior_action, select_root_action
from fx_pipeline.search.random import STREAM_CHANCE, uniform
from fx_pipeline.search.tree import MIN_VALUE_RANGE, ROOT, UNKNOWN_ACTION, UNKNOWN_PRIOR, UNVISITED, softmax_into


@njit(nogil=True, cache=True, forceinline=True)
def _select_by_puct(tree, row, node, legal, exploration, action_discount):  # type: ignore[no-untyped-def]
    """The action with the greatest pUCT score; Q is normalised by the node's and its children's least and greatest."""
    num_actions = legal.shape[1]
    lowest = tree.values[row, node]
    highest = lowest
    for action in range(num_actions):
        child = tree.children[row, node, action]
        if child != UNVISITED:
            q = tree.rewards[row, child] + action_discount * tree.values[row, child]
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
            q = tree.rewards[row, child] + action_discount * tree.values[row, child]
            value_score = (q - lowest) / span
        score = value_score + weight * tree.probs[row, node, action] / (count + 1)
        if best < 0 or score > best_score:
            best = action
            best_score = score
    return best


@njit(nogil=True, cache=True, forceinline=True)
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


@njit(nogil=True, cache=True, forceinline=True)
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
def descend(tree, leaves, legal, rules, counters, simulation):  # type: ignore[no-untyped-def]
    """Walk every tree to an edge that has no child yet; returns the number of rows that need an afterstate.

    A way that comes to a decision node without priors (see `growth.graft_decision`) ends there: it needs an afterstate
    too, and `choose_first` its action.
    """
    batch = legal.shape[0]
    num_outcomes, samples_chance, uses_gumbel = rules.num_outcomes, rules.samples_chance, rules.uses_gumbel
    exploration, action_discount, seed = rules.exploration, rules.action_discount, rules.seed
    front = 0
    back = batch
    for row in range(batch):
        node = ROOT
        while True:
            if tree.is_chance[row, node]:
                if samples_chance:
                    depth = np.uint64(tree.depths[row, node])
                    draw = uniform(seed, counters[row], np.uint64(simulation), depth, STREAM_CHANCE)
                    edge = _sampled_outcome(tree, row, node, num_outcomes, draw)
                else:
                    edge = _quota_outcome(tree, row, node, num_outcomes)
            elif tree.probs[row, node, 0] == UNKNOWN_PRIOR:
                edge = UNKNOWN_ACTION
                break
            elif not uses_gumbel:
                edge = _select_by_puct(tree, row, node, legal, exploration, action_discount)
            elif node == ROOT:
                edge = select_root_action(tree, row, legal, rules)
            else:
                edge = select_interior_action(tree, row, node, legal.shape[1], rules)
            child = tree.children[row, node, edge]
            if child == UNVISITED:
                break
            node = child
        decision, action = node, edge
        if tree.is_chance[row, node]:
            decision, action = tree.parents[row, node], tree.edges[row, node]
        if tree.is_chance[row, node] or num_outcomes == 0:
            back -= 1
            slot = back
        else:
            slot = front
            front += 1
        leaves.decisions[slot] = decision
        leaves.actions[slot] = action
        leaves.rows[slot] = row
        leaves.parents[slot] = node
        leaves.edges[slot] = edge
    return front


@njit(nogil=True, cache=True)
def choose_first(tree, leaves, count, logits, legal, rules):  # type: ignore[no-untyped-def]
    """Give the nodes without priors among the first `count` leaves theirs, from ``logits`` (U, A) in the order of the
    leaves, and choose each one's first action; False if a logit is not finite."""
    known = 0
    for i in range(count):
        if leaves.actions[i] == UNKNOWN_ACTION:
            row, node = leaves.rows[i], leaves.parents[i]
            if not softmax_into(tree.probs[row, node], logits[known], logits.shape[1]):
                return False
            if rules.uses_gumbel:
                edge = select_interior_action(tree, row, node, legal.shape[1], rules)
            else:
                edge = _select_by_puct(tree, row, node, legal, rules.exploration, rules.action_discount)
            leaves.actions[i] = edge
            leaves.edges[i] = edge
            known += 1
    return True


@njit(nogil=True, cache=True)
def harvest(tree, legal, rules, visits, q_values, max_depth, policy, actions):  # type: ignore[no-untyped-def]
    """Read each row's root into the arrays of a `SearchResult`: (B, A) and, ``max_depth, actions``, (B,)."""
    num_actions = legal.shape[1]
    for row in range(legal.shape[0]):
        most_visited = 0
        for action in range(num_actions):
            child = tree.children[row, ROOT, action]
            visits[row, action] = 0
            q_values[row, action] = 0.0
            if child != UNVISITED:
                visits[row, action] = tree.visits[row, child]
                q_values[row, action] = tree.rewards[row, child] + rules.action_discount * tree.values[row, child]
            policy[row, action] = visits[row, action] / rules.simulations
            if visits[row, action] > visits[row, most_visited]:
                most_visited = action
        actions[row] = most_visited
        if rules.uses_gumbel:
            improved_policy_into(policy[row], tree, row, ROOT, num_actions, rules)
            actions[row] = choose_action(tree, row, legal, rules)
        deepest = 0
        for node in range(rules.simulations + 1):
            deepest = max(deepest, tree.depths[row, node])
        max_depth[row] = deepest

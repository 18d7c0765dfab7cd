"""Choice by Gumbel noise and completed Q: Danihelka et al. 2022, "Policy improvement by planning with Gumbel".

https://openreview.net/forum?id=bERaNdoegnO. Sequential halving at the root, the deterministic choice of the paper's
section 5 below it, as in `mctx.gumbel_muzero_policy`.

Kernels here and in `growth` divide by numpy's rules. All divisors are positive; but where a division could raise, numba
counts references to every array of the tree, which takes longer than the rest.
"""

import math

import numpy as np
from numba import njit

from fx_pipeline.search.tree import MIN_VALUE_RANGE, ROOT, TINY, UNVISITED

# Below any score, above minus infinity: an action that is considered alone is visited whatever its logit.
_LOWEST_SCORE = -1e9


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _completed_q_into(out, tree, row, node, num_actions, rules):  # type: ignore[no-untyped-def]
    """Write sigma(completed Q) to out[:A]: an unvisited action has the mixed value of the paper's appendix D."""
    total_visits, most_visits = 0, 0
    total_prob, weighted = 0.0, 0.0
    for action in range(num_actions):
        child = tree.children[row, node, action]
        if child != UNVISITED:
            count = tree.visits[row, child]
            prob = max(tree.probs[row, node, action], TINY)
            q = tree.rewards[row, child] + rules.action_discount * tree.values[row, child]
            out[action] = q
            total_visits += count
            most_visits = max(most_visits, count)
            total_prob += prob
            weighted += prob * q
    mixed = tree.raw_values[row, node]
    if total_visits > 0:
        mixed = (mixed + total_visits * (weighted / total_prob)) / (total_visits + 1)
    lowest, highest = np.inf, -np.inf
    for action in range(num_actions):
        if tree.children[row, node, action] == UNVISITED:
            out[action] = mixed
        lowest = min(lowest, out[action])
        highest = max(highest, out[action])
    scale = rules.value_scale * (rules.maxvisit_init + most_visits)
    if rules.rescales:
        scale /= max(highest - lowest, MIN_VALUE_RANGE)
    for action in range(num_actions):
        out[action] = scale * (out[action] - lowest)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def improved_policy_into(out, tree, row, node, num_actions, rules):  # type: ignore[no-untyped-def]
    """Write softmax(logits + sigma(completed Q)) to out[:A]."""
    _completed_q_into(out, tree, row, node, num_actions, rules)
    probs = tree.probs[row, node]
    greatest = -np.inf
    for action in range(num_actions):
        # Impossible actions must not set the scale, or all others could underflow.
        if probs[action] > 0.0:
            greatest = max(greatest, out[action])
    total = 0.0
    for action in range(num_actions):
        out[action] = probs[action] * math.exp(out[action] - greatest) if probs[action] > 0.0 else 0.0
        total += out[action]
    for action in range(num_actions):
        out[action] /= total


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def _best_considered(tree, row, legal, visits, rules):  # type: ignore[no-untyped-def]
    """The legal action of the root with the greatest Gumbel + logit + sigma(completed Q) of those visited so often."""
    num_actions = legal.shape[1]
    scores = tree.scratch
    _completed_q_into(scores, tree, row, ROOT, num_actions, rules)
    best = -1
    best_score = -np.inf
    for action in range(num_actions):
        child = tree.children[row, ROOT, action]
        count = 0 if child == UNVISITED else tree.visits[row, child]
        if legal[row, action] and count == visits:
            score = max(_LOWEST_SCORE, tree.root_scores[row, action] + scores[action])
            if score > best_score:
                best = action
                best_score = score
    return best


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def select_root_action(tree, row, legal, rules):  # type: ignore[no-untyped-def]
    """The root's next action by sequential halving."""
    num_legal = 0
    for action in range(legal.shape[1]):
        num_legal += legal[row, action]
    considered = min(num_legal, rules.considered_visits.shape[0] - 1)
    # The root counts itself, so its visits are one more than the simulations done.
    visits = rules.considered_visits[considered, tree.visits[row, ROOT] - 1]
    return _best_considered(tree, row, legal, visits, rules)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def choose_action(tree, row, legal, rules):  # type: ignore[no-untyped-def]
    """The action to take after the search: the best of the most visited."""
    most = 0
    for action in range(legal.shape[1]):
        child = tree.children[row, ROOT, action]
        if child != UNVISITED:
            most = max(most, tree.visits[row, child])
    return _best_considered(tree, row, legal, most, rules)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def select_interior_action(tree, row, node, num_actions, rules):  # type: ignore[no-untyped-def]
    """The action whose share of visits is furthest behind the improved policy."""
    policy = tree.policies[row, node]
    # Backups of expectations have left it there, unless none has passed yet.
    if not rules.expects or tree.visits[row, node] == 1:
        improved_policy_into(policy, tree, row, node, num_actions, rules)
    # A node's visits are one more than those of its actions together.
    denominator = tree.visits[row, node]
    best = 0
    best_score = -np.inf
    for action in range(num_actions):
        child = tree.children[row, node, action]
        count = 0 if child == UNVISITED else tree.visits[row, child]
        score = policy[action] - count / denominator
        if score > best_score:
            best = action
            best_score = score
    return best

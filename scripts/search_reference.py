"""The searches of `fx_pipeline.search` in plain Python, one tree at a time: a second opinion for the golden trees."""

import math
from typing import Any, NamedTuple

import numpy as np

ACTIONS, OUTCOMES = 4, 3
PB_C_INIT, PB_C_BASE = 1.25, 19652.0

Model = dict[str, Any]


class Grown(NamedTuple):
    """Visit counts (A,), policy target (A,) and choice of a search, and the least margins of its choices."""

    visits: np.ndarray
    policy: np.ndarray
    action: int
    action_margin: float
    outcome_margin: float


class Node:
    """A node of the tree; ``key`` is the state, or (state, action) at a chance node."""

    def __init__(self, key: Any, probs: np.ndarray, value: float, reward: float, discount: float) -> None:
        self.key, self.probs, self.value, self.raw_value = key, probs, value, value
        self.reward, self.discount = reward, discount
        self.visits = 1
        self.children: dict[int, Node] = {}

    def counts(self) -> np.ndarray:
        return np.array([self.children[i].visits if i in self.children else 0 for i in range(len(self.probs))])

    def q_values(self) -> dict[int, float]:
        return {i: child.reward + child.discount * child.value for i, child in self.children.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def puct_scores(node: Node) -> np.ndarray:
    q = node.q_values()
    low, high = min([node.value, *q.values()]), max([node.value, *q.values()])
    weight = math.sqrt(node.visits) * (PB_C_INIT + math.log((node.visits + PB_C_BASE + 1) / PB_C_BASE))
    scores = weight * node.probs / (node.counts() + 1)
    for i, value in q.items():
        scores[i] += (value - low) / max(high - low, 1e-8)
    return scores


def completed_q(node: Node) -> np.ndarray:
    q, visits = node.q_values(), node.visits - 1
    mixed = node.raw_value
    if q:
        probs = {i: max(node.probs[i], np.finfo(np.float64).tiny) for i in q}
        mixed = (mixed + visits * sum(probs[i] * q[i] for i in q) / sum(probs.values())) / (visits + 1)
    completed = np.array([q.get(i, mixed) for i in range(len(node.probs))])
    rescaled = (completed - completed.min()) / max(completed.max() - completed.min(), 1e-8)
    return 0.1 * (50 + node.counts().max()) * rescaled


def improved_policy(node: Node) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return softmax(np.log(node.probs) + completed_q(node))


def halving_schedule(considered: int, simulations: int) -> list[int]:
    """The visit count that each simulation's action must have, phase by phase."""
    if considered == 1:
        return list(range(simulations))
    schedule: list[int] = []
    phases, visits, remaining = math.ceil(math.log2(considered)), 0, considered
    while len(schedule) < simulations:
        for _ in range(max(1, simulations // (phases * remaining))):
            schedule += [visits] * remaining
            visits += 1
        remaining = max(2, remaining // 2)
    return schedule[:simulations]


def grow_in_python(
    model: Model,
    state: int,
    logits: np.ndarray,
    legal: np.ndarray,
    simulations: int,
    *,
    stochastic: bool,
    gumbel: np.ndarray | None,
    considered: int,
) -> Grown:
    """Search from ``state``; ``gumbel`` (A,) is the noise of Gumbel selection, None for pUCT."""
    margins = {True: math.inf, False: math.inf}

    def take_best(scores: np.ndarray, is_chance: bool) -> int:
        best = int(np.argmax(scores))
        margins[is_chance] = min(margins[is_chance], float(scores[best] - np.delete(scores, best).max()))
        return best

    def root_scores(root: Node, visits: int) -> np.ndarray:
        fits = legal & (root.counts() == visits)
        return np.where(fits, gumbel + np.where(legal, logits, 0.0) + completed_q(root), -np.inf)

    root = Node(state, softmax(np.where(legal, logits, -np.inf)), float(model["values"][state]), 0.0, 1.0)
    schedule = halving_schedule(min(considered, int(legal.sum())), simulations)
    for simulation in range(simulations):
        path = [root]
        while True:
            node = path[-1]
            is_chance = isinstance(node.key, tuple)
            if is_chance:
                scores = node.probs / (node.counts() + 1)
            elif gumbel is None:
                scores = np.where(legal, puct_scores(node), -np.inf) if node is root else puct_scores(node)
            elif node is root:
                scores = root_scores(root, schedule[simulation])
            else:
                scores = improved_policy(node) - node.counts() / node.visits
            edge = take_best(scores, is_chance)
            if edge not in node.children:
                break
            path.append(node.children[edge])
        if is_chance or not stochastic:
            before, action, outcome = (*node.key, edge) if is_chance else (node.key, edge, 0)
            after = int(model["next_states"][before, action, outcome])
            probs, value = softmax(model["prior_logits"][after].astype(np.float64)), float(model["values"][after])
            child = Node(after, probs, value, float(model["rewards"][before, action, outcome]), model["discount"])
        else:
            probs = softmax(model["chance_logits"][node.key, edge].astype(np.float64))
            child = Node((node.key, edge), probs, float(model["afterstate_values"][node.key, edge]), 0.0, 1.0)
        node.children[edge] = child
        backed_up = child.value
        for lower, upper in zip([child, *reversed(path[1:])], reversed(path), strict=True):
            backed_up = lower.reward + lower.discount * backed_up
            upper.value = (upper.value * upper.visits + backed_up) / (upper.visits + 1)
            upper.visits += 1
    visits = root.counts()
    if gumbel is None:
        return Grown(visits, visits / simulations, int(visits.argmax()), margins[False], margins[True])
    action = take_best(root_scores(root, int(visits.max())), is_chance=False)
    return Grown(visits, improved_policy(root), action, margins[False], margins[True])

"""How long the tree takes by itself: a search whose networks answer from a table."""

import time
from typing import Any

import numpy as np
from numba import njit

from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.engine.search import allocate_trees, grow
from fx_pipeline.environment.actions import NUM_ACTIONS, NUM_OUTCOMES
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.search import growth
from fx_pipeline.search import tree as trees
from fx_pipeline.search.descent import choose_first, descend, harvest
from fx_pipeline.search.rules import make_rules


@njit(nogil=True, cache=True)
def _grow_without_networks(room, rules, legal, counters, logits, chance_logits, numbers, states):  # type: ignore[no-untyped-def]
    batch = len(legal)
    tree, leaves = room.tree, room.leaves
    trees.plant_roots(tree, states[:batch], logits[:batch], numbers[:batch], legal, rules, counters)
    for simulation in range(rules.simulations):
        split = descend(tree, leaves, legal, rules, counters, simulation)
        first, last = simulation * batch, simulation * batch + split
        choose_first(tree, leaves, split, logits[first:last], legal, rules)
        growth.graft_chance(tree, leaves, 0, simulation + 1, chance_logits[first:last], numbers[first:last], rules)
        first, last = last, (simulation + 1) * batch
        growth.graft_decision(
            tree, leaves, split, simulation + 1, states[: last - first], numbers[first:last], logits[first:last, :0],
            numbers[first:last], rules,
        )  # fmt: skip
    harvest(tree, legal, rules, room.visits, room.q_values, room.depths, room.policy, room.actions)


def tree_time(engine: Engine, seen: Observation, rounds: int) -> float:
    """Least seconds of a search of the tree alone."""
    rows, search = len(seen.static), engine.search
    draw = np.random.default_rng(0)
    count = rows * search.simulations
    hidden = engine.networks.config.hidden_size
    room = allocate_trees(rows, search.simulations, hidden, NUM_ACTIONS)
    rules = make_rules(search, NUM_ACTIONS, NUM_OUTCOMES)
    arguments: tuple[Any, ...] = (
        room, rules, seen.legal, np.arange(rows, dtype=np.uint64), draw.normal(0, 1, (count, NUM_ACTIONS)),
        draw.normal(0, 1, (count, NUM_OUTCOMES)), draw.normal(0, 1, count),
        draw.normal(0, 1, (rows, hidden)).astype(np.float32),
    )  # fmt: skip
    return _least(lambda: _grow_without_networks(*arguments), rounds)


def search_time(engine: Engine, seen: Observation, rounds: int) -> float:
    """Least seconds of a whole search from given states, with its networks and without the encoding of windows."""
    rows = len(seen.static)
    scratch, room = engine.room(0)
    room.states[:rows] = np.random.default_rng(0).normal(0, 1, (rows, room.states.shape[1]))
    rules = make_rules(engine.search, NUM_ACTIONS, NUM_OUTCOMES)
    counters = np.arange(rows, dtype=np.uint64)
    return _least(lambda: grow(engine.packed, scratch, room, rules, seen.legal, counters), rounds)


def _least(run: Any, rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times[1:])

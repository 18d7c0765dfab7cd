"""Leaves whose node has no priors yet."""

import numpy as np
import pytest

from fx_pipeline.search import SearchConfig
from fx_pipeline.search import tree as trees
from fx_pipeline.search.descent import choose_first, descend
from fx_pipeline.search.rules import make_rules


@pytest.mark.parametrize("root", ["puct", "gumbel"])
@pytest.mark.parametrize("greatest", [0.0, np.nan, np.inf])
def test_the_first_action_waits_for_the_policy_and_refuses_one_that_is_not_finite(root: str, greatest: float) -> None:
    rules = make_rules(SearchConfig(simulations=4, root_action_selection=root), 4, 3)
    tree, leaves = trees.allocate_tree(2, 5, 4, 1), trees.allocate_leaves(2)
    legal, counters = np.ones((2, 4), dtype=np.bool_), np.arange(2, dtype=np.uint64)
    # Row 0 is at its root, which has priors; row 1 has been down its one action, to a node that has none.
    legal[1, [0, 1, 3]] = False
    trees.plant_roots(tree, np.zeros((2, 1), np.float32), np.zeros((2, 4)), np.zeros(2), legal, rules, counters)
    trees.open_node(tree, 1, 1, trees.ROOT, 2, False, 0.0, 0.0)
    tree.probs[1, 1, 0] = trees.UNKNOWN_PRIOR
    tree.visits[1, trees.ROOT] = 2
    assert descend(tree, leaves, legal, rules, counters, 0) == 2
    assert leaves.parents.tolist() == [trees.ROOT, 1]
    assert leaves.actions[0] >= 0
    assert leaves.actions[1] == leaves.edges[1] == trees.UNKNOWN_ACTION
    first = leaves.actions[0]
    done = choose_first(tree, leaves, 2, np.array([[0.0, 3.0, 1.0, greatest]]), legal, rules)
    assert done == (greatest == 0.0)
    assert leaves.actions[0] == first
    if done:
        assert leaves.actions[1] == leaves.edges[1] == 1
        np.testing.assert_allclose(tree.probs[1, 1], np.exp([0, 3, 1, 0]) / np.exp([0, 3, 1, 0]).sum())

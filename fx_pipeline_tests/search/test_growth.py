"""Expected backups: every value of a tree is what its children, their probabilities and the improved policy say."""

import numpy as np
import pytest

from fx_pipeline.search import SearchConfig, StochasticSearch

ARGUMENTS = {"seed": 4, "counters": None, "noise": 1.0}
ROWS, ACTIONS, OUTCOMES = 12, 4, 3


def _children(tree, row, node, width):
    return [(edge, child) for edge, child in enumerate(tree.children[row, node, :width]) if child >= 0]


def _improved_policy(config, prior, q, visits, raw):
    """softmax(logits + sigma(completed Q)) of Danihelka et al., as in the paper's appendix D; nan is unvisited."""
    visited = ~np.isnan(q)
    mixed = raw
    if visited.any():
        weighted = (prior[visited] * q[visited]).sum() / prior[visited].sum()
        mixed = (raw + visits.sum() * weighted) / (1 + visits.sum())
    completed = np.where(visited, q, mixed)
    if config.rescale_values:
        completed = (completed - completed.min()) / max(np.ptp(completed), 1e-8)
    with np.errstate(divide="ignore"):
        scores = np.log(prior) + (config.maxvisit_init + visits.max()) * config.value_scale * completed
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def _value(tree, config, row, node, outcomes):
    """The value of a node from its children alone, all the way down."""
    raw, chance = tree.raw_values[row, node], tree.is_chance[row, node]
    width = outcomes if chance else ACTIONS
    children = _children(tree, row, node, width)
    if not children:
        return raw
    discount = config.discount if chance or outcomes == 0 else 1.0
    q, visits = np.full(width, np.nan), np.zeros(width)
    for edge, child in children:
        q[edge] = tree.rewards[row, child] + discount * _value(tree, config, row, child, outcomes)
        visits[edge] = tree.visits[row, child]
    weights = tree.probs[row, node, :width]
    if chance and (weights[np.isnan(q)] > 0).any():
        return raw
    if not chance:
        weights = _improved_policy(config, weights, q, visits, raw)
    visited = ~np.isnan(q)
    expectation = (weights[visited] * q[visited]).sum() / weights[visited].sum()
    return (raw + visits.sum() * expectation) / (1 + visits.sum())


@pytest.mark.parametrize("outcomes", [OUTCOMES, 0])
@pytest.mark.parametrize("selection", ["gumbel", "puct"])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("certain", [False, True])
def test_values_are_expectations_of_those_below(random_model, selection, rescale, outcomes, certain):
    config = SearchConfig(
        simulations=60, discount=0.9, root_action_selection=selection, rescale_values=rescale, backup="expected"
    )
    search = StochasticSearch(config, ACTIONS, outcomes)
    model = random_model(3, certain=certain)
    legal = np.random.default_rng(1).random((ROWS, ACTIONS)) < 0.7
    legal[:, 0] = True
    result = search.run(model.root(np.arange(ROWS)), legal, model, **ARGUMENTS)
    tree = search._tree
    for row in range(ROWS):
        assert result.values[row] == pytest.approx(_value(tree, config, row, 0, outcomes), abs=1e-10)
        for node in range(config.simulations + 1):
            edges = OUTCOMES if tree.is_chance[row, node] and outcomes else ACTIONS
            below = sum(tree.visits[row, child] for _, child in _children(tree, row, node, edges))
            assert tree.visits[row, node] == 1 + below


def test_an_action_that_was_only_tried_costs_the_expected_value_less(random_model):
    model = random_model(6, value_scale=0.0)
    model.prior_logits[:] = 0.0
    model.rewards[:] = np.array([0.0, -20.0, -20.0, -20.0])[None, :, None]
    root, legal = model.root(np.zeros(1, dtype=int)), np.ones((1, ACTIONS), dtype=bool)
    settings = {"root_action_selection": "gumbel", "discount": 0.5, "simulations": 100}
    mean = StochasticSearch(SearchConfig(**settings, backup="mean"), 4, 3).run(root, legal, model, **ARGUMENTS)
    expected = StochasticSearch(SearchConfig(**settings, backup="expected"), 4, 3).run(root, legal, model, **ARGUMENTS)
    # Holding for ever costs nothing: all that a value lacks to 0 is what trying the others has cost.
    assert mean.values[0] < expected.values[0] <= 0.0


def test_one_side_of_a_coin_is_not_the_value_of_tossing_it(random_model):
    """Two simulations reach the action and one outcome: the model's own value of the action stands."""
    model = random_model(6, value_scale=0.0)
    model.rewards[:] = np.array([100.0, 0.0, -100.0])
    legal = np.array([[True, False, False, False]])
    search = StochasticSearch(SearchConfig(simulations=2, backup="expected"), 4, 3)
    assert search.run(model.root(np.zeros(1, dtype=int)), legal, model, **ARGUMENTS).q_values[0, 0] == 0.0

"""Gumbel selection: sequential halving at the root, completed Q, and the improved policy."""

import numpy as np
import pytest
from scipy import stats

from fx_pipeline.search import RootOutput, SearchConfig, StochasticSearch, gumbel_noise
from fx_pipeline.search.rules import considered_visits

ARGUMENTS = {"seed": 4, "counters": None, "noise": 1.0}


def _search(**settings):
    return StochasticSearch(SearchConfig(root_action_selection="gumbel", **settings), 4, 3)


def test_noise_is_gumbel_and_each_row_has_its_own():
    noise = gumbel_noise(4, seed=3, counters=np.arange(2000))
    assert stats.kstest(noise.ravel(), stats.gumbel_r.cdf).pvalue > 0.01
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.06
    np.testing.assert_array_equal(noise[7:8], gumbel_noise(4, seed=3, counters=np.array([7])))
    assert not np.array_equal(noise, gumbel_noise(4, seed=4, counters=np.arange(2000)))


@pytest.mark.parametrize(
    ("considered", "simulations", "schedule"),
    [
        (0, 3, [0, 1, 2]),
        (1, 3, [0, 1, 2]),
        (2, 6, [0, 0, 1, 1, 2, 2]),
        (4, 8, [0, 0, 0, 0, 1, 1, 2, 2]),
        (3, 2, [0, 0]),
    ],
)
def test_schedule_of_sequential_halving(considered, simulations, schedule):
    assert considered_visits(considered, simulations) == schedule


@pytest.mark.parametrize("considered", [1, 2, 3])
def test_no_more_actions_are_tried_than_considered(random_model, considered):
    model = random_model(2)
    result = _search(max_num_considered_actions=considered).run(
        model.root(np.arange(20)), np.ones((20, 4), dtype=bool), model, **ARGUMENTS
    )
    assert ((result.visits > 0).sum(axis=1) == considered).all()
    most_visited = result.visits == result.visits.max(axis=1, keepdims=True)
    assert most_visited[np.arange(20), result.actions].all()


def test_choice_of_one_simulation_is_a_draw_from_the_prior(random_model):
    """Gumbel's maximum: without a value to tell actions apart, the noisy logits' argmax is a sample."""
    model = random_model(3, value_scale=0.0)
    count = 6000
    result = _search(simulations=1).run(
        model.root(np.zeros(count, dtype=int)), np.tile([True, True, True, False], (count, 1)), model, **ARGUMENTS
    )
    shares = np.bincount(result.actions, minlength=4) / count
    np.testing.assert_allclose(shares, result.prior_probs[0], atol=0.02)


def test_without_noise_the_search_is_the_same_for_every_seed(random_model):
    model = random_model(5)
    root, legal = model.root(np.zeros(2, dtype=int)), np.ones((2, 4), dtype=bool)
    quiet = ARGUMENTS | {"noise": 0.0}
    first = _search().run(root, legal, model, **quiet)
    other = _search().run(root, legal, model, **quiet | {"seed": 9, "counters": np.array([8, 1])})
    for left, right in zip(first, other, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(first.visits[0], first.visits[1])


def test_policy_target_moves_towards_the_better_action(random_model):
    model = random_model(6, value_scale=0.0)
    model.prior_logits[:] = 0.0
    model.rewards[:] = np.array([0.0, 1.0, -1.0, 0.0])[None, :, None]
    root, legal = model.root(np.arange(10)), np.ones((10, 4), dtype=bool)
    result = _search(discount=0.0).run(root, legal, model, **ARGUMENTS)
    assert (result.policy.argmax(axis=1) == 1).all()
    assert (result.policy[:, 1] > 0.5).all()
    assert (result.policy[:, 2] < 0.25).all()


def test_impossible_logits_inside_the_tree_leave_a_policy(random_model):
    """An action of probability 0 must not set the scale of the others, however great its completed Q is."""
    model = random_model(7)
    model.prior_logits[:] = [0.0, -np.inf, -800.0, -np.inf]
    root = model.root(np.arange(5))
    root = RootOutput(root.states, np.zeros((5, 4)), root.values)
    result = _search(maxvisit_init=50_000.0).run(root, np.ones((5, 4), dtype=bool), model, **ARGUMENTS)
    assert np.isfinite(result.policy).all()
    np.testing.assert_allclose(result.policy.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("rescale", [True, False])
def test_policy_target_weighs_q_as_the_settings_say(random_model, rescale):
    model = random_model(7)
    root, legal = model.root(np.arange(10)), np.tile([True, True, True, False], (10, 1))
    result = _search(value_scale=0.02, rescale_values=rescale).run(root, legal, model, **ARGUMENTS)
    assert (result.visits[:, :3] > 0).all(), "with a value of its own for each action, none is completed"
    q = result.q_values[:, :3]
    if rescale:
        # The completed value of the illegal action counts for the scale, as in mctx, so it is taken from mctx' formula.
        visits, prior = result.visits[:, :3], result.prior_probs[:, :3]
        mean_q = (prior * q).sum(axis=1) / prior.sum(axis=1)
        total = visits.sum(axis=1)
        mixed = (root.values + total * mean_q) / (total + 1)
        every = np.column_stack([q, mixed])
        lowest, highest = every.min(axis=1, keepdims=True), every.max(axis=1, keepdims=True)
        q = (q - lowest) / (highest - lowest)
    scale = 0.02 * (50.0 + result.visits.max(axis=1, keepdims=True))
    expected = result.prior_probs[:, :3] * np.exp(scale * (q - q.max(axis=1, keepdims=True)))
    np.testing.assert_allclose(result.policy[:, :3], expected / expected.sum(axis=1, keepdims=True), atol=1e-9)

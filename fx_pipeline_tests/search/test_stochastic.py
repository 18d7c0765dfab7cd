"""Properties that hold for every search, and the cases that have a simpler answer elsewhere."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.search import SearchConfig, StochasticSearch, dirichlet_noise

STATES = 40
masks = st.lists(st.booleans(), min_size=4, max_size=4).filter(any)


def _legal(batch, rng):
    legal = rng.random((batch, 4)) < 0.6
    legal[np.arange(batch), rng.integers(0, 4, batch)] = True
    return legal


def _assert_same(left, right):
    for field in left._fields:
        assert getattr(left, field).tobytes() == getattr(right, field).tobytes(), field


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    model_seed=st.integers(0, 1000),
    seed=st.integers(0, 2**64 - 1),
    simulations=st.integers(1, 60),
    legal=st.lists(masks, min_size=1, max_size=6),
    selection=st.sampled_from(["quota", "sample"]),
    root_selection=st.sampled_from(["puct", "gumbel"]),
    considered=st.integers(1, 5),
    outcomes=st.sampled_from([0, 1, 3]),
    noise=st.sampled_from([0.0, 0.3, 1.0]),
    value_scale=st.sampled_from([0.0, 1e-9, 1.0, 300.0]),
)
def test_visits_sum_to_simulations_and_never_touch_an_illegal_action(
    random_model,
    model_seed,
    seed,
    simulations,
    legal,
    selection,
    root_selection,
    considered,
    outcomes,
    noise,
    value_scale,
):
    model = random_model(model_seed, value_scale=value_scale)
    model.chance_logits = model.chance_logits[..., :outcomes]
    allowed = np.array(legal)
    root = model.root(np.arange(len(allowed)))
    config = SearchConfig(
        simulations=simulations,
        chance_selection=selection,
        root_action_selection=root_selection,
        max_num_considered_actions=considered,
    )
    search = StochasticSearch(config, 4, outcomes)
    result = search.run(root, allowed, model, seed=seed, counters=None, noise=noise)

    assert (result.visits.sum(axis=1) == simulations).all()
    assert (result.visits[~allowed] == 0).all()
    assert (result.prior_probs[~allowed] == 0.0).all()
    np.testing.assert_allclose(result.prior_probs.sum(axis=1), 1.0, rtol=1e-12)
    assert (result.policy[~allowed] == 0.0).all()
    np.testing.assert_allclose(result.policy.sum(axis=1), 1.0, rtol=1e-12)
    assert (result.visits[np.arange(len(allowed)), result.actions] == result.visits.max(axis=1)).all()
    assert np.isfinite(result.values).all() and np.isfinite(result.q_values).all()
    assert ((result.max_depth >= 1) & (result.max_depth <= simulations)).all()
    # The root's value is the mean over its own and the values backed up through its actions.
    backed_up = (result.visits * result.q_values).sum(axis=1)
    np.testing.assert_allclose(result.values, (root.values + backed_up) / (simulations + 1), rtol=1e-9, atol=1e-9)
    assert model.rows == simulations * len(allowed)
    assert model.calls <= 2 * simulations
    lowest, highest = _attainable_values(model, simulations, config.discount)
    found = np.concatenate([result.values, result.q_values[result.visits > 0]])
    slack = 1e-9 * (highest - lowest)
    assert lowest - slack <= found.min() and found.max() <= highest + slack


def _attainable_values(model, steps, discount):
    """Bounds of any value that `steps` rewards and one of the model's values can make."""
    values = np.concatenate([model.values, model.afterstate_values.ravel()])
    lowest, highest = values.min(), values.max()
    low, high = lowest, highest
    for _ in range(steps):
        low = min(low, model.rewards.min() + discount * low)
        high = max(high, model.rewards.max() + discount * high)
    return low, high


@pytest.mark.parametrize("root_selection", ["puct", "gumbel"])
@pytest.mark.parametrize("selection", ["quota", "sample"])
def test_what_has_no_probability_is_never_tried(random_model, selection, root_selection):
    """Neither an outcome nor, inside the tree, an action; of outcomes of equal value the possible ones are taken."""
    rng = np.random.default_rng(12)
    model = random_model(12)
    model.chance_logits[rng.random(model.chance_logits.shape) < 0.5] = -np.inf
    model.chance_logits[..., 1] = 0.0
    model.prior_logits[rng.random(model.prior_logits.shape) < 0.5] = -np.inf
    model.prior_logits[:, 2] = 0.0
    afterstate, dynamics = model.afterstate, model.dynamics

    def checked_afterstate(states, actions):
        assert np.isfinite(model.prior_logits[states[:, 0].astype(int), actions]).all()
        return afterstate(states, actions)

    def checked_dynamics(states, actions, outcomes):
        assert np.isfinite(model.chance_logits[states[:, 0].astype(int), actions, outcomes]).all()
        return dynamics(states, actions, outcomes)

    model.afterstate, model.dynamics = checked_afterstate, checked_dynamics
    states = np.arange(STATES)
    legal = np.isfinite(model.prior_logits)
    root = model.root(states)._replace(prior_logits=np.where(legal, model.prior_logits, 0.0))
    config = SearchConfig(simulations=60, chance_selection=selection, root_action_selection=root_selection)
    result = StochasticSearch(config, 4, 3).run(root, legal, model, seed=1, counters=None, noise=1.0)
    assert (result.visits.sum(axis=1) == 60).all()


@pytest.mark.parametrize("root_selection", ["puct", "gumbel"])
@pytest.mark.parametrize("selection", ["quota", "sample"])
def test_a_batch_of_64_equals_64_single_searches_in_any_order(random_model, selection, root_selection):
    rng = np.random.default_rng(3)
    model = random_model(3)
    states = rng.integers(0, STATES, 64)
    legal = _legal(64, rng)
    counters = rng.integers(0, 2**62, 64).astype(np.uint64)
    config = SearchConfig(chance_selection=selection, root_action_selection=root_selection)
    whole = StochasticSearch(config, 4, 3).run(model.root(states), legal, model, seed=11, counters=counters, noise=1.0)
    single = StochasticSearch(config, 4, 3)
    for row in range(64):
        one = slice(row, row + 1)
        alone = single.run(model.root(states[one]), legal[one], model, seed=11, counters=counters[one], noise=1.0)
        _assert_same(alone, type(whole)(*(array[one] for array in whole)))
    order = rng.permutation(64)
    shuffled = single.run(model.root(states[order]), legal[order], model, seed=11, counters=counters[order], noise=1.0)
    _assert_same(shuffled, type(whole)(*(array[order] for array in whole)))


def test_twice_the_same_and_nothing_left_of_an_earlier_search(random_model):
    rng = np.random.default_rng(4)
    model, other = random_model(4), random_model(5)
    states, legal = rng.integers(0, STATES, 16), _legal(16, rng)
    used = StochasticSearch(SearchConfig(), 4, 3)
    arguments = {"seed": 2, "counters": None, "noise": 1.0}
    first = used.run(model.root(states), legal, model, **arguments)
    kept = [array.copy() for array in first]
    used.run(other.root(states[:5]), legal[:5], other, **arguments)
    used.run(other.root(np.arange(30)), _legal(30, rng), other, **arguments)
    again = used.run(model.root(states), legal, model, **arguments)
    _assert_same(first, again)
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    fresh = StochasticSearch(SearchConfig(), 4, 3).run(model.root(states), legal, model, **arguments)
    _assert_same(fresh, again)


def test_searches_side_by_side_in_threads_equal_those_in_turn(random_model):
    legal = np.ones((32, 4), dtype=bool)

    def search(seed):
        model = random_model(seed)
        root = model.root(np.arange(32))
        return StochasticSearch(SearchConfig(), 4, 3).run(root, legal, model, seed=seed, counters=None, noise=1.0)

    in_turn = [search(seed) for seed in range(8)]
    with ThreadPoolExecutor(2) as pool:
        for alone, beside in zip(in_turn, pool.map(search, range(8)), strict=True):
            _assert_same(alone, beside)


def test_seed_and_counter_both_change_the_noise_and_no_noise_needs_neither(random_model):
    model = random_model(6)
    root, legal = model.root(np.zeros(3, dtype=int)), np.ones((3, 4), dtype=bool)
    search = StochasticSearch(SearchConfig(), 4, 3)
    noisy = search.run(root, legal, model, seed=1, counters=None, noise=1.0).prior_probs
    assert not np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy, search.run(root, legal, model, seed=2, counters=None, noise=1.0).prior_probs)
    plain = search.run(root, legal, model, seed=1, counters=None, noise=0.0)
    _assert_same(plain, search.run(root, legal, model, seed=9, counters=np.array([7, 8, 9]), noise=0.0))
    assert np.array_equal(plain.visits[0], plain.visits[1])


def test_root_noise_is_mixed_as_in_mctx(random_model):
    model = random_model(7)
    root = model.root(np.arange(8))
    legal = np.tile([True, True, True, False], (8, 1))
    config = SearchConfig(dirichlet_alpha=0.5, dirichlet_fraction=0.4)
    counters = np.arange(100, 108)
    result = StochasticSearch(config, 4, 3).run(root, legal, model, seed=5, counters=counters, noise=1.0)
    probs = np.exp(root.prior_logits) / np.exp(root.prior_logits).sum(axis=1, keepdims=True)
    mixed = np.where(legal, 0.6 * probs + 0.4 * dirichlet_noise(0.5, 4, seed=5, counters=counters), 0.0)
    np.testing.assert_allclose(result.prior_probs, mixed / mixed.sum(axis=1, keepdims=True), rtol=1e-12)


def test_one_legal_action_takes_every_visit(random_model):
    model = random_model(8)
    legal = np.eye(4, dtype=bool)
    result = StochasticSearch(SearchConfig(), 4, 3).run(
        model.root(np.arange(4)), legal, model, seed=0, counters=None, noise=1.0
    )
    np.testing.assert_array_equal(result.visits, 25 * np.eye(4, dtype=np.int32))
    np.testing.assert_array_equal(result.prior_probs, np.eye(4))


def test_equal_scores_take_the_first_action(random_model):
    model = random_model(9, value_scale=0.0)
    model.prior_logits[:] = 0.0
    legal = np.array([[False, True, True, True]])
    result = StochasticSearch(SearchConfig(simulations=1), 4, 3).run(
        model.root(np.array([0])), legal, model, seed=0, counters=None, noise=0.0
    )
    np.testing.assert_array_equal(result.visits, [[0, 1, 0, 0]])


def test_policy_and_choice_of_puct_are_shares_and_most_of_the_visits(random_model):
    model = random_model(13)
    result = StochasticSearch(SearchConfig(), 4, 3).run(
        model.root(np.arange(20)), np.ones((20, 4), dtype=bool), model, seed=0, counters=None, noise=1.0
    )
    np.testing.assert_array_equal(result.policy, result.visits / 25)
    np.testing.assert_array_equal(result.actions, result.visits.argmax(axis=1))


def test_without_chance_nodes_no_afterstate_is_asked_for(random_model):
    model = random_model(14)
    model.afterstate = None
    model.chance_logits = model.chance_logits[..., :0]
    result = StochasticSearch(SearchConfig(), 4, 0).run(
        model.root(np.arange(5)), np.ones((5, 4), dtype=bool), model, seed=0, counters=None, noise=1.0
    )
    assert (result.visits.sum(axis=1) == 25).all()
    assert model.rows == 5 * 25


def _plain_muzero(model, state, legal, config):
    """Visits and value of plain MuZero in which the afterstate is an ordinary node with a single child."""
    nodes = [{"at": state, "value": model.values[state], "visits": 1, "children": {}, "reward": 0.0, "discount": 1.0}]
    for _ in range(config.simulations):
        path = [nodes[0]]
        while True:
            node = path[-1]
            if isinstance(node["at"], tuple):
                edge = int(np.argmax(model.chance_logits[node["at"]]))
            else:
                logits = model.prior_logits[node["at"]]
                if len(path) == 1:
                    logits = np.where(legal, logits, -np.inf)
                prior = np.exp(logits - logits.max())
                prior /= prior.sum()
                q = {a: c["reward"] + c["discount"] * c["value"] for a, c in node["children"].items()}
                low, high = min([node["value"], *q.values()]), max([node["value"], *q.values()])
                pb_c = config.pb_c_init + math.log((node["visits"] + config.pb_c_base + 1) / config.pb_c_base)
                scores = np.full(4, -np.inf)
                for action in range(4):
                    if len(path) > 1 or legal[action]:
                        child = node["children"].get(action)
                        scores[action] = math.sqrt(node["visits"]) * pb_c * prior[action]
                        scores[action] /= 1 + (child["visits"] if child else 0)
                        if child:
                            scores[action] += (q[action] - low) / max(high - low, 1e-8)
                edge = int(np.argmax(scores))
            if edge not in node["children"]:
                break
            path.append(node["children"][edge])
        child = {"visits": 1, "children": {}, "reward": 0.0, "discount": 1.0}
        if isinstance(node["at"], tuple):
            child["at"] = int(model.next_states[(*node["at"], edge)])
            child["value"] = model.values[child["at"]]
            child["reward"], child["discount"] = model.rewards[(*node["at"], edge)], config.discount
        else:
            child["at"] = (node["at"], edge)
            child["value"] = model.afterstate_values[child["at"]]
        node["children"][edge] = child
        path.append(child)
        value = child["value"]
        for parent, below in zip(path[-2::-1], path[:0:-1], strict=True):
            value = below["reward"] + below["discount"] * value
            parent["value"] = (parent["value"] * parent["visits"] + value) / (parent["visits"] + 1)
            parent["visits"] += 1
    children = nodes[0]["children"]
    return [children[a]["visits"] if a in children else 0 for a in range(4)], nodes[0]["value"]


@pytest.mark.parametrize("selection", ["quota", "sample"])
@pytest.mark.parametrize("model_seed", range(4))
def test_a_certain_outcome_makes_it_plain_muzero(random_model, model_seed, selection):
    rng = np.random.default_rng(model_seed)
    model = random_model(model_seed, certain=True)
    states, legal = rng.integers(0, STATES, 8), _legal(8, rng)
    config = SearchConfig(simulations=40, chance_selection=selection)
    result = StochasticSearch(config, 4, 3).run(model.root(states), legal, model, seed=1, counters=None, noise=0.0)
    for row in range(8):
        visits, value = _plain_muzero(model, int(states[row]), legal[row], config)
        np.testing.assert_array_equal(result.visits[row], visits)
        np.testing.assert_allclose(result.values[row], value, rtol=1e-12, atol=1e-12)


def test_sampled_outcomes_follow_their_probabilities_and_quota_keeps_to_them(random_model):
    """One action, whose afterstate leads to three states of known value: the action's value is their mean."""
    model = random_model(10, value_scale=0.0)
    model.chance_logits[:] = np.log([0.5, 0.0 + 1e-300, 0.5])
    model.rewards[:] = [1.0, 100.0, -1.0]
    legal = np.tile([True, False, False, False], (64, 1))
    root = model.root(np.zeros(64, dtype=int))
    # Deeper nodes would add their own rewards: a discount of 0 keeps the first step's alone.
    quota = StochasticSearch(SearchConfig(simulations=41, discount=0.0), 4, 3)
    sampled = StochasticSearch(SearchConfig(simulations=41, discount=0.0, chance_selection="sample"), 4, 3)
    arguments = {"seed": 3, "counters": None, "noise": 0.0}
    even = quota.run(root, legal, model, **arguments)
    spread = sampled.run(root, legal, model, **arguments)
    np.testing.assert_allclose(even.q_values[:, 0], 0.0, atol=1e-12)
    assert np.unique(spread.q_values[:, 0]).size > 5
    # 64 searches of 40 draws of +-1: a standard error of 0.02 in the mean.
    assert abs(spread.q_values[:, 0].mean()) < 0.08
    assert abs(spread.q_values[:, 0].std() - math.sqrt(40) / 41) < 0.05


def test_other_numbers_of_actions_and_outcomes(random_model):
    model = random_model(11)
    model.prior_logits = model.prior_logits[:, :2]
    model.chance_logits = np.concatenate([model.chance_logits, model.chance_logits], axis=-1)
    model.rewards = np.concatenate([model.rewards, model.rewards], axis=-1)
    model.next_states = np.concatenate([model.next_states, model.next_states], axis=-1)
    search = StochasticSearch(SearchConfig(), 2, 6)
    result = search.run(model.root(np.arange(5)), np.ones((5, 2), dtype=bool), model, seed=0, counters=None, noise=1.0)
    assert result.visits.shape == (5, 2)
    assert (result.visits.sum(axis=1) == 25).all()

"""What a search refuses: a wrong shape, no legal action, a number that is not finite."""

import numpy as np
import pytest

from fx_pipeline.search import RootOutput, SearchConfig, StochasticSearch

LEGAL = np.ones((3, 4), dtype=bool)


def _run(model, root=None, legal=LEGAL, **changes):
    arguments = {"seed": 0, "counters": None, "noise": 0.0} | changes
    return StochasticSearch(SearchConfig(), 4, 3).run(root or model.root(np.arange(3)), legal, model, **arguments)


@pytest.mark.parametrize("field", ["states", "prior_logits", "values"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_root_that_is_not_finite(random_model, field, bad):
    root = random_model(0).root(np.arange(3))
    array = getattr(root, field).copy()
    array[1] = bad
    with pytest.raises(ValueError, match=rf"root\.{field} is not finite in rows 1:"):
        _run(random_model(0), root._replace(**{field: array}))


@pytest.mark.parametrize(
    ("table", "bad", "match"),
    [
        ("chance_logits", np.nan, "afterstate gave"),
        ("chance_logits", np.inf, "afterstate gave"),
        ("chance_logits", -np.inf, "afterstate gave"),
        ("afterstate_values", np.nan, "afterstate gave"),
        ("afterstate_values", np.inf, "afterstate gave"),
        ("rewards", np.nan, "dynamics gave"),
        ("values", np.nan, "dynamics gave"),
        ("prior_logits", np.nan, "dynamics gave"),
        ("prior_logits", -np.inf, "dynamics gave"),
    ],
)
def test_model_output_that_is_not_finite(random_model, table, bad, match):
    model = random_model(1)
    root = model.root(np.arange(3))
    root = RootOutput(*(array.copy() for array in root))
    getattr(model, table)[:] = bad
    with pytest.raises(ValueError, match=match):
        _run(model, root)


def test_latent_state_that_is_not_finite(random_model):
    model = random_model(1)
    dynamics = model.dynamics

    def broken(states, actions, outcomes):
        output = dynamics(states, actions, outcomes)
        return output._replace(states=np.full_like(output.states, np.nan))

    model.dynamics = broken
    with pytest.raises(ValueError, match="dynamics gave a state"):
        _run(model)


def test_one_bad_row_is_named(random_model):
    model = random_model(1)
    root = model.root(np.array([5, 6, 7]))
    model.afterstate_values[6] = np.nan
    with pytest.raises(ValueError, match="root row 1 in simulation 1:"):
        _run(model, root)


def test_a_search_works_again_after_a_refusal(random_model):
    model, broken = random_model(2), random_model(2)
    broken.rewards[:] = np.nan
    search = StochasticSearch(SearchConfig(), 4, 3)
    arguments = {"seed": 0, "counters": None, "noise": 0.0}
    before = search.run(model.root(np.arange(3)), LEGAL, model, **arguments)
    with pytest.raises(ValueError, match="dynamics gave"):
        search.run(broken.root(np.arange(3)), LEGAL, broken, **arguments)
    after = search.run(model.root(np.arange(3)), LEGAL, model, **arguments)
    np.testing.assert_array_equal(before.values, after.values)


def test_row_without_a_legal_action(random_model):
    legal = LEGAL.copy()
    legal[2] = False
    with pytest.raises(ValueError, match="no legal action in rows 2"):
        _run(random_model(0), legal=legal)


def test_wrong_shapes_and_types(random_model):
    model = random_model(0)
    root = model.root(np.arange(3))
    with pytest.raises(ValueError, match=r"root\.states must have shape"):
        _run(model, root._replace(states=root.states[:, 0]))
    with pytest.raises(ValueError, match=r"root\.states must have shape"):
        _run(model, root._replace(states=root.states[:0]))
    with pytest.raises(ValueError, match=r"root\.prior_logits must have shape \(3, 4\)"):
        _run(model, root._replace(prior_logits=root.prior_logits[:, :3]))
    with pytest.raises(ValueError, match=r"root\.values must have shape \(3,\)"):
        _run(model, root._replace(values=root.values[:, None]))
    with pytest.raises(ValueError, match="legal must be bool"):
        _run(model, legal=LEGAL.astype(np.int64))
    with pytest.raises(ValueError, match="legal must be bool"):
        _run(model, legal=LEGAL[:2])
    with pytest.raises(ValueError, match="counters must have shape"):
        _run(model, counters=np.arange(2))
    with pytest.raises(ValueError, match="counters must not be negative"):
        _run(model, counters=np.array([0, -1, 2]))
    with pytest.raises(ValueError, match="counters must be integers"):
        _run(model, counters=np.array([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="seed"):
        _run(model, seed=-1)


@pytest.mark.parametrize("field", ["chance_logits", "values"])
def test_afterstate_of_a_wrong_shape(random_model, field):
    model = random_model(0)
    afterstate = model.afterstate
    model.afterstate = lambda s, a: (output := afterstate(s, a))._replace(**{field: getattr(output, field)[:-1]})
    with pytest.raises(ValueError, match=rf"evaluator\.afterstate {field} must have shape"):
        _run(model)


@pytest.mark.parametrize("field", ["states", "rewards", "prior_logits", "values"])
def test_dynamics_of_a_wrong_shape(random_model, field):
    model = random_model(0)
    dynamics = model.dynamics
    model.dynamics = lambda s, a, c: (output := dynamics(s, a, c))._replace(**{field: getattr(output, field)[:-1]})
    with pytest.raises(ValueError, match=rf"evaluator\.dynamics {field} must have shape"):
        _run(model)


@pytest.mark.parametrize(
    "setting",
    [
        {"simulations": 0},
        {"backup": "median"},
        {"pb_c_init": -1.0},
        {"pb_c_base": 0.0},
        {"discount": 1.1},
        {"discount": float("nan")},
        {"dirichlet_alpha": 0.0},
        {"dirichlet_fraction": 1.5},
        {"chance_selection": "greedy"},
        {"root_action_selection": "greedy"},
        {"max_num_considered_actions": 0},
        {"value_scale": -0.1},
        {"maxvisit_init": float("inf")},
    ],
)
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        SearchConfig(**setting)


def test_no_actions_or_fewer_than_no_outcomes():
    with pytest.raises(ValueError, match="num_actions must be at least 1"):
        StochasticSearch(SearchConfig(), 0, 3)
    with pytest.raises(ValueError, match="num_outcomes at least 0"):
        StochasticSearch(SearchConfig(), 4, -1)

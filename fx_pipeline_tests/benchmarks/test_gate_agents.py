"""The benchmark of the gate: its candidates, its plan and its arithmetic; and that it tells noise from an edge."""

import json
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import gate_agents as gate
from benchmarks import gate_candidates
from benchmarks.gate_agents import Outcome, Task, plan, run, summarise, upper_bound
from benchmarks.gate_candidates import (
    SignalRules,
    best_rule,
    fitted_rules,
    good_rules,
    make_world,
    own_network,
    random_traders,
    trained_networks,
    transferred_network,
)
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS
from fx_pipeline.validation.rollout import rollout

FREE = CostConfig(fixed_pips=0.0)


@pytest.fixture
def short(monkeypatch):
    """Spans of a few sessions."""
    monkeypatch.setattr(gate_candidates, "TRAIN_SESSIONS", 6)
    monkeypatch.setattr(gate_candidates, "VALID_SESSIONS", 40)


def observation(side, bar):
    static = np.zeros((1, 6), dtype=np.float32)
    static[0, 0] = side
    legal = np.array([[True, side == 0, side == 0, side != 0]])
    return Observation(np.zeros((1, 1, 9), dtype=np.float32), static, legal, np.array([bar]))


@pytest.mark.parametrize(
    ("side", "bar", "action"),
    [(0, 0, BUY), (0, 1, SELL), (0, 2, HOLD), (1, 0, HOLD), (1, 1, CLOSE), (1, 2, HOLD), (-1, 0, CLOSE), (-1, 2, HOLD)],
)
def test_a_rule_enters_with_a_strong_signal_and_leaves_when_it_has_turned(side, bar, action):
    rule = SignalRules(np.array([[0.5, -0.5, 0.1]]), np.array([0]), np.array([0.5]), np.array([-0.2]))
    assert rule.choose(observation(side, bar)).tolist() == [action]


def test_validation_begins_after_the_embargo_and_sessions_do_not_overlap(short):
    world = make_world("walk", 1, FREE)
    assert world.train_end == world.train[-1] + SESSION_BARS
    assert world.valid[0] >= world.train_end + MIN_EMBARGO_BARS
    assert (len(world.train), len(world.valid)) == (6, 40)
    assert all((np.diff(starts) >= SESSION_BARS).all() for starts in (world.train, world.valid))
    assert set(world.leaks.values()) == {0}


def test_rules_are_judged_together_as_each_would_be_alone(short):
    world = make_world("ou", 3, CostConfig(fixed_pips=4.0))
    signals = gate_candidates.feature_signals(world.market)
    draw = np.random.default_rng(1)
    enter = draw.uniform(0.2, 0.9, 5)
    many = SignalRules(signals, draw.integers(len(signals), size=5), enter, 0.5 * enter)
    fills = build_fills(world.market, world.costs)
    alone = [rollout(world.market, fills, world.train, many.one(rule, signals)).pnl_pips.sum() for rule in range(5)]
    assert best_rule(world.market, world.train, many, world.costs) == int(np.argmax(alone))


def test_candidates_are_seeded_and_seeds_of_a_configuration_differ(short):
    world = make_world("walk", 1, FREE)

    def made():
        draw = np.random.default_rng(1)
        return random_traders(draw, 2, 3) + fitted_rules(world, draw, 8, 3)

    names = [candidate.digest for candidate in made()]
    assert names == [candidate.digest for candidate in made()] and len(set(names)) == 9
    assert Counter(candidate.configuration for candidate in made()) == {
        "random 0": 3,
        "random 1": 3,
        "best of 8 rules": 3,
    }


def test_networks_are_trainings_of_one_configuration_that_differ_in_their_seed(short, monkeypatch, tmp_path):
    monkeypatch.setattr(gate_candidates, "NETWORK_PRESET", "tiny")
    monkeypatch.setattr(gate_candidates, "NETWORK_OVERRIDES", {})
    monkeypatch.setattr(gate_candidates, "NETWORK_EPISODES", 4)
    world = make_world("walk", 1, FREE)
    one, other = trained_networks([own_network(world, seed, tmp_path / str(seed)) for seed in (7, 8)])
    assert one.configuration == other.configuration and one.digest != other.digest
    assert (one.seed, other.seed) == (0, 1)
    # Only the ablation does without the search, and it has the same weights.
    assert one.policy.use_search and not one.ablation.use_search and one.policy.name == one.ablation.name
    fills = build_fills(world.market, world.costs)
    assert rollout(world.market, fills, world.valid[:4], one.policy, one.reward).decisions == 4 * SESSION_BARS


def test_networks_of_another_market_are_handed_in_on_a_walk(short, monkeypatch, tmp_path):
    monkeypatch.setattr(gate_candidates, "NETWORK_PRESET", "tiny")
    monkeypatch.setattr(gate_candidates, "NETWORK_OVERRIDES", {})
    monkeypatch.setattr(gate_candidates, "TRANSFER_EPISODES", 4)
    places = [transferred_network(seed, tmp_path / str(seed)) for seed in (7, 8)]
    world = make_world("walk", 1, FREE)
    found = gate.candidates(Task("transferred", "walk", 1, 0.0), world, tmp_path, places)
    assert [candidate.seed for candidate in found] == [0, 1] and len({candidate.digest for candidate in found}) == 2
    assert {json.loads((place / "checkpoint.json").read_bytes())["weights_sha256"] for place in places} == {
        candidate.digest for candidate in found
    }


@pytest.mark.parametrize("name", ["ou", "regime"])
def test_the_known_good_rule_earns_most_of_the_optimum_on_a_path_it_was_not_fitted_on(short, name):
    world = make_world(name, 5, CostConfig(fixed_pips=4.0))
    (rule,) = good_rules(name, world, np.random.default_rng(2), 1)
    done = rollout(world.market, build_fills(world.market, world.costs), world.valid, rule.policy)
    assert done.session_pnl_pips.mean() > 0.7 * gate.optimum_pips(name)


def test_the_plan_has_every_kind_and_no_seed_twice():
    tasks = plan(200, 50, 0.5, 10_000)
    assert Counter(task.kind for task in tasks) == {
        "network": 10,
        "transferred": 20,
        "picked": 50,
        "fitted": 70,
        "random": 50,
        "edge": 50,
    }
    assert len({task.seed for task in tasks}) == 250
    # Without costs luck is as likely as bad luck.
    assert sum(task.cost_pips == 0.0 for task in tasks) >= 100
    assert {task.market for task in tasks if task.kind != "edge"} == {"walk"}


@pytest.mark.parametrize(("hits", "total"), [(0, 200), (1, 200), (3, 50)])
def test_the_bound_is_where_so_few_hits_would_be_a_surprise(hits, total):
    assert binom.cdf(hits, total, upper_bound(hits, total)) == pytest.approx(0.05)


def test_two_hundred_rejections_bound_the_rate_below_two_percent():
    assert upper_bound(0, 200) < 0.015
    assert upper_bound(0, 0) == upper_bound(7, 7) == 1.0


def test_the_figures_count_promotions_and_what_stood_in_the_way():
    walk, ou = Task("random", "walk", 1, 0.0), Task("edge", "ou", 2, 4.0)
    found = summarise(
        [
            Outcome(walk, False, ("superior", "worst_seed"), 300, 5, -1.0),
            Outcome(walk, True, (), 300, 5, 1.0),
            Outcome(ou, True, (), 300, 10, gate.optimum_pips("ou") / 2),
            Outcome(ou, False, ("superior",), 300, 10, gate.optimum_pips("ou") / 2),
        ],
        seconds=1.0,
    )
    assert [found[name] for name in ("noise_promoted", "noise_total", "edge_promoted", "edge_total")] == [1, 2, 1, 2]
    assert found["failed"] == {"random": {"superior": 1, "worst_seed": 1}, "edge": {"superior": 1}}
    assert found["alone"] == {"noise": {}, "edge": {"superior": 1}}
    assert (found["noise_fewest_failed"], found["edge_share_of_optimum"]) == (0, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "promoted"),
    [
        (Task("picked", "walk", 11, 0.0), False),
        (Task("fitted", "walk", 12, 0.0), False),
        (Task("edge", "ou", 13, 4.0), True),
        (Task("edge", "regime", 15, 4.0), True),
    ],
)
def test_whole_validations_refuse_noise_and_let_an_edge_through(short, task, promoted):
    outcome = run(task)
    assert outcome.promoted is promoted, outcome.failed
    # Seeds choose nothing: a configuration counts once.
    assert outcome.trials == {"picked": 3, "fitted": 1, "edge": 2}[task.kind]
    assert not {"no_leak", "accounting_agrees", "broker_agrees", "disjoint_sessions", "unseen_holdout"} & set(
        outcome.failed
    )

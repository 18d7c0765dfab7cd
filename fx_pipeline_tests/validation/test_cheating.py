"""Ways of passing the gate without an edge, each caught by the guards of the pipeline.

Each test first shows that nothing else stands in the way: without the guard the cheat would be promoted.
"""

import sqlite3
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fx_pipeline.agents.base import Stateless
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL, playable
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features import compute
from fx_pipeline.features.compute import bars_of, causal_mismatches
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES, WARMUP_BARS
from fx_pipeline.lifecycle.trials import trial_recorder
from fx_pipeline.market.arrays import WINDOW_BARS
from fx_pipeline.market.costs import CostConfig, build_fills
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.proofs.markets import proof_market
from fx_pipeline.proofs.players import RangeRule
from fx_pipeline.tracking.ledger import Ledger
from fx_pipeline.validation.baselines import Flat
from fx_pipeline.validation.context import ReportContext
from fx_pipeline.validation.validate import score_policy, validate_policy

SESSION, SESSIONS = 240, 56
FIRST = WARMUP_BARS + WINDOW_BARS
STARTS = FIRST + SESSION * np.arange(SESSIONS)
BARS = FIRST + SESSION * SESSIONS + 1
COSTS = CostConfig(fixed_pips=1.0)
RECORD = {"config_digest": "c0ffee", "code_version": "1", "counters": {"episodes": 100}}
CHANGE = FEATURE_NAMES.index("price_change_pips")
NO_LEAK = {"feature rows computed anew": 0}


@dataclass(frozen=True)
class FollowsChange(Stateless):
    """Believes that the price goes on as the newest feature says; every seed wants another size of move."""

    seed: int

    def choose(self, observation):
        change = observation.temporal[:, -1, CHANGE]
        side, least = observation.static[:, 0], 0.01 * (10 + self.seed)
        entry = np.select([change > least, change < -least], [BUY, SELL], HOLD)
        return playable(np.where(side == 0, entry, np.where(side * change < 0, CLOSE, HOLD)), observation.legal)


@dataclass(frozen=True)
class Loses(Stateless):
    """Pays the cost again and again."""

    seed: int = 0

    def choose(self, observation):
        flat = observation.static[:, 0] == 0
        return playable(np.where(flat, BUY, CLOSE), observation.legal)


def good_rule(seed):
    """Near the best rule on a market that returns to its mean."""
    return RangeRule(0.2 + 0.005 * seed, 0.7)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db", who="cheat", clock=lambda: 0.0)


def context(ledger, market, seed, record=RECORD, leaks=NO_LEAK, window="w", **more):
    openings = ledger.holdout_openings(market.instrument, None)
    name = more.pop("weights", f"{record['config_digest']} {seed}")
    return ReportContext(
        market.instrument, window, checkpoint_sha256=name, leaks=leaks, holdout_openings=openings, **more
    )


def score(ledger, market, policy, seed, costs=COSTS, **more):
    """Let the pipeline's own functions score a policy, which puts it into the ledger; return its total."""
    scored = score_policy(
        market,
        build_fills(market, costs),
        STARTS,
        policy,
        costs=costs,
        reward=RewardConfig(),
        seed=seed,
        context=context(ledger, market, seed, **more),
        batch=SESSIONS,
        rules=SessionRules(bars=SESSION),
        record_trial=trial_recorder(ledger, more.get("record", RECORD)),
    )
    return scored.metrics.total_pips


def judged(ledger, market, policy, seed, costs=COSTS, record=RECORD, mc_runs=10_000, **more):
    """Figures of a validation by the pipeline's own functions, with its ledger."""
    return validate_policy(
        market,
        STARTS,
        policy,
        costs=costs,
        reward=RewardConfig(),
        seed=seed,
        context=context(ledger, market, seed, record, **more),
        mc_runs=mc_runs,
        batch=SESSIONS,
        rules=SessionRules(bars=SESSION),
        record_trial=trial_recorder(ledger, record),
    )["figures"]


def failed(figures):
    return {condition["name"] for condition in figures["conditions"] if not condition["passed"]}


def look_ahead(features, bars):
    """A kernel that gives each bar the features of the next one, as far as there is one."""
    rows = HONEST(features, bars)
    return np.concatenate([rows[1:], rows[-1:]])


HONEST = compute.compute_features


def planted_column(market, monkeypatch):
    features = market.features.copy()
    features[:-1, CHANGE] = market.features[1:, CHANGE]
    return features


def peeking_kernel(market, monkeypatch):
    # The search for leaks runs the very kernel that peeks.
    monkeypatch.setattr(compute, "compute_features", look_ahead)
    return compute.compute_features(FEATURE_SET, bars_of(market))


@pytest.mark.parametrize("cheat", [planted_column, peeking_kernel])
def test_features_that_know_the_next_bar_are_found_and_refused(ledger, monkeypatch, cheat):
    market = proof_market("walk", 1, BARS)
    market = replace(market, features=cheat(market, monkeypatch))
    bars = causal_mismatches(market, 20, seed=1)
    # Every row that was drawn but the last of the market, behind which nothing lies.
    assert len(bars) >= 19
    for seed in range(4):
        score(ledger, market, FollowsChange(seed), seed)
    # On a random walk this makes a fortune, and nothing else in the gate minds.
    cheated = judged(ledger, market, FollowsChange(4), 4)
    assert cheated["verdict"] == "promoted", cheated["reasons"]
    for leaks in ({"feature rows computed anew": len(bars)}, {}):
        figures = judged(ledger, market, FollowsChange(4), 4, leaks=leaks)
        assert figures["verdict"] == "rejected" and failed(figures) == {"no_leak"}


def test_honest_features_are_not_called_a_leak():
    market = proof_market("walk", 1, BARS)
    assert causal_mismatches(market, 20, seed=1) == []


def test_candidates_tried_on_the_sealed_days_are_counted_and_refused(ledger):
    market = proof_market("ou", 2, BARS)
    start, last = int(market.time[STARTS[0]]), int(market.time[-1])
    verdicts = []
    for seed in range(3):
        record = RECORD | {"config_digest": f"attempt {seed}"}
        candidate = f"attempt {seed} {seed}"
        assert ledger.open_holdout(market.instrument, candidate, start, last, evaluation="costs of 1 pip")
        figures = judged(ledger, market, good_rule(seed), seed, record=record, window="sealed", sealed="sealed")
        assert figures["holdout_openings"] == seed + 1
        verdicts.append(figures["verdict"])
    # The first candidate was sealed off from these days; the others may have been chosen on them.
    assert verdicts == ["promoted", "rejected", "rejected"] and failed(figures) == {"unseen_holdout"}
    # Each of them is a trial of the instrument, and no candidate is tried there under other costs.
    assert figures["trials"] == ledger.count(market.instrument) == 3
    with pytest.raises(DataError, match="under other costs"):
        ledger.open_holdout(market.instrument, candidate, start, last, evaluation="costs of 0 pips")
    # Moving the seal by a bar does not make the days unseen.
    assert ledger.holdout_openings(market.instrument, start + 60_000_000_000) == 3


def test_after_tuning_on_the_sealed_days_no_model_of_the_instrument_passes_the_gate(ledger):
    market = proof_market("ou", 2, BARS)
    for seed in range(4):
        score(ledger, market, good_rule(seed), seed)
    assert judged(ledger, market, good_rule(4), 4)["verdict"] == "promoted"
    for seed in range(2):
        ledger.open_holdout(market.instrument, f"attempt {seed}", int(market.time[-60]), int(market.time[-1]), "once")
    figures = judged(ledger, market, good_rule(4), 4)
    assert figures["verdict"] == "rejected" and failed(figures) == {"unseen_holdout"}


@pytest.mark.parametrize(
    ("costs", "data"), [(COSTS, "as before"), (replace(COSTS, fixed_pips=1.0 + 1e-9), "as before"), (COSTS, "other")]
)
def test_a_losing_seed_cannot_be_dropped(ledger, costs, data):
    market = replace(proof_market("ou", 2, BARS), fingerprint="as before")
    assert score(ledger, market, Loses(), 0) < 0
    # Its checkpoint and report are deleted, five other seeds are handed in: as they are, at costs that differ by
    # nothing, or on a market whose data are called something else. The ledger knows of it in every case.
    market = replace(market, fingerprint=data)
    for seed in range(1, 5):
        score(ledger, market, good_rule(seed), seed, costs)
    figures = judged(ledger, market, good_rule(5), 5, costs)
    assert figures["verdict"] == "rejected" and failed(figures) == {"worst_seed"}
    # Six seeds of one configuration, among which nothing was chosen.
    assert set(figures["seed_totals"]["total_pips"]) | {str(seed) for seed in figures["seed_totals"]["left_out"]} == {
        str(seed) for seed in range(6)
    }
    assert figures["trials"] == 1
    # Neither can its row be removed, nor changed.
    with sqlite3.connect(ledger.path) as connection:
        for statement in ("DELETE FROM trials", "UPDATE trials SET config_hash = 'x'", "DELETE FROM series"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_without_a_losing_seed_the_same_five_pass(ledger):
    market = proof_market("ou", 2, BARS)
    for seed in range(1, 5):
        score(ledger, market, good_rule(seed), seed)
    figures = judged(ledger, market, good_rule(5), 5)
    assert figures["verdict"] == "promoted" and figures["record"]["seeds_left_out"] == 0
    # They are near the same rule, and are five seeds all the same.
    assert figures["seeds"] == 5 and figures["record"]["seed_copies"] == []


def test_a_seed_that_was_judged_otherwise_counts_once_it_is_judged_alike(ledger):
    market = proof_market("ou", 2, BARS)
    score(ledger, market, good_rule(0), 0, replace(COSTS, fixed_pips=2.0))
    for seed in range(1, 5):
        score(ledger, market, good_rule(seed), seed)
    figures = judged(ledger, market, good_rule(5), 5)
    assert failed(figures) == {"worst_seed"} and figures["seed_totals"]["left_out"] == [0]
    score(ledger, market, good_rule(0), 0)
    assert judged(ledger, market, good_rule(5), 5)["verdict"] == "promoted"


def test_one_checkpoint_in_five_folders_is_one_seed(ledger):
    market = proof_market("ou", 2, BARS)
    for seed in range(1, 5):
        score(ledger, market, good_rule(5), seed, weights="the same")
    figures = judged(ledger, market, good_rule(5), 5, weights="the same")
    # One series is no family either.
    assert failed(figures) == {"worst_seed", "not_overfitted", "superior"} and figures["seeds"] == 1
    # So it is with weights that were changed in a last digit, which gives them hashes of their own.
    for seed in range(11, 15):
        score(ledger, market, good_rule(5), seed, record=RECORD | {"config_digest": "other"})
    figures = judged(ledger, market, good_rule(5), 15, record=RECORD | {"config_digest": "other"})
    assert "worst_seed" in failed(figures) and figures["seeds"] == 1


def test_seeds_that_never_trade_are_no_evidence(ledger):
    market = proof_market("ou", 2, BARS)
    for seed in range(1, 5):
        score(ledger, market, Flat(), seed)
    figures = judged(ledger, market, good_rule(5), 5)
    assert figures["worst_seed_pips"] >= 0 and failed(figures) == {"worst_seed"}
    (reason,) = figures["reasons"]
    assert "Fewer than 30 trades, which shows nothing, were made by seed 1, 2, 3, 4." in reason


def test_fewer_runs_judge_nothing(ledger):
    market = proof_market("ou", 2, BARS)
    for seed in range(1, 5):
        score(ledger, market, good_rule(seed), seed)
    assert failed(judged(ledger, market, good_rule(5), 5, mc_runs=9_999)) == {"enough_runs"}

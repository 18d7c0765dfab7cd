"""The policy that knows its market beforehand is the one that sees windows."""

import dataclasses

import numpy as np
import pytest
import torch

from fx_pipeline.agents.base import Foresighted, Stateless, TrainingData
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.validation.rollout import Rollout, rollout
from fx_pipeline_tests.agents.test_muzero_engine import networks_of

BARS = 60


class Blind(Stateless):
    """Lets a policy decide from observations alone, one by one as the live trader does."""

    def __init__(self, policy: MuZeroPolicy) -> None:
        self.policy = policy

    def choose(self, observation: Observation) -> np.ndarray:
        """Return the (B,) actions."""
        temporal, static, legal, bar = observation
        parts = [slice(row, row + 1) for row in range(len(static))]
        return np.concatenate(
            [self.policy.choose(Observation(temporal[p], static[p], legal[p], bar[p])) for p in parts]
        )


def policy_of(engine: str | None = None) -> MuZeroPolicy:
    config = load_config("small", {"search.simulations": 6})
    return MuZeroPolicy(networks_of("small"), config, engine=engine)  # type: ignore[arg-type]


def played(data: TrainingData, policy: object, batch: int) -> Rollout:
    market = data.market
    fills, starts = build_fills(market, data.costs), data.starts[0:600:75]
    return rollout(market, fills, starts, policy, rules=SessionRules(bars=BARS), batch=batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("searches", [True, False])
def test_a_rollout_decides_as_single_observations_do_to_the_bit(small_market: TrainingData, searches: bool) -> None:
    policy = policy_of() if searches else policy_of().without_search()
    assert isinstance(policy, Foresighted) and not isinstance(Blind(policy), Foresighted)
    alone = played(small_market, Blind(policy), 8)
    assert len(alone.trades) > 5
    for batch in (3, 8):
        done = played(small_market, policy, batch)
        np.testing.assert_array_equal(done.actions, alone.actions)
        np.testing.assert_array_equal(done.trades, alone.trades)


def test_a_market_is_encoded_once_for_the_search_and_its_ablation(small_market: TrainingData) -> None:
    policy = policy_of()
    played(small_market, policy, 4)
    engine = policy._planner
    assert isinstance(engine, Engine)
    known = engine.codes_known
    # 8 sessions of 60 bars that start 75 bars apart.
    assert known == 8 * BARS
    played(small_market, policy.without_search(), 8)
    assert engine.codes_known == known
    assert policy.use_search


def test_what_was_known_of_one_market_is_not_used_on_another(small_market: TrainingData, make_market: object) -> None:
    policy, other = policy_of(), make_market(2, 4000)  # type: ignore[operator]
    played(small_market, policy, 8)
    np.testing.assert_array_equal(played(other, policy, 8).actions, played(other, policy_of(), 8).actions)
    # Nor by the policy itself, which still decides from what it sees.
    environment = LockstepEnvironment(other.market, build_fills(other.market, other.costs))
    seen = environment.reset(other.starts[:5])
    np.testing.assert_array_equal(policy.choose(seen), policy_of().choose(seen))


def test_two_markets_in_turns_and_weights_that_change_are_never_confused(
    small_market: TrainingData, make_market: object
) -> None:
    policy, other = policy_of(), make_market(2, 4000)  # type: ignore[operator]
    seen = [
        LockstepEnvironment(data.market, build_fills(data.market, data.costs)).reset(data.starts[:5])
        for data in (small_market, other)
    ]
    assert not np.array_equal(seen[0].temporal, seen[1].temporal)
    players = [policy.over(data.market, one.bar) for data, one in zip((small_market, other), seen, strict=True)]
    engine = policy._planner
    assert isinstance(engine, Engine)

    def codes_agree() -> None:
        for player, one in zip(players, seen, strict=True):
            assert player._features is not None
            known = engine.market_codes(player._features, one.bar)
            np.testing.assert_array_equal(engine.priors(one, known), engine.priors(one))
            np.testing.assert_array_equal(player.choose(one), policy.choose(one))

    codes_agree()
    codes_agree()
    before = engine.priors(seen[0])
    with torch.no_grad():
        for parameter in engine.networks.parameters():
            parameter.mul_(1.1)
    engine.refresh()
    assert not np.array_equal(engine.priors(seen[0]), before)
    codes_agree()


def test_decisions_do_not_know_the_features_of_later_bars(small_market: TrainingData) -> None:
    market, start, seen = small_market.market, small_market.starts[:1], 30
    features = market.features.copy()
    after = slice(int(start[0]) + seen, None)
    features[after] = np.random.default_rng(3).uniform(size=features[after].shape)
    changed = dataclasses.replace(market, features=features)
    fills = build_fills(market, small_market.costs)
    policy = policy_of()
    one, other = (
        rollout(each, fills, start, policy, rules=SessionRules(bars=2 * BARS)).actions[0] for each in (market, changed)
    )
    np.testing.assert_array_equal(one[:seen], other[:seen])
    assert (one[seen:] != other[seen:]).any()


def test_torch_has_no_foresight_and_decides_all_the_same(small_market: TrainingData) -> None:
    policy = policy_of("torch")
    assert policy.over(small_market.market, small_market.starts[:1]) is policy

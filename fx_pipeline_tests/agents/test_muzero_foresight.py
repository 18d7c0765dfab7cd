"""The policy that knows its market beforehand is the one that sees windows."""

import numpy as np
import pytest

from fx_pipeline.agents.base import Foresighted, TrainingData
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.engine.engine import Engine
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.validation.rollout import Rollout, rollout
from fx_pipeline_tests.agents.test_muzero_engine import networks_of

BARS = 60


class Blind:
    """Lets a policy decide from observations alone, one by one as the live trader does."""

    def __init__(self, policy: MuZeroPolicy) -> None:
        self.policy = policy

    def act(self, observations: Observation) -> np.ndarray:
        """Return the (B,) actions."""
        temporal, static, legal, bar = observations
        parts = [slice(row, row + 1) for row in range(len(static))]
        return np.concatenate([self.policy.act(Observation(temporal[p], static[p], legal[p], bar[p])) for p in parts])


def policy_of(engine: str | None = None) -> MuZeroPolicy:
    config = load_config("small", {"search.simulations": 6})
    return MuZeroPolicy(networks_of("small"), config, engine=engine)  # type: ignore[arg-type]


def played(data: TrainingData, policy: object, batch: int) -> Rollout:
    market = data.market
    fills, starts = build_fills(market, data.costs), data.starts[0:600:75]
    return rollout(market, fills, starts, policy, session_bars=BARS, batch=batch)  # type: ignore[arg-type]


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
    np.testing.assert_array_equal(policy.act(seen), policy_of().act(seen))


def test_torch_has_no_foresight_and_decides_all_the_same(small_market: TrainingData) -> None:
    policy = policy_of("torch")
    assert policy.over(small_market.market, small_market.starts[:1]) is policy

"""The small preset learns a planted edge."""

import numpy as np
import pytest

from fx_pipeline.agents.base import Budget, TrainingData
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.costs import build_fills

EVALUATED = 128


def pips_per_episode(policy: MuZeroPolicy, data: TrainingData) -> float:
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), policy.config.reward)
    observation = environment.reset(np.random.default_rng(0).choice(data.starts, EVALUATED))
    done = False
    while not done:
        step = environment.step(policy.act(observation))
        observation, done = step.observation, step.done
    return float(environment.trades()["pnl_pips"].sum() / EVALUATED)


@pytest.mark.slow
def test_small_earns_on_a_mean_reverting_market(make_market, tmp_path) -> None:
    # Two waves: one of random play to warm up, one with search. The optimum is 225.8 pips, never trading earns 0
    # and random play loses 240; the standard error of the figure is 4.
    MuZeroTrainer(load_config("small")).train(make_market(1, 60_000), Budget(256), seed=0, folder=tmp_path)
    policy = MuZeroPolicy.from_checkpoint(tmp_path, instrument="EUR_USD")
    assert pips_per_episode(policy, make_market(2, 60_000)) > 40.0

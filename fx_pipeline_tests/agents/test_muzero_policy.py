"""The trained agent decides with simulations of its own number, without noise."""

import numpy as np

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.planner import make_planner
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.market.costs import build_fills


def test_decisions_are_those_of_a_search_of_the_decision_s_simulations(small_market) -> None:
    config = load_config("tiny", {"decision.simulations": 7, "search.simulations": 3})
    networks = build_networks(config.network, 3, config.selfplay.window_bars).eval()
    fills = build_fills(small_market.market, small_market.costs)
    seen = LockstepEnvironment(small_market.market, fills, config.reward).reset(small_market.starts[::200][:9])
    policy = MuZeroPolicy(networks, config, engine="torch")
    made: list[int] = []
    plan = policy._planner.plan

    def counted(*arguments, **settings):
        result = plan(*arguments, **settings)
        made.extend(result.visits.sum(axis=1).tolist())
        return result

    policy._planner.plan = counted  # type: ignore[method-assign]
    actions = policy.choose(seen)
    assert made == [7] * 9
    wanted = make_planner("torch", networks, load_config("tiny", {"search.simulations": 7}).search)
    expected = wanted.plan(seen, seed=0, counters=np.zeros(9, dtype=np.uint64), noise=0.0)
    np.testing.assert_array_equal(actions, expected.actions)

"""Self-play: legal, seeded, resumable."""

import numpy as np
import pytest
import torch

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.planner import make_planner
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL


def opinionated(networks):
    """Networks with random heads: those of an untrained agent are zero, and rounding alone would break the ties."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in networks.named_parameters():
            if "head" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return networks


def play(data, overrides=None, seed: int = 3, segments: int = 6, engine: str = "fp32", workers: int = 1):
    config = load_config("tiny", overrides)
    replay = Replay(config.replay, data.rules.bars)
    selfplay = SelfPlay(config, data, replay, seed)
    selfplay.begin(0, config.selfplay.environments, 0.0)
    planner = make_planner(engine, opinionated(build_networks(config.network, 0)), config.search, workers=workers)
    metrics = [segment(selfplay, planner) for _ in range(segments)]
    return replay, selfplay, metrics


def segment(selfplay, planner):
    metrics = selfplay.collect(planner)
    selfplay.commit()
    return metrics


def test_a_segment_can_be_learned_from_when_it_is_committed(small_market) -> None:
    """What the learner sees must not depend on how far self-play has come beside it."""
    replay, selfplay, _ = play(small_market, segments=2)
    recorded = {name: array.copy() for name, array in replay.arrays.items()}
    selfplay.collect(make_planner("fp32", build_networks(selfplay.config.network, 0), selfplay.config.search))
    for name in ("static", "actions", "outcomes", "rewards", "root_values", "policies"):
        np.testing.assert_array_equal(replay.arrays[name][:4, :120], recorded[name][:4, :120])
    assert replay.steps == 4 * 120
    selfplay.commit()
    assert replay.steps == 4 * 180


def test_episodes_are_legal_and_whole(small_market) -> None:
    replay, selfplay, metrics = play(small_market, {"selfplay.epsilon": 0.3})
    assert not selfplay.in_wave
    assert replay.arrays["lengths"][:4].tolist() == [360] * 4
    actions, flat = replay.arrays["actions"][:4], replay.arrays["static"][:4, :, 0] == 0
    assert np.isin(actions[flat], (HOLD, BUY, SELL)).all()
    assert np.isin(actions[~flat], (HOLD, CLOSE)).all()
    policies = replay.arrays["policies"][:4]
    assert (policies[flat][:, CLOSE] == 0).all()
    assert (policies[~flat][:, [BUY, SELL]] == 0).all()
    # The warm-up has no search and therefore no policy target.
    assert (policies[:, :60] == 0).all()
    np.testing.assert_allclose(policies[:, 60:].sum(axis=-1), 1.0, atol=1e-6)
    assert "search_depth" not in metrics[0]
    assert metrics[1]["search_depth"] > 0
    assert {"pips_per_episode", "trades_per_episode", "win_rate"} <= metrics[-1].keys()
    shares = [metrics[-1][f"share_{name}"] for name in ("hold", "buy", "sell", "close")]
    assert abs(sum(shares) - 1.0) < 1e-9


def test_the_warm_up_enters_and_holds(small_market) -> None:
    overrides = {"selfplay.warmup_bars": 360, "selfplay.environments": 8}
    replay, _, metrics = play(small_market, overrides)
    in_trade = (replay.arrays["static"][:8, :, 0] != 0).mean()
    assert 0.5 < in_trade < 0.8, "enter with 0.1, close with 0.05: two bars of three in a position"
    assert metrics[-1]["trades_per_episode"] > 5


def test_the_seed_decides(small_market) -> None:
    first, again, other = (play(small_market, seed=seed, segments=2)[0] for seed in (3, 3, 4))
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert (first.arrays["starts"] != other.arrays["starts"]).any()


def test_a_wave_is_taken_up_where_it_was(small_market) -> None:
    replay, selfplay, _ = play(small_market, segments=3)
    resumed = SelfPlay(selfplay.config, small_market, replay, 3)
    resumed.restore(0, 4, 0.0)
    planner = make_planner("fp32", opinionated(build_networks(selfplay.config.network, 0)), selfplay.config.search)
    for _ in range(3):
        metrics = segment(resumed, planner)
    whole, _, expected = play(small_market)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, replay.arrays[name])
    assert metrics == expected[-1]


@pytest.mark.parametrize(
    ("epsilon", "root", "value"), [(0.0, "puct", "mean"), (0.4, "puct", "best"), (0.0, "gumbel", "best")]
)
def test_the_engine_plays_what_the_oracle_plays(small_market, epsilon: float, root: str, value: str) -> None:
    """Same draws, same searches, same steps: the compiled loop and the loop in Python tell the same story."""
    overrides = {"selfplay.epsilon": epsilon, "selfplay.environments": 6, "search.root_action_selection": root}
    overrides |= {"selfplay.root_value": value, "selfplay.noise_end": 0.4}
    oracle, _, expected = play(small_market, overrides, segments=3, engine="torch")
    engine, _, metrics = play(small_market, overrides, segments=3)
    for name in ("static", "actions", "outcomes", "rewards"):
        np.testing.assert_array_equal(engine.arrays[name], oracle.arrays[name], err_msg=name)
    np.testing.assert_allclose(engine.arrays["policies"], oracle.arrays["policies"], atol=1e-4)
    np.testing.assert_allclose(engine.arrays["root_values"], oracle.arrays["root_values"], rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(metrics, expected, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_neither_threads_nor_groups_change_a_byte(small_market) -> None:
    overrides = {"selfplay.environments": 7, "replay.capacity_steps": 2520}
    alone, threaded = (play(small_market, overrides, segments=3, workers=workers)[0] for workers in (1, 3))
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(array, threaded.arrays[name], err_msg=name)

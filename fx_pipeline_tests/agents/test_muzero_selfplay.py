"""Self-play: legal, seeded, resumable."""

import numpy as np

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.evaluator import TorchEvaluator
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL


def play(data, overrides=None, seed: int = 3, segments: int = 6):
    config = load_config("tiny", overrides)
    replay = Replay(config.replay, config.selfplay.session_bars)
    selfplay = SelfPlay(config, data, replay, seed)
    selfplay.begin(0, config.selfplay.environments)
    evaluator = TorchEvaluator(build_networks(config.network, 0))
    metrics = [selfplay.collect(evaluator) for _ in range(segments)]
    return replay, selfplay, metrics


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
    resumed.restore(0, 4)
    evaluator = TorchEvaluator(build_networks(selfplay.config.network, 0))
    for _ in range(3):
        metrics = resumed.collect(evaluator)
    whole, _, expected = play(small_market)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, replay.arrays[name])
    assert metrics == expected[-1]

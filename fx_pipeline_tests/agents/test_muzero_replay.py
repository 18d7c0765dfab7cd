"""Replay: what is kept, what is drawn."""

import dataclasses

import numpy as np
import pytest

from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.market.errors import FxPipelineError

SESSION = 20


def make(capacity_episodes: int = 3, in_trade_share: float = 0.0) -> Replay:
    config = dataclasses.replace(
        load_config("tiny").replay, capacity_steps=capacity_episodes * SESSION, in_trade_share=in_trade_share
    )
    return Replay(config, SESSION)


def fill(replay: Replay, rows: np.ndarray, steps: int, first: int = 0, in_trade_after: int = SESSION) -> None:
    for step in range(first, first + steps):
        static = np.zeros((len(rows), 6), dtype=np.float32)
        static[:, 0] = step >= in_trade_after
        recorded = {"static": static, "actions": step % 4, "rewards": step, "outcomes": step % 3}
        for name, values in (recorded | {"policies": 0.25, "root_values": 100.0 + step}).items():
            replay.arrays[name][rows, step] = values
        replay.arrays["lengths"][rows] += 1


def draw(replay: Replay, market, batch_size: int = 256, seed: int = 0):
    learner = dataclasses.replace(load_config("tiny").learner, batch_size=batch_size, unroll_steps=3, td_steps=2)
    return replay.sample(market, learner, window_bars=32, discount=0.5, generator=np.random.default_rng(seed))


def test_the_oldest_episode_goes_first(small_market) -> None:
    replay = make()
    for start in (2000, 2100, 2200, 2300):
        fill(replay, replay.begin(np.array([start])), SESSION)
    assert replay.arrays["starts"].tolist() == [2300, 2100, 2200]
    assert replay.steps == 3 * SESSION
    with pytest.raises(FxPipelineError, match="do not fit"):
        replay.begin(np.arange(4) + 2000)


def test_a_sample_is_what_was_recorded(small_market) -> None:
    market = small_market.market
    replay = make()
    fill(replay, replay.begin(np.array([2000, 2100])), SESSION)
    batch = draw(replay, market)
    steps = batch.rewards[:, 0].astype(int)
    assert set(steps) == set(range(SESSION - 1)), "every step but the forced last one is drawn"
    starts = np.array([2000, 2100])
    windows = np.stack([[market.features[start + step - 31 : start + step + 1] for start in starts] for step in steps])
    assert (windows == batch.temporal[:, None]).all(axis=(2, 3)).any(axis=1).all()
    inside = batch.step_mask[:, 1] == 1
    assert (batch.rewards[inside, 1] == steps[inside] + 1).all()
    assert (batch.actions[:, 0] == steps % 4).all()
    assert (batch.outcomes[:, 0] == steps % 3).all()
    expected = (steps[:, None] + np.arange(4) < SESSION - 1).astype(np.float32)
    np.testing.assert_array_equal(batch.state_mask, expected)
    middle = steps < SESSION - 3
    np.testing.assert_allclose(
        batch.values[middle, 0], steps[middle] + 0.5 * (steps[middle] + 1) + 0.25 * (102 + steps[middle])
    )


def test_an_episode_under_way_is_used_as_far_as_it_goes(small_market) -> None:
    replay = make()
    fill(replay, replay.begin(np.array([2000])), 4)
    batch = draw(replay, small_market.market)
    steps = batch.rewards[:, 0].astype(int)
    assert set(steps) == {0, 1, 2, 3}
    np.testing.assert_array_equal(batch.state_mask, (steps[:, None] + np.arange(4) < 4).astype(np.float32))
    newest = steps == 3
    np.testing.assert_allclose(batch.values[newest, 0], 103.0)


def test_the_share_in_trade_and_the_seed(small_market) -> None:
    replay = make(in_trade_share=0.5)
    fill(replay, replay.begin(np.array([2000])), SESSION, in_trade_after=SESSION - 2)
    batch = draw(replay, small_market.market)
    assert (batch.static[:, 0] != 0).mean() >= 0.5
    again, other = draw(replay, small_market.market), draw(replay, small_market.market, seed=1)
    np.testing.assert_array_equal(batch.rewards, again.rewards)
    assert (batch.rewards != other.rewards).any()


def test_an_empty_replay_says_so(small_market) -> None:
    with pytest.raises(FxPipelineError, match="no step to learn from"):
        draw(make(), small_market.market)

"""Replay: what is kept, what is drawn."""

import dataclasses

import numpy as np
import pytest

from fx_pipeline.agents.muzero.batch import Mirror
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.environment.action_sets import UNIT4
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.errors import FxPipelineError

SESSION = 20


def make(capacity_episodes: int = 3, in_trade_share: float = 0.0, **settings: object) -> Replay:
    config = dataclasses.replace(
        load_config("tiny").replay,
        capacity_steps=capacity_episodes * SESSION,
        in_trade_share=in_trade_share,
        **settings,
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


def play(replay: Replay, rows: np.ndarray, steps: int = SESSION, pips: float | None = None) -> None:
    """Rows that hold throughout, or that trade once for `pips`."""
    arrays = replay.arrays
    arrays["actions"][rows] = HOLD
    arrays["rewards"][rows] = 0.0
    if pips is not None:
        arrays["actions"][rows, 1] = BUY
        arrays["actions"][rows, 5] = CLOSE
        arrays["rewards"][rows, 5] = pips
        # What is held before each decision: the side is the first of the static features.
        arrays["static"][rows] = 0.0
        arrays["static"][rows, 2:6, 0] = 1.0
    replay.advance(rows, steps)


def draw(
    replay: Replay, market, batch_size: int = 256, seed: int = 0, mirror: Mirror | None = None, **settings: object
):
    options = {"batch_size": batch_size, "unroll_steps": 3, "td_steps": 2, **settings}
    learner = dataclasses.replace(load_config("tiny").learner, **{"mirror": False} | options)
    return replay.sample(
        market, learner, window_bars=32, discount=0.5, generator=np.random.default_rng(seed), mirror=mirror
    )


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


def test_rows_of_the_newest_episodes_come_in_the_order_in_which_they_began() -> None:
    replay = make(4)
    for starts in ([1, 2], [3, 4], [5]):
        rows = replay.begin(np.array(starts))
        np.testing.assert_array_equal(replay.newest(len(starts)), rows)
        play(replay, rows)
    assert replay.arrays["starts"][replay.newest(3)].tolist() == [3, 4, 5]
    assert replay.wave == 3


def test_the_worst_episode_goes_first_and_none_that_is_played(small_market) -> None:
    replay = make(4, evict="quality")
    for pips in (1.0, 4.0, 2.0, 3.0):
        play(replay, replay.begin(np.array([2000])), pips=pips)
    for expected in (0, 2, 3):
        rows = replay.begin(np.array([2100]))
        assert rows.tolist() == [expected]
        play(replay, rows, pips=4.5)
    played = replay.begin(np.array([2200, 2300]))
    assert played.tolist() == [0, 1], "the least profit, and then the older of two alike"
    replay.advance(played, SESSION - 1)
    with pytest.raises(FxPipelineError, match="2 are being played"):
        replay.begin(np.arange(3) + 2000)


def test_successes_and_the_trade_quota_hold_back_eviction() -> None:
    replay = make(3, evict="quality")
    for pips in (None, None, 1.0):
        play(replay, replay.begin(np.array([2000])), pips=pips)
    replay.arrays["td_errors"][:2] = 5.0
    replay.arrays["qualities"][2] = -9.0
    assert replay.begin(np.array([2100])).tolist() == [0], "the only trade stays, though it is the worst"
    replay = make(3, evict="quality")
    for pips in (6.0, 4.0, 4.5):
        play(replay, replay.begin(np.array([2000])), pips=pips)
    replay.arrays["qualities"][0] = -9.0
    assert replay.begin(np.array([2100])).tolist() == [1], "the success stays, though it is the worst"


def test_td_errors_are_kept_where_the_samples_came_from(small_market) -> None:
    replay = make()
    play(replay, replay.begin(np.array([2000, 2100])), SESSION)
    batch = draw(replay, small_market.market)
    errors = (batch.rows * 100 + batch.steps).astype(np.float32)
    replay.feed_back(batch, errors)
    np.testing.assert_array_equal(replay.arrays["td_errors"][batch.rows, batch.steps], errors)
    assert replay.quality()[batch.rows, batch.steps].max() == pytest.approx(0.75)
    assert (replay.arrays["td_errors"][2] == 0).all()
    replay.begin(np.array([2200, 2300]))
    assert (replay.arrays["td_errors"][0] == 0).all(), "a new episode has no errors of an older one"


def test_every_step_of_an_advance_is_rated() -> None:
    replay = make()
    rows = replay.begin(np.array([2000, 2100]))
    for _ in range(SESSION // 5):
        replay.advance(rows, 5)
    np.testing.assert_array_equal(replay.quality()[rows, -1], 1.5)
    assert (replay.quality()[rows, :-1] == 0.0).all()


def test_priorities_are_those_of_the_last_advance(small_market) -> None:
    replay = make(priority_weight=1.0)
    rows = replay.begin(np.array([2000]))
    play(replay, rows, 8, pips=4.0)
    first = draw(replay, small_market.market)
    assert (first.steps == 5).mean() > 0.5, "the profitable close is worth most"
    replay.feed_back(first, np.full(256, 5.0, dtype=np.float32))
    again = draw(replay, small_market.market)
    np.testing.assert_array_equal(first.steps, again.steps)
    replay.advance(rows, 1)
    assert (draw(replay, small_market.market).steps != first.steps).any()


def test_older_waves_have_shorter_returns(small_market) -> None:
    replay = make()
    for _ in range(2):
        fill(replay, replay.begin(np.array([2000])), SESSION)
    batch = draw(replay, small_market.market, td_steps=3, td_steps_decay_waves=1.0)
    steps, middle = batch.steps, batch.steps < SESSION - 4
    full = steps + 0.5 * (steps + 1) + 0.25 * (steps + 2) + 0.125 * (103 + steps)
    shorter = steps + 0.5 * (steps + 1) + 0.25 * (102 + steps)
    expected = np.where(batch.rows == 1, full, shorter)
    np.testing.assert_allclose(batch.values[middle, 0], expected[middle])


def test_later_observations_are_those_of_the_next_bars(small_market) -> None:
    market, replay = small_market.market, make()
    fill(replay, replay.begin(np.array([2000])), SESSION)
    replay.arrays["static"][0] = np.arange(SESSION)[:, None]
    assert draw(replay, market).later_temporal is None
    batch = draw(replay, market, consistency_weight=1.0, consistency_steps=2)
    for later in (1, 2):
        inside = batch.state_mask[:, later] == 1
        bars = 2000 + batch.steps[inside] + later
        np.testing.assert_array_equal(batch.later_temporal[inside, later - 1], market.windows(bars))
        np.testing.assert_array_equal(batch.later_static[inside, later - 1, 0], batch.steps[inside] + later)


def test_mirroring_turns_every_other_sample(small_market) -> None:
    replay = make(in_trade_share=1.0)
    fill(replay, replay.begin(np.array([2000])), SESSION, in_trade_after=0)
    batch = draw(replay, small_market.market, mirror=Mirror.of(feature_set("temporal9"), UNIT4))
    assert (batch.static[::2, 0] == 1.0).all()
    assert (batch.static[1::2, 0] == -1.0).all()


def test_a_shared_reward_is_what_is_learned_from(small_market) -> None:
    replay = make(share_trade_reward=True)
    play(replay, replay.begin(np.array([2000])), pips=7.0)
    assert replay.arrays["rewards"][0, :7].tolist() == [0.0, 7.0, 7.0, 7.0, 7.0, 7.0, 0.0]

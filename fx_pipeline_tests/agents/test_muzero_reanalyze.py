"""Reanalyse: what is searched again, with which observations, and when."""

import dataclasses

import numpy as np
import pytest

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.planner import TorchPlanner
from fx_pipeline.agents.muzero.reanalyze import Reanalyzer
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.search import SearchResult

SESSION, WINDOW = 12, 32


class Recorder:
    """A planner that keeps what it was asked, and answers with the bar and the seed."""

    def __init__(self) -> None:
        self.asked: list[Observation] = []
        self.seeds: list[int] = []
        self.counters: list[int] = []

    def refresh(self) -> None:
        raise AssertionError("the weights are the trainer's business")

    def priors(self, observation: Observation) -> np.ndarray:
        raise AssertionError("no priors are needed")

    def plan(self, observation: Observation, *, seed: int, counters: np.ndarray, noise: float) -> SearchResult:
        assert noise == 0.0
        self.asked.append(observation)
        self.seeds.append(seed)
        self.counters += counters.tolist()
        rows = len(observation.static)
        ints, floats = np.zeros((rows, 4), dtype=np.int32), np.zeros((rows, 4))
        policy = observation.legal / observation.legal.sum(axis=1, keepdims=True)
        values = observation.bar.astype(np.float64)
        return SearchResult(ints, values, floats, floats, ints[:, 0], policy, np.zeros(rows, dtype=np.int64))


def played(data: TrainingData, episodes: int, capacity: int = 20) -> tuple[Replay, list[Observation]]:
    """A replay of episodes played at random, one wave each, and what was seen at each step."""
    config = dataclasses.replace(load_config("tiny").replay, capacity_steps=capacity * SESSION)
    replay = Replay(config, SESSION)
    seen: list[Observation] = []
    random = np.random.default_rng(0)
    environment = LockstepEnvironment(
        data.market, build_fills(data.market, data.costs), None, SessionRules(bars=SESSION, window_bars=WINDOW)
    )
    for episode in range(episodes):
        starts = data.starts[10 * episode : 10 * episode + 1]
        rows = replay.begin(starts)
        observation = environment.reset(starts)
        for step in range(SESSION):
            seen.append(observation)
            action = random.choice(np.flatnonzero(observation.legal[0]))
            replay.arrays["static"][rows, step] = observation.static
            replay.arrays["actions"][rows, step] = action
            observation = environment.step(np.array([action])).observation
        replay.advance(rows, SESSION)
    return replay, seen


def make(replay: Replay, data: TrainingData, share: float) -> Reanalyzer:
    return Reanalyzer(replay, data.market, WINDOW, share, seed=3, best_value=False)


def test_it_sees_what_the_agent_saw_and_writes_what_the_search_says(small_market: TrainingData) -> None:
    replay, seen = played(small_market, 11)
    planner = Recorder()
    assert make(replay, small_market, 1.0).refresh(planner, 10 * SESSION) == 10 * SESSION
    assert len(planner.asked) == 2, "eight episodes at once"
    for name in Observation._fields:
        asked = np.concatenate([getattr(observation, name) for observation in planner.asked])
        expected = np.concatenate([getattr(observation, name) for observation in seen[: 10 * SESSION]])
        np.testing.assert_array_equal(asked, expected, err_msg=name)
    bars = small_market.starts[:100:10, None] + np.arange(SESSION)
    np.testing.assert_array_equal(replay.arrays["root_values"][:10], bars)
    np.testing.assert_allclose(replay.arrays["policies"][:10].sum(axis=-1), 1.0)
    assert (replay.arrays["policies"][10] == 0).all(), "the newest wave is fresh"
    assert len(set(planner.counters)) == 10 * SESSION


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_is_kept_over_time_and_the_stalest_come_first(small_market: TrainingData, share: float) -> None:
    replay, _ = played(small_market, 11)
    reanalyzer, planner = make(replay, small_market, share), Recorder()
    total = sum(reanalyzer.refresh(planner, steps) for steps in range(0, 8 * SESSION + 1, 5))
    total += reanalyzer.refresh(planner, 8 * SESSION)
    assert total == share * 8 * SESSION
    done = int(share * 8)
    assert replay.arrays["refreshed"][:11].tolist() == [11] * done + list(range(done + 1, 12))


def test_a_new_reanalyzer_goes_on_where_the_arrays_say(small_market: TrainingData) -> None:
    replays = [played(small_market, 11)[0] for _ in range(2)]
    planners = [Recorder(), Recorder()]
    kept = make(replays[0], small_market, 0.5)
    for steps in (50, 70, 100):
        kept.refresh(planners[0], steps)
        make(replays[1], small_market, 0.5).refresh(planners[1], steps)
    for name, array in replays[0].arrays.items():
        np.testing.assert_array_equal(array, replays[1].arrays[name], err_msg=name)
    assert planners[0].seeds == planners[1].seeds


def test_what_cannot_be_refreshed_is_not_owed_for_ever(small_market: TrainingData) -> None:
    replay, _ = played(small_market, 3)
    reanalyzer, planner = make(replay, small_market, 1.0), Recorder()
    assert reanalyzer.refresh(planner, 100 * SESSION) == 2 * SESSION
    assert reanalyzer.refresh(planner, 100 * SESSION) == 0
    replay.begin(small_market.starts[:1])
    assert reanalyzer.refresh(planner, 101 * SESSION) == SESSION


def test_a_search_of_the_real_planner_fits_in(small_market: TrainingData) -> None:
    config = load_config("tiny")
    replay, _ = played(small_market, 2)
    planner = TorchPlanner(build_networks(config.network, 0, WINDOW), config.search)
    assert make(replay, small_market, 1.0).refresh(planner, SESSION) == SESSION
    np.testing.assert_allclose(replay.arrays["policies"][0].sum(axis=-1), 1.0, rtol=1e-6)
    in_trade = replay.arrays["static"][0, :, 0] != 0
    assert (replay.arrays["policies"][0][in_trade][:, 1:3] == 0).all()

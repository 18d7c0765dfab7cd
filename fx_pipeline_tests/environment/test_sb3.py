"""The SB3 face plays the same sessions as the environment behind it."""

from typing import Any

import numpy as np
import pytest

from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.costs import build_fills
from fx_pipeline.proofs.markets import COSTS, proof_market
from fx_pipeline.sessions.index import valid_starts

sb3 = pytest.importorskip("stable_baselines3", reason="the extra `ppo` is not installed")

DENSE = RewardConfig(kind="dense", idle_reward=0.0)


@pytest.fixture(scope="module")
def market() -> Any:
    return proof_market("ou", 1, 8_000)


@pytest.fixture
def faces(market: Any) -> Any:
    from fx_pipeline.environment.sb3 import Sb3Environment

    fills, starts = build_fills(market, COSTS), valid_starts(market)
    face = Sb3Environment(market, fills, starts, DENSE, environments=8, seed=3, reward_scale=0.1)
    return face, LockstepEnvironment(market, fills, DENSE), np.random.default_rng(3).choice(starts, (3, 8))


def test_illegal_actions_become_hold_and_close() -> None:
    flat, held = [True, True, True, False], [True, False, False, True]
    last_flat, last_held = [True, False, False, False], [False, False, False, True]
    legal = np.array([flat, held, last_flat, last_held])
    assert playable([BUY, BUY, BUY, BUY], legal).tolist() == [BUY, HOLD, HOLD, CLOSE]
    assert playable([CLOSE, CLOSE, CLOSE, HOLD], legal).tolist() == [HOLD, CLOSE, HOLD, CLOSE]
    assert playable([HOLD, SELL, HOLD, CLOSE], legal).tolist() == [HOLD, HOLD, HOLD, CLOSE]


def test_same_actions_give_the_same_rewards_and_observations(faces: Any) -> None:
    face, environment, starts = faces
    draw = np.random.default_rng(0)
    observations, wanted = face.reset(), environment.reset(starts[0])
    for bar in range(360):
        rows = np.concatenate([wanted.temporal.reshape(8, -1), wanted.static], axis=1)
        assert observations.dtype == np.float32 and observations.tobytes() == rows.tobytes()
        actions = draw.integers(4, size=8)
        step = environment.step(playable(actions, wanted.legal))
        observations, rewards, dones, infos = face.step(actions)
        np.testing.assert_array_equal(rewards, (0.1 * step.rewards).astype(np.float32))
        assert dones.tolist() == [bar == 359] * 8
        wanted = step.observation
    last = np.concatenate([wanted.temporal.reshape(8, -1), wanted.static], axis=1)
    assert all(info["terminal_observation"].tobytes() == row.tobytes() for info, row in zip(infos, last, strict=True))
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert face.pips_per_episode == pytest.approx(environment.trades()["pnl_pips"].sum() / 8)
    fresh = environment.reset(starts[1])
    assert observations[:, :288].tobytes() == fresh.temporal.reshape(8, -1).tobytes(), "new sessions have begun"


def test_rewards_of_an_episode_are_in_its_info(faces: Any) -> None:
    face, _, _ = faces
    face.reset()
    draw = np.random.default_rng(1)
    total = np.zeros(8)
    for _ in range(2):
        total[:] = 0.0
        for _ in range(360):
            _, rewards, _, infos = face.step(draw.integers(4, size=8))
            total += rewards
        np.testing.assert_allclose([info["episode"]["r"] for info in infos], total / 0.1, rtol=1e-4, atol=1e-3)


def test_spaces_hold_what_comes_out(faces: Any) -> None:
    face, _, _ = faces
    assert face.observation_space.shape == (32 * 9 + 6,) and face.action_space.n == 4
    assert all(face.observation_space.contains(row) for row in face.reset())
    assert face.env_is_wrapped(object) == [False] * 8
    with pytest.raises(NotImplementedError):
        face.env_method("render")


def test_ppo_learns_from_it(market: Any, faces: Any) -> None:
    """A rollout and an update with finite losses."""
    face, _, _ = faces
    model = sb3.PPO("MlpPolicy", face, n_steps=45, batch_size=90, n_epochs=1, seed=0, device="cpu")
    model.learn(total_timesteps=8 * 45 * 9)
    assert model.num_timesteps == 8 * 45 * 9 and len(model.ep_info_buffer) == 8
    actions, _ = model.predict(face.reset(), deterministic=True)
    assert actions.shape == (8,)

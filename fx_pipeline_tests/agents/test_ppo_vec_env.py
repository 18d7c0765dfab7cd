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
    with pytest.raises(AttributeError):
        face.env_method("render")


def test_ppo_learns_from_it(market: Any, faces: Any) -> None:
    """A rollout and an update with finite losses."""
    face, _, _ = faces
    model = sb3.PPO("MlpPolicy", face, n_steps=45, batch_size=90, n_epochs=1, seed=0, device="cpu")
    model.learn(total_timesteps=8 * 45 * 9)
    assert model.num_timesteps == 8 * 45 * 9 and len(model.ep_info_buffer) == 8
    actions, _ = model.predict(face.reset(), deterministic=True)
    assert actions.shape == (8,)


def test_sb3_contrib_sees_the_masks(faces: Any) -> None:
    """Of the session that comes next, through every wrapper, and each session's own."""
    masks = pytest.importorskip("sb3_contrib.common.maskable.utils", reason="the extra `ppo` has no sb3-contrib")
    from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

    face, environment, starts = faces
    wrapped = VecMonitor(VecNormalize(face))
    assert masks.is_masking_supported(face) and masks.is_masking_supported(wrapped), "also before the first reset"
    draw = np.random.default_rng(0)
    wrapped.reset()
    wanted = environment.reset(starts[0]).legal
    for bar in range(360):
        assert masks.get_action_masks(wrapped).dtype == np.bool_
        assert masks.get_action_masks(wrapped).tolist() == wanted.tolist(), f"bar {bar}"
        actions = playable(draw.integers(4, size=8), wanted)
        wrapped.step(actions)
        wanted = environment.step(actions).observation.legal
    assert masks.get_action_masks(wrapped).tolist() == [[True, True, True, False]] * 8, "new sessions have begun"
    assert [row.tolist() for row in face.env_method("action_masks", indices=[7, 0])] == [[True, True, True, False]] * 2


def test_a_mask_that_was_given_stays_as_it_was(faces: Any) -> None:
    face, _, _ = faces
    face.reset()
    (before,) = face.env_method("action_masks", indices=0)
    face.step(np.full(8, BUY))
    assert before.tolist() == [True, True, True, False]
    assert face.env_method("action_masks", indices=0)[0].tolist() == [True, False, False, True]


def test_maskable_ppo_learns_and_never_plays_what_is_illegal(faces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="the extra `ppo` has no sb3-contrib")
    from sb3_contrib.common.maskable.evaluation import evaluate_policy
    from sb3_contrib.common.maskable.utils import get_action_masks

    from fx_pipeline.environment import sb3 as module

    def legal_only(actions: Any, legal: Any) -> Any:
        assert legal[np.arange(8), actions].all()
        return playable(actions, legal)

    monkeypatch.setattr(module, "playable", legal_only)
    face, _, _ = faces
    model = contrib.MaskablePPO("MlpPolicy", face, n_steps=361, batch_size=8 * 361, n_epochs=1, seed=0, device="cpu")
    model.learn(total_timesteps=8 * 361)
    assert model.num_timesteps == 8 * 361 and len(model.ep_info_buffer) == 8
    observations = face.reset()
    actions, _ = model.predict(observations, action_masks=get_action_masks(face))
    assert actions.shape == (8,)
    mean, _ = evaluate_policy(model, face, n_eval_episodes=8, warn=False)
    assert np.isfinite(mean)


@pytest.mark.parametrize(
    "name", ["legal", "pips_per_episode", "compute_reward", "step", "reset", "num_envs", "", "_face_", "action_mask"]
)
def test_what_the_sessions_do_not_have_is_an_attribute_error(faces: Any, name: str) -> None:
    face, _, _ = faces
    assert not face.has_attr(name)
    with pytest.raises(AttributeError):
        face.get_attr(name)
    with pytest.raises(AttributeError):
        face.env_method(name)
    with pytest.raises(AttributeError):
        face.set_attr(name, 1)


def test_what_learners_ask_for_by_name(faces: Any) -> None:
    face, _, _ = faces
    assert face.get_attr("render_mode") == [None] * 8 and face.render_mode is None
    assert face.get_attr("observation_space", 3) == [face.observation_space]
    assert face.get_attr("action_space", [0, 5]) == [face.action_space] * 2
    with pytest.raises(IndexError):
        face.get_attr("render_mode", 8)
    with pytest.raises(RuntimeError, match="call reset"):
        face.env_method("action_masks")
    with pytest.raises(RuntimeError, match="call reset"):
        face.step(np.zeros(8, dtype=np.int64))


def test_a_seed_reaches_the_generator(market: Any, faces: Any) -> None:
    """At the next reset, as in SB3's own environments; two faces with the same seed then play the same sessions."""
    from fx_pipeline.environment.sb3 import Sb3Environment
    from stable_baselines3.common.vec_env import VecNormalize

    face, _, starts = faces
    other = Sb3Environment(market, build_fills(market, COSTS), valid_starts(market), DENSE, environments=8, seed=9)
    assert face.seed(11) == list(range(11, 19))
    VecNormalize(other).seed(11)
    assert face.reset().tobytes() == other.reset().tobytes(), "one seed, one draw"
    later = face.reset()
    assert later.tobytes() == other.reset().tobytes(), "and it is used once"
    face.seed(11)
    assert face.reset().tobytes() != later.tobytes()
    face.seed(None)
    assert len(set(face._seeds)) == 8 and None not in face._seeds

    fresh = Sb3Environment(market, build_fills(market, COSTS), valid_starts(market), DENSE, environments=8, seed=3)
    fresh.seed(3)
    drawn = fresh.reset()[:, :288]
    wanted = LockstepEnvironment(market, build_fills(market, COSTS), DENSE).reset(starts[0]).temporal.reshape(8, -1)
    assert drawn.tobytes() == wanted.tobytes(), "the learner's seed, when it is the environment's, changes nothing"


def test_a_seed_waits_for_the_reset(faces: Any) -> None:
    """Sessions that begin by themselves do not use it up."""
    face, environment, starts = faces
    face.reset()
    face.seed(3)
    for _ in range(360):
        observations, *_ = face.step(np.zeros(8, dtype=np.int64))
    assert observations[:, :288].tobytes() == environment.reset(starts[1]).temporal.reshape(8, -1).tobytes()
    again = environment.reset(starts[0]).temporal.reshape(8, -1)
    assert face.reset()[:, :288].tobytes() == again.tobytes()


def test_options_are_refused(faces: Any) -> None:
    face, _, _ = faces
    face.set_options(None)
    face.set_options([{}] * 8)
    for options in ({"start": 3}, [{}] * 7 + [{"start": 3}]):
        with pytest.raises(ValueError, match="take no options"):
            face.set_options(options)


def test_sb3s_own_checks_and_wrappers(faces: Any) -> None:
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.utils import check_for_correct_spaces
    from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack, VecMonitor, VecNormalize

    face, _, _ = faces
    check_for_correct_spaces(face, face.observation_space, face.action_space)
    wrapped = VecCheckNan(VecFrameStack(VecMonitor(VecNormalize(face)), 2), raise_exception=True)
    model = sb3.PPO("MlpPolicy", wrapped, n_steps=361, batch_size=8 * 361, n_epochs=1, seed=0, device="cpu")
    model.learn(total_timesteps=8 * 361)
    mean, _ = evaluate_policy(model, wrapped, n_eval_episodes=8)
    assert np.isfinite(mean) and wrapped.has_attr("action_masks") and not wrapped.has_attr("goal")


def test_infos_are_nobody_elses(faces: Any) -> None:
    """What a callback writes into one session's info shows in no other and at no other step."""
    face, _, _ = faces
    face.reset()
    *_, infos = face.step(np.zeros(8, dtype=np.int64))
    infos[0]["mark"] = 1
    *_, later = face.step(np.zeros(8, dtype=np.int64))
    assert [len(info) for info in infos] == [1] + [0] * 7 and not any(later)

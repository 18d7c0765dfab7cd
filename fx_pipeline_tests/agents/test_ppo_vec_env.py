"""The face that stable-baselines3 sees plays the same sessions as the environment behind it."""

from typing import Any

import numpy as np
import pytest

from fx_pipeline.agents.kit.seeds import generator
from fx_pipeline.agents.ppo.curriculum import mixed
from fx_pipeline.agents.ppo.seeds import Purpose
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.clock import CLOCK_NAMES
from fx_pipeline.features.temporal9.entry import FEATURE_SET
from fx_pipeline.market.costs import build_fills, frictionless
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.proofs.markets import COSTS, proof_market
from fx_pipeline.sessions.index import valid_starts

sb3 = pytest.importorskip("stable_baselines3", reason="the extra `ppo` is not installed")

DENSE = RewardConfig(kind="dense", idle_reward=0.0)


def draw(seed: int, number: int, starts: Any) -> Any:
    """Starts (8,) of the sessions of a round."""
    return generator(seed, Purpose.STARTS, number).choice(starts, 8)


def seen(observation: Observation) -> Any:
    """What is shown (8, N): all of the window but the clock, and the clock of the newest bar."""
    clock = [FEATURE_SET.names.index(name) for name in CLOCK_NAMES]
    others = [column for column in range(9) if column not in clock]
    rows = [np.concatenate([w[:-1, others].ravel(), w[-1]]) for w in observation.temporal]
    return np.concatenate([np.array(rows), observation.static], axis=1)


@pytest.fixture(scope="module")
def market() -> Any:
    return proof_market("ou", 1, 8_000)


@pytest.fixture
def faces(market: Any) -> Any:
    from fx_pipeline.agents.ppo.vec_env import TradingVecEnv

    fills, starts = build_fills(market, COSTS), valid_starts(market)
    face = TradingVecEnv(market, fills, starts, DENSE, environments=8, seed=3, reward_scale=0.1)
    return face, LockstepEnvironment(market, fills, DENSE), np.array([draw(3, number, starts) for number in range(3)])


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
        rows = seen(wanted)
        assert observations.dtype == np.float32 and observations.tobytes() == rows.tobytes()
        actions = draw.integers(4, size=8)
        step = environment.step(playable(actions, wanted.legal))
        observations, rewards, dones, infos = face.step(actions)
        np.testing.assert_array_equal(rewards, (0.1 * step.rewards).astype(np.float32))
        assert dones.tolist() == [bar == 359] * 8
        wanted = step.observation
    last = seen(wanted)
    assert all(info["terminal_observation"].tobytes() == row.tobytes() for info, row in zip(infos, last, strict=True))
    assert all(info["TimeLimit.truncated"] for info in infos)
    assert face.trades.tobytes() == environment.trades().tobytes()
    fresh = environment.reset(starts[1])
    assert observations.tobytes() == seen(fresh).tobytes(), "new sessions have begun"


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
    assert face.observation_space.shape == (32 * 5 + 4 + 6,) and face.action_space.n == 4
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

    from fx_pipeline.agents.ppo import vec_env as module

    played = module.play_bar

    def legal_only(game: Any, seats: Any, bars: Any, chosen: Any, *rest: Any) -> Any:
        assert seats.legal[np.arange(8), chosen].all()
        return played(game, seats, bars, chosen, *rest)

    monkeypatch.setattr(module, "play_bar", legal_only)
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
    from stable_baselines3.common.vec_env import VecNormalize

    from fx_pipeline.agents.ppo.vec_env import TradingVecEnv

    face, _, starts = faces
    other = TradingVecEnv(market, build_fills(market, COSTS), valid_starts(market), DENSE, environments=8, seed=9)
    assert face.seed(11) == list(range(11, 19))
    VecNormalize(other).seed(11)
    assert face.reset().tobytes() == other.reset().tobytes(), "one seed, one draw"
    later = face.reset()
    assert later.tobytes() == other.reset().tobytes(), "and it is used once"
    face.seed(11)
    assert face.reset().tobytes() != later.tobytes()
    face.seed(None)
    assert len(set(face._seeds)) == 8 and None not in face._seeds

    fresh = TradingVecEnv(market, build_fills(market, COSTS), valid_starts(market), DENSE, environments=8, seed=3)
    fresh.seed(3)
    wanted = LockstepEnvironment(market, build_fills(market, COSTS), DENSE).reset(starts[0])
    assert fresh.reset().tobytes() == seen(wanted).tobytes(), "the seed that it has anyhow changes nothing"


def test_a_seed_waits_for_the_reset(faces: Any) -> None:
    """Sessions that begin by themselves do not use it up."""
    face, environment, starts = faces
    face.reset()
    face.seed(3)
    for _ in range(360):
        observations, *_ = face.step(np.zeros(8, dtype=np.int64))
    assert observations.tobytes() == seen(environment.reset(starts[1])).tobytes()
    assert face.reset().tobytes() == seen(environment.reset(starts[0])).tobytes()


@pytest.mark.parametrize("name", ["unit4", "long_flat_short", "leverage7"])
def test_it_plays_every_action_set_and_length_upside_down_and_gated(market: Any, name: str) -> None:
    """As the environment does, with actions and observations turned, and no entry where the gate is closed."""
    from fx_pipeline.agents.ppo.vec_env import TradingVecEnv

    actions, rules = action_set(name), SessionRules(bars=40, window_bars=12)
    fills, starts = build_fills(market, COSTS), valid_starts(market, rules)
    closed = np.random.default_rng(5).random(len(market)) < 0.5
    face = TradingVecEnv(
        market, fills, starts, DENSE, environments=8, seed=3, rules=rules, actions=actions, closed=closed, mirror=True
    )
    environment, turned = LockstepEnvironment(market, fills, DENSE, rules, actions), np.array(actions.mirror)
    observations, wanted = face.reset(), environment.reset(draw(3, 0, starts))
    draws = np.random.default_rng(0)
    for bar in range(40):
        upright, over = observations[::2], observations[1::2]
        assert upright[:, -7:-1].tobytes() == wanted.static[::2].tobytes()
        np.testing.assert_array_equal(over[:, -7], -wanted.static[1::2, 0])
        change = FEATURE_SET.names.index("price_change_pips")
        np.testing.assert_array_equal(over[:, change], -wanted.temporal[1::2, 0, change])
        np.testing.assert_array_equal(observations[:, -1], closed[wanted.bar])
        chosen = draws.integers(len(actions), size=8)
        meant = actions.playable(np.where(np.arange(8) % 2, turned[chosen], chosen), wanted.legal)
        held = wanted.static[:, 0]
        targets = np.array([np.nan if target is None else target for target in actions.targets])[meant]
        enters = (np.nan_to_num(targets) != 0) & ~(held * targets > 0) & closed[wanted.bar]
        done = np.where(enters, np.where(held == 0, actions.rest, actions.flat), meant)
        step = environment.step(done)
        observations, rewards, _, _ = face.step(chosen)
        np.testing.assert_array_equal(rewards, step.rewards.astype(np.float32))
        np.testing.assert_array_equal(face.blocked[bar], enters)
        wanted = step.observation
    assert face.trades.tobytes() == environment.trades().tobytes() and face.blocked.any()


def test_every_step_knows_its_trade(faces: Any) -> None:
    """From the order that opens a trade to the one that closes it, and no other step."""
    face, _, _ = faces
    face.reset()
    draws = np.random.default_rng(2)
    for _ in range(360):
        face.step(draws.integers(4, size=8))
    bars = face._environment.market.time
    starts = draw(3, 0, valid_starts(face._environment.market))
    for session in range(8):
        own = face.trades[face.trades["session"] == session]
        for number, trade in enumerate(own):
            steps = np.flatnonzero(face.of_trade[:, session] == number)
            assert (np.diff(steps) == 1).all()
            assert starts[session] + steps[0] == trade["entry_bar"] - 1, "filled at the next open"
            assert starts[session] + steps[-1] in (trade["exit_bar"] - 1, trade["exit_bar"])
        assert face.of_trade[:, session].max() == len(own) - 1
    assert len(bars) == 8_000


def test_costs_that_rise_are_those_that_are_charged(market: Any, faces: Any) -> None:
    face, environment, starts = faces
    full = build_fills(market, COSTS)
    face.charge(mixed(build_fills(market, frictionless(COSTS)), full, 0.25))
    face.reset()
    environment.reset(starts[0])
    buys, holds = np.full(8, BUY), np.full(8, HOLD)
    for actions in (buys, holds):
        dear, (_, cheap, _, _) = environment.step(actions), face.step(actions)
        if actions is buys:
            np.testing.assert_allclose(cheap / 0.1 - dear.rewards, 0.75 * 4.0 * 1.01, atol=0.05)


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

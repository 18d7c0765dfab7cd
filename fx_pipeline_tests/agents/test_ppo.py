"""PPO: weights of trades, the gate, identity after save and load, determinism, exact resume."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="the extra `ppo` is not installed")

import torch
from gymnasium.spaces import Box, Discrete

from fx_pipeline.agents.base import Budget, SelectionScore, TrainingData
from fx_pipeline.agents.entry import Needs
from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.ppo import gate
from fx_pipeline.agents.ppo.buffer import TradeBuffer
from fx_pipeline.agents.ppo.config import CurriculumConfig, GateConfig, TradesConfig, load_config
from fx_pipeline.agents.ppo.curriculum import cost_share
from fx_pipeline.agents.ppo.learner import Learner
from fx_pipeline.agents.ppo.networks import TradingPolicy, layers_of
from fx_pipeline.agents.ppo.policy import PpoPolicy
from fx_pipeline.agents.ppo.trainer import PpoTrainer
from fx_pipeline.agents.ppo.weights import loser_weight, step_weights
from fx_pipeline.agents.registry import agent
from fx_pipeline.environment.action_sets import LEVERAGE7
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.market.session_rules import SessionRules

RULES = SessionRules(bars=40, window_bars=12)
#: Ten rollouts of four sessions.
BUDGET = Budget(40)


@pytest.fixture(scope="module")
def data(make_market: Callable[..., TrainingData]) -> TrainingData:
    return replace(make_market(3, 8_000), rules=RULES)


def train(data: TrainingData, folder: Path, seed: int = 1, resume: bool = True, **overrides: Any) -> Any:
    config = load_config("tiny", {name.replace("__", "."): value for name, value in overrides.items()})
    return PpoTrainer(config).train(data, BUDGET, seed=seed, folder=folder, resume=resume)


def observation(data: TrainingData, sessions: int = 16) -> Observation:
    """In the middle of sessions, some of them in a position."""
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), None, data.rules, data.actions)
    seen = environment.reset(data.starts[:: len(data.starts) // sessions][:sessions])
    draw = np.random.default_rng(0)
    for _ in range(7):
        seen = environment.step(
            data.actions.playable(draw.integers(len(data.actions), size=sessions), seen.legal)
        ).observation
    return seen


def test_losers_count_less_at_first_and_in_full_from_half_time_on() -> None:
    phased, weighted = TradesConfig(phased=True, weighted=True), TradesConfig(weighted=True)
    assert loser_weight(TradesConfig(), 0.0, None) == 1.0
    assert [loser_weight(phased, fraction, None) for fraction in (0.0, 0.4, 0.5, 0.9)] == [0.0, 0.0, 1.0, 1.0]
    assert loser_weight(phased, 0.1, 0.1) == pytest.approx(0.2)
    assert loser_weight(phased, 0.3, 0.1) == pytest.approx(0.6)
    assert [round(loser_weight(weighted, fraction, None), 2) for fraction in (0.0, 0.25, 0.5)] == [0.2, 0.6, 1.0]


def test_a_whole_trade_shares_a_weight_and_what_the_gate_blocked_has_none() -> None:
    of_trade = np.array([[-1, 0], [0, 0], [0, 1], [1, -1]])
    blocked = np.zeros((4, 2), dtype=np.bool_)
    blocked[0, 0] = True
    pips = np.array([[-3.0, 5.0], [2.0, 0.0]])
    weights = step_weights(of_trade, blocked, pips, 0.2)
    np.testing.assert_allclose(weights, [[0.0, 1.0], [0.2, 1.0], [0.2, 0.2], [1.0, 1.0]])


def test_costs_rise_to_what_they_are() -> None:
    config = CurriculumConfig(start=0.0, until=0.2)
    assert [round(cost_share(config, fraction), 2) for fraction in (0.0, 0.1, 0.2, 0.9)] == [0.0, 0.5, 1.0, 1.0]
    assert cost_share(CurriculumConfig(), 0.0) == 1.0
    with pytest.raises(ConfigurationError, match=r"curriculum\.until"):
        load_config("small", {"curriculum.until": 0.6})


def test_the_gradient_is_that_of_the_weighted_policy_and_of_the_unweighted_value() -> None:
    """By hand: sum of w A grad log pi over the steps, and the mean squared error of the value, of one minibatch."""
    torch.manual_seed(0)
    steps, sessions = 6, 4
    buffer = TradeBuffer(steps, Box(-1, 1, (3,), np.float32), Discrete(3), gamma=0.9, gae_lambda=0.8, n_envs=sessions)
    policy = TradingPolicy(Box(-1, 1, (3,), np.float32), Discrete(3), lambda _: 1e-3, net_arch=[8])
    weights = np.random.default_rng(1).choice([0.0, 0.2, 1.0], (steps, sessions)).astype(np.float32)
    buffer.weigh = lambda: weights
    draw = np.random.default_rng(0)
    for step in range(steps):
        seen = torch.from_numpy(draw.uniform(-1, 1, (sessions, 3)).astype(np.float32))
        with torch.no_grad():
            actions, values, chances = policy(seen)
        rewards = draw.normal(size=sessions).astype(np.float32)
        buffer.add(seen.numpy(), actions.numpy(), rewards, np.full(sessions, step == 0), values, chances)
    plain = TradeBuffer(steps, Box(-1, 1, (3,), np.float32), Discrete(3), gamma=0.9, gae_lambda=0.8, n_envs=sessions)
    for name in ("observations", "actions", "rewards", "episode_starts", "values", "log_probs"):
        setattr(plain, name, getattr(buffer, name).copy())
    plain.full = True
    for one in (buffer, plain):
        one.compute_returns_and_advantage(torch.zeros(sessions), np.ones(sessions, dtype=np.bool_))
    np.testing.assert_array_equal(buffer.returns, plain.returns)
    np.testing.assert_allclose(buffer.advantages, weights * plain.advantages, rtol=1e-6)
    assert abs(plain.advantages.mean()) < 1e-6 and plain.advantages.std() == pytest.approx(1.0, abs=1e-4)

    (batch,) = list(buffer.get())
    values, log_prob, _ = policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
    ratio = torch.exp(log_prob - batch.old_log_prob)
    surrogate = -torch.min(batch.advantages * ratio, batch.advantages * ratio.clamp(0.8, 1.2)).mean()
    names = [name for name, _ in policy.named_parameters() if "value" not in name]
    parameters = [parameter for name, parameter in policy.named_parameters() if name in names]
    got = torch.autograd.grad(surrogate, parameters)
    wanted = [torch.zeros_like(parameter) for parameter in parameters]
    for step in range(steps):
        for session in range(sessions):
            seen = torch.from_numpy(plain.observations[step, session][None])
            action = torch.tensor([int(plain.actions[step, session, 0])])
            _, chance, _ = policy.evaluate_actions(seen, action)
            scale = float(weights[step, session] * plain.advantages[step, session]) / (steps * sessions)
            for total, part in zip(wanted, torch.autograd.grad(chance.sum(), parameters), strict=True):
                total -= scale * part
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_minibatches_are_drawn_from_the_order_and_hold_every_step_once() -> None:
    buffer = TradeBuffer(5, Box(-1, 1, (1,), np.float32), Discrete(2), n_envs=4)
    buffer.observations[:] = np.arange(20, dtype=np.float32).reshape(5, 4, 1)
    buffer.full = True
    passes = []
    for _ in range(2):
        buffer._passes, buffer.order = 0, lambda number: np.random.default_rng(number)
        passes.append([batch.observations.flatten().tolist() for batch in buffer.get(6)])
    assert passes[0] == passes[1] and [len(batch) for batch in passes[0]] == [7, 7, 6]
    assert sorted(step for batch in passes[0] for step in batch) == list(range(20))


def test_the_gate_is_the_same_in_training_and_in_the_policy_and_knows_the_training_sessions_alone(
    data: TrainingData,
) -> None:
    column = gate.change_column(GateConfig(), "temporal9")
    moves = gate.market_moves(data.market, column, RULES.window_bars, 5)
    bars = np.arange(2_000, 2_100)
    windows = data.market.windows(bars, RULES.window_bars)
    assert gate.moves(windows, column, 5).tobytes() == moves[bars].tobytes()
    assert gate.moves(windows[40:41], column, 5)[0] == moves[2_040]
    starts = data.starts[:500]
    limit = gate.threshold(moves, starts, RULES.bars, 0.56)
    inside = np.arange(starts[0], starts[-1] + RULES.bars)
    assert (moves[inside] < limit).mean() == pytest.approx(0.56, abs=0.01)
    later = replace(data.market, features=data.market.features.copy())
    later.features[inside[-1] + 1 :] = np.nan
    assert gate.threshold(gate.market_moves(later, column, RULES.window_bars, 5), starts, RULES.bars, 0.56) == limit


def test_the_gate_of_a_checkpoint_is_that_of_its_training(data: TrainingData, tmp_path: Path) -> None:
    checkpoint = train(data, tmp_path, gate__on=True)
    policy = PpoPolicy.from_checkpoint(tmp_path)
    seen = observation(data, 64)
    closed = gate.moves(seen.temporal, gate.change_column(GateConfig(), "temporal9"), 5) < policy._threshold
    flat = seen.static[:, 0] == 0
    assert (policy.choose(seen)[closed & flat] == data.actions.rest).all() and (closed & flat).any()
    assert 0.0 < checkpoint.metrics["blocked_share"] < 1.0


def test_a_checkpoint_decides_as_what_was_trained_row_by_row(data: TrainingData, tmp_path: Path) -> None:
    train(data, tmp_path)
    policy, seen = PpoPolicy.from_checkpoint(tmp_path), observation(data)
    chosen = policy.choose(seen)
    assert seen.legal[np.arange(len(chosen)), chosen].all()
    for row in range(len(chosen)):
        alone = Observation(*(part[row : row + 1] for part in seen))
        assert policy.choose(alone)[0] == chosen[row]
    with pytest.raises(DataError, match="is given"):
        policy.choose(seen._replace(temporal=seen.temporal[:, 1:]))


@pytest.mark.parametrize("groups", [0, 4])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_compiled_decisions_are_those_of_torch(activation: str, groups: int) -> None:
    from fx_pipeline.agents.ppo.kernels import probabilities
    from fx_pipeline.agents.ppo.networks import policy_kwargs

    config = load_config("tiny", {"network.activation": activation, "network.simplicial_groups": groups}).network
    torch.manual_seed(2)
    policy = TradingPolicy(Box(-1, 1, (20,), np.float32), Discrete(4), lambda _: 1e-3, **policy_kwargs(config))
    with torch.no_grad():
        policy.action_net.weight *= 100
        rows = torch.randn(8, 20)
        wanted = policy.get_distribution(rows).distribution.probs.numpy()
    layers = layers_of(policy.state_dict(), config)
    np.testing.assert_allclose([probabilities(row, *layers) for row in rows.numpy()], wanted, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_whatever_others_draw(data: TrainingData, tmp_path: Path) -> None:
    before = np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002
    first = train(data, tmp_path / "a")
    assert np.random.get_state()[1].tobytes() == before[0] and torch.equal(torch.get_rng_state(), before[1])  # noqa: NPY002
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    again, other = train(data, tmp_path / "b"), train(data, tmp_path / "c", seed=2)
    assert first.sha256 == again.sha256 != other.sha256 and first.history == again.history
    for name in ("checkpoint.json", "weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("options", [{}, {"trades__phased": True, "trades__winners": 40, "curriculum__start": 0.0}])
@pytest.mark.parametrize("rollout", [1, 4, 9])
def test_a_training_that_was_killed_at_any_rollout_ends_alike(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rollout: int, options: dict[str, Any]
) -> None:
    whole = train(data, tmp_path / "whole", **options)
    learn = Learner.learn

    def killed(self: Learner, number: int, fraction: float) -> Any:
        if number == rollout:
            raise KeyboardInterrupt
        return learn(self, number, fraction)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "killed", **options)
    resumed = train(data, tmp_path / "killed", **options)
    assert resumed.sha256 == whole.sha256 and resumed.history == whole.history
    assert not (tmp_path / "killed" / "bundle").exists()


def test_the_best_weights_of_the_selection_span_are_kept_and_every_score_is_told(
    data: TrainingData, tmp_path: Path
) -> None:
    told: list[SelectionScore] = []
    trainer = PpoTrainer(load_config("tiny"))
    checkpoint = trainer.train(data, BUDGET, seed=1, folder=tmp_path, on_score=told.append)
    judged = [row for row in checkpoint.history if "selection_score" in row]
    assert len(told) == len(judged) == 5
    best = max(range(5), key=lambda number: judged[number]["selection_score"])
    assert told[best].checkpoint_sha256 == checkpoint.sha256
    assert judged[best]["selection_pips"] == pytest.approx(told[best].session_pnl_pips.mean())
    assert (tmp_path / "kept" / "latest" / "checkpoint.json").exists()


def test_an_agent_none_of_whose_weights_earned_anything_stands_aside(data: TrainingData, tmp_path: Path) -> None:
    dear = replace(data, costs=replace(data.costs, fixed_pips=60.0))
    traded = train(dear, tmp_path / "trades", selection__aside=False)
    stands = train(dear, tmp_path / "stands", selection__aside=True)
    assert traded.history[-1]["selection_best_pips"] < 0 and traded.sha256 != stands.sha256
    policy, seen = PpoPolicy.from_checkpoint(tmp_path / "stands"), observation(dear)
    flat = seen.static[:, 0] == 0
    assert (policy.choose(seen)[flat] == 0).all() and flat.any()


def test_a_training_that_diverges_leaves_what_stood(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fx_pipeline.agents.ppo.learner._between", lambda first, last, fraction: 1e30)
    with pytest.raises(TrainingDivergedError, match=r"learner\.learning_rate"):
        train(data, tmp_path)
    assert not (tmp_path / "checkpoint.json").exists()


def test_it_learns_with_other_actions(data: TrainingData, tmp_path: Path) -> None:
    other = replace(data, actions=LEVERAGE7)
    train(other, tmp_path)
    seen = observation(other)
    assert PpoPolicy.from_checkpoint(tmp_path).choose(seen).shape == (16,)


def test_damage_is_named(data: TrainingData, tmp_path: Path) -> None:
    train(data, tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ConfigurationError, match="does not have the hash"):
        PpoPolicy.from_checkpoint(tmp_path)


def test_what_cannot_work_is_refused() -> None:
    entry = agent("ppo")
    assert "change of a bar" in str(entry.refuses(Needs("gated", feature_set="wavelet67")))
    assert "window_bars" in str(entry.refuses(Needs("gated", feature_set="picco17", rules=SessionRules(window_bars=4))))
    assert entry.refuses(Needs("small", feature_set="wavelet67", actions=LEVERAGE7)) is None
    with pytest.raises(ConfigurationError, match=r"learner\.rate"):
        load_config("small", {"learner.rate": 1.0})

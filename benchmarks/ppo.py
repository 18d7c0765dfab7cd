"""PPO through stable-baselines3: compiled sessions against a plain Python environment of the same rules.

    python -m benchmarks.ppo --json

Both are whole trainings, with rollouts and updates of the same library in the same run, one after the other: the agent
`ppo` with a preset of its own (64 sessions at once), and `PPO("MlpPolicy", environment)` on one `gymnasium.Env` that
plays the same sessions, costs and rewards bar by bar, with the network, rollout, minibatches and passes of the preset.
The Python environment is held against the compiled one first: the same actions must earn the same. The figures whose
name has `cpu` are of seconds of this process on a core: where other programs share the cores, they say more.
"""

import argparse
import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Budget, TrainingData
from fx_pipeline.agents.kit.torch_settings import torch_settings
from fx_pipeline.agents.ppo.config import PpoConfig, load_config
from fx_pipeline.agents.ppo.networks import policy_kwargs
from fx_pipeline.agents.ppo.view import shown
from fx_pipeline.environment.actions import BUY, CLOSE, HOLD, SELL
from fx_pipeline.proofs.prove import Proof, training_data

SESSION_BARS = 360
Float64 = npt.NDArray[np.float64]


class PythonEnvironment(gymnasium.Env[npt.NDArray[np.float32], np.int64]):
    """A session at a time, in plain Python: `unit4`, a fixed cost, fills at the next open, the dense reward."""

    def __init__(self, data: TrainingData, scale: float, seed: int) -> None:
        market = data.market
        self._features, self._starts, self._scale = market.features, data.starts, scale
        self._open, self._close = (market.open / market.pip).tolist(), (market.close / market.pip).tolist()
        self._backs, self._columns = shown(market.feature_set, data.rules.window_bars)
        self._draw = np.random.default_rng(seed)
        self._cost = data.costs.fixed_pips
        self._side, self._entry, self._bars = 0, 0.0, 0
        size = len(self._backs) + 6
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin a session, at the bar of `options["start"]` or at a random one."""
        self._bar = int((options or {}).get("start", 0)) or int(self._draw.choice(self._starts))
        self._left = SESSION_BARS
        self._flatten()
        return self._look(), {}

    def step(self, action: np.int64) -> Any:
        """Act at the close of a bar."""
        bar, last = self._bar, self._left == 1
        reward = 0.0
        if self._side == 0:
            if action in (BUY, SELL) and not last:
                self._side, self._entry = (1 if action == BUY else -1), self._open[bar + 1]
                reward = self._mark(self._close[bar + 1])
                self._bars += 1
        elif action == CLOSE or last:
            reward = self._mark(self._close[bar] if last else self._open[bar + 1])
            self._flatten()
        else:
            reward = self._mark(self._close[bar + 1])
            self._bars += 1
        self._left -= 1
        self._bar += 0 if self._left == 0 else 1
        return self._look(), self._scale * reward, False, self._left == 0, {}

    def _flatten(self) -> None:
        self._side, self._entry, self._bars = 0, 0.0, 0
        self._pips = self._peak = self._drawdown = self._deepest = self._accumulated = 0.0

    def _mark(self, price: float) -> float:
        pips = self._side * (price - self._entry) - self._cost
        self._peak = max(self._peak, pips)
        drawdown = self._peak - pips
        grown = max(0.0, drawdown - self._drawdown)
        reward = pips - self._pips - 0.01 * grown
        self._accumulated += grown
        self._deepest = max(self._deepest, drawdown)
        self._pips, self._drawdown = pips, drawdown
        return reward

    def _look(self) -> npt.NDArray[np.float32]:
        window = self._features[self._bar - self._backs, self._columns]
        position = np.zeros(6, dtype=np.float32)
        if self._side:
            pips = (self._pips, self._bars, self._pips - self._peak, self._deepest, self._accumulated)
            position[0] = self._side
            position[1:] = np.tanh(np.array(pips) / 100.0)
        return np.concatenate([window, position])


def check(data: TrainingData) -> float:
    """Greatest difference between the rewards of the two environments for the same actions, in pips."""
    from fx_pipeline.environment.lockstep import LockstepEnvironment
    from fx_pipeline.environment.rewards import RewardConfig
    from fx_pipeline.market.costs import build_fills

    reward = RewardConfig(kind="dense", idle_reward=0.0)
    environment = LockstepEnvironment(data.market, build_fills(data.market, data.costs), reward)
    plain, draw, worst = PythonEnvironment(data, 1.0, 0), np.random.default_rng(1), 0.0
    for start in data.starts[:: len(data.starts) // 4][:4]:
        seen = environment.reset(np.array([start]))
        plain.reset(options={"start": int(start)})
        for _ in range(SESSION_BARS):
            action = int(draw.choice([HOLD, HOLD, HOLD, BUY, SELL, CLOSE]))
            done = data.actions.playable([action], seen.legal)
            step = environment.step(done)
            _, reward_of_plain, *_ = plain.step(np.int64(action))
            worst = max(worst, abs(float(step.rewards[0]) - reward_of_plain))
            seen = step.observation
    return worst


def clocks() -> Float64:
    """Seconds by the wall, and of this process on a core."""
    return np.array([time.perf_counter(), time.process_time()])


def ours(config: PpoConfig, data: TrainingData, rollouts: int) -> Float64:
    """Steps a second of the agent, playing and learning, by both clocks."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from fx_pipeline.agents.ppo.training import Training

    with TemporaryDirectory() as folder:
        training = Training(config, data, Budget(10**6), 0, Path(folder) / "bundle")
        learner, environments = training.learner, training.environment.num_envs
        weights = np.ones((data.rules.bars, environments), dtype=np.float32)
        for rollout in range(rollouts + 1):
            if rollout == 1:
                began = clocks()
            learner.play(rollout, lambda: weights)
            learner.learn(rollout, 0.0)
    return rollouts * data.rules.bars * environments / (clocks() - began)


def python(config: PpoConfig, data: TrainingData, steps: int) -> Float64:
    """Steps a second of stable-baselines3 on the plain environment, playing and learning, by both clocks."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    class Timed(BaseCallback):
        first: Float64 | None = None

        def _on_step(self) -> bool:
            if self.first is None:
                self.first = clocks()
            return True

    settings, timed = config.learner, Timed()
    kwargs = policy_kwargs(config.network)
    del kwargs["simplicial_groups"]
    model = PPO(
        "MlpPolicy", PythonEnvironment(data, 0.1, 0), seed=0, device="cpu", n_steps=steps, policy_kwargs=kwargs,
        batch_size=settings.batch_size, n_epochs=settings.epochs, learning_rate=settings.learning_rate,
        gamma=settings.gamma, gae_lambda=settings.gae_lambda, ent_coef=settings.entropy,
    )  # fmt: skip
    model.learn(steps, callback=timed)
    assert timed.first is not None
    return steps / (clocks() - timed.first)


def measure(preset: str, bars: int, rollouts: int, python_steps: int) -> dict[str, float]:
    """Both, on the market `ou`."""
    data = training_data(Proof("ppo", "ou", bars=bars), 0)
    config = load_config(preset)
    difference = check(data)
    if difference > 1e-6:
        raise SystemExit(f"the environments differ by {difference} pips a step: nothing was compared.")
    with torch_settings(config.runtime.threads):
        fast, slow = ours(config, data, rollouts), python(config, data, python_steps)
    ratio = fast / slow
    return {
        "steps_per_s": round(fast[0]),
        "vs_python_env": round(ratio[0], 2),
        "python_steps_per_s": round(slow[0]),
        "steps_per_cpu_s": round(fast[1]),
        "vs_python_env_cpu": round(ratio[1], 2),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--bars", type=int, default=60_000, help="of the market")
    parser.add_argument("--rollouts", type=int, default=6, help="of the agent")
    parser.add_argument("--python-steps", type=int, default=8_192, help="of the plain environment, one rollout")
    given = parser.parse_args()
    found = measure(given.preset, given.bars, given.rollouts, given.python_steps)
    if given.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write("".join(f"{name}: {value:,}\n" for name, value in found.items()))


if __name__ == "__main__":
    main()

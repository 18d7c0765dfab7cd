"""The environment as stable-baselines3 knows environments; needs the extra `ppo`."""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.vec_env import VecEnv

from fx_pipeline.environment.actions import NUM_ACTIONS, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import NUM_FEATURES, MarketArrays
from fx_pipeline.market.costs import Fills


class Sb3Environment(VecEnv):
    """B sessions in lock-step as one `VecEnv`: when they end, all begin again at other starts.

    An action that the position does not allow is HOLD, or CLOSE at the last bar of a session. The end of a session is
    reported as a time limit, so that learners may bootstrap from the observation there.

    Parameters
    ----------
    market : MarketArrays
    fills : Fills
    starts : (S,) int64
        Sessions are drawn from these, uniformly.
    reward : RewardConfig
    environments : int
        B.
    seed : int
    reward_scale : float
        What the learner gets for a pip.
    """

    def __init__(
        self,
        market: MarketArrays,
        fills: Fills,
        starts: npt.NDArray[np.int64],
        reward: RewardConfig,
        *,
        environments: int,
        seed: int,
        reward_scale: float = 1.0,
    ) -> None:
        self._environment = LockstepEnvironment(market, fills, reward)
        self._starts, self._scale = starts, reward_scale
        self._draw = np.random.default_rng(seed)
        self._actions = np.zeros(environments, dtype=np.int64)
        self._rewards = np.zeros(environments)
        self._nothing: list[dict[str, Any]] = [{} for _ in range(environments)]
        size = self._environment.window_bars * NUM_FEATURES + NUM_STATIC
        super().__init__(environments, Box(-np.inf, np.inf, (size,), np.float32), Discrete(NUM_ACTIONS))
        #: Pips per episode of the sessions that ended last, NaN before.
        self.pips_per_episode = float("nan")

    def reset(self) -> npt.NDArray[np.float32]:
        """Begin new sessions and return the observations, (B, 294) float32."""
        self._rewards[:] = 0.0
        return flat(self._environment.reset(self._draw.choice(self._starts, self.num_envs)))

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take the (B,) actions of the next step."""
        self._actions = playable(actions, self._environment.seats.legal)

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        """Move all sessions by a bar and return observations, rewards, dones and infos."""
        step = self._environment.step(self._actions)
        self._rewards += step.rewards
        rewards = (self._scale * step.rewards).astype(np.float32)
        observations, infos = flat(step.observation), self._nothing
        if step.done:
            length = self._environment.session_bars
            infos = [
                {
                    "terminal_observation": last,
                    "TimeLimit.truncated": True,
                    "episode": {"r": total, "l": length},
                }
                for last, total in zip(observations, self._rewards.tolist(), strict=True)
            ]
            self.pips_per_episode = float(self._environment.trades()["pnl_pips"].sum()) / self.num_envs
            observations = self.reset()
        return observations, rewards, np.full(self.num_envs, step.done), infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute once for each of the environments `indices`."""
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the sessions have no attributes of their own."""
        raise NotImplementedError("sessions in lock-step have no attributes of their own.")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refused: the sessions have no methods of their own."""
        raise NotImplementedError("sessions in lock-step have no methods of their own.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never wrapped."""
        return [False for _ in self._get_indices(indices)]


def flat(observation: Observation) -> npt.NDArray[np.float32]:
    """Return the window and the position features as one row, (B, 32 * 9 + 6) float32."""
    rows = len(observation.static)
    return np.concatenate([observation.temporal.reshape(rows, -1), observation.static], axis=1)

"""The environment as stable-baselines3 knows environments; needs the extra `ppo`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3.common.vec_env import VecEnv

from fx_pipeline.environment.actions import NUM_ACTIONS, playable
from fx_pipeline.environment.lockstep import LockstepEnvironment, Observation
from fx_pipeline.environment.position import NUM_STATIC
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import NUM_FEATURES, MarketArrays
from fx_pipeline.market.costs import Fills


class Sb3Environment(VecEnv):
    """B sessions in lock-step as one `VecEnv`: when they end, all begin again at other starts.

    An action that the position does not allow is HOLD, or CLOSE at the last bar of a session; `action_masks` of each
    session says which it allows, as sb3-contrib asks for it. The end of a session is reported as a time limit, so that
    learners may bootstrap from the observation there.

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
        Of the generator that draws the sessions of all B; `seed()` begins it anew at the next `reset`, with the first
        of the seeds that it returns.
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
        size = self._environment.window_bars * NUM_FEATURES + NUM_STATIC
        observations, actions = Box(-np.inf, np.inf, (size,), np.float32), Discrete(NUM_ACTIONS)
        # First: the base class asks for their attributes.
        self._sessions = [_Session(self, row, observations, actions) for row in range(environments)]
        super().__init__(environments, observations, actions)
        #: Pips per episode of the sessions that ended last, NaN before.
        self.pips_per_episode = float("nan")

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Refused, unless there are none: a reset takes no options.

        Raises
        ------
        ValueError
            If there are some.
        """
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"options={options!r}: sessions begin at random starts and take no options.")

    def reset(self) -> npt.NDArray[np.float32]:
        """Begin new sessions and return the observations, (B, 294) float32."""
        if self._seeds[0] is not None:
            self._draw = np.random.default_rng(self._seeds[0])
            self._reset_seeds()
        return self._begin()

    def legal(self) -> npt.NDArray[np.bool_]:
        """Return which actions the sessions allow next, (B, 4) bool.

        Raises
        ------
        RuntimeError
            If no sessions have begun.
        """
        if not hasattr(self._environment, "seats"):
            raise RuntimeError("no sessions have begun: call reset.")
        return self._environment.seats.legal

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take the (B,) actions of the next step."""
        self._actions = playable(actions, self.legal())

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        """Move all sessions by a bar and return observations, rewards, dones and infos."""
        step = self._environment.step(self._actions)
        self._rewards += step.rewards
        rewards = (self._scale * step.rewards).astype(np.float32)
        observations: npt.NDArray[np.float32] = flat(step.observation)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
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
            observations = self._begin()
        return observations, rewards, np.full(self.num_envs, step.done), infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of each of the environments `indices`.

        Raises
        ------
        AttributeError
            If they have none of the name.
        """
        return [getattr(self._sessions[row], attr_name) for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: what would be set here, nothing would read.

        Raises
        ------
        AttributeError
            Always.
        """
        raise AttributeError(f"{attr_name} cannot be set: sessions in lock-step share what they are made with.")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of each of the environments `indices`; `action_masks` is the one that they have.

        Raises
        ------
        AttributeError
            If they have none of the name.
        """
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _begin(self) -> npt.NDArray[np.float32]:
        self._rewards[:] = 0.0
        return flat(self._environment.reset(self._draw.choice(self._starts, self.num_envs)))


class _Session:
    # One of the sessions in the form of an environment: what can be asked of it by name, and nothing else.
    metadata: Mapping[str, Any] = {"render_modes": []}
    render_mode = None
    spec = None

    def __init__(self, face: Sb3Environment, row: int, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self._face, self._row = face, row
        self.observation_space, self.action_space = observation_space, action_space

    def action_masks(self) -> npt.NDArray[np.bool_]:
        return self._face.legal()[self._row].copy()


def flat(observation: Observation) -> npt.NDArray[np.float32]:
    """Return the window and the position features as one row, (B, 32 * 9 + 6) float32."""
    rows = len(observation.static)
    return np.concatenate([observation.temporal.reshape(rows, -1), observation.static], axis=1)

"""The lock-step environment as stable-baselines3 knows environments."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3.common.vec_env import VecEnv

from fx_pipeline.agents.kit.seeds import generator
from fx_pipeline.agents.ppo.kernels import look, play_bar
from fx_pipeline.agents.ppo.seeds import Purpose
from fx_pipeline.agents.ppo.view import shown
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.lockstep import LockstepEnvironment
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.environment.trades import TRADE_DTYPE
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.market.costs import Fills
from fx_pipeline.market.session_rules import SessionRules


class TradingVecEnv(VecEnv):
    """B sessions in lock-step as one `VecEnv`: when they end, all begin again at other starts.

    An observation is the features that are shown (`view`), then the position features, and with a gate whether it is
    closed. An action that the position does not allow, or an entry where the gate is closed, acts as the one that does
    nothing (at the last bar of a session as the one that leaves); `action_masks` of each session says which it allows,
    as sb3-contrib asks for it. The end of a session is reported as a time limit, so that learners may bootstrap from
    the observation there.

    Parameters
    ----------
    market : MarketArrays
    fills : Fills
    starts : (S,) int64
        Sessions are drawn from these, uniformly.
    reward : RewardConfig
    rules : SessionRules
    actions : ActionSet
    environments : int
        B.
    seed : int
        The sessions of a round depend on it and on the number of the round; `seed()` replaces it at the next `reset`,
        by the first of the seeds that it returns.
    reward_scale : float
        What the learner gets for a pip.
    closed : (T,) bool, optional
        Where the gate on entries is closed.
    mirror : bool
        Whether every other session is seen upside down: rising prices fall, and a buy is a sell.

    Attributes
    ----------
    round : int
        Number of the sessions that the next `reset` begins.
    of_trade : (L, B) int64
        Of the latest round, the number of the trade that each step belongs to; -1 for none.
    blocked : (L, B) bool
        Of the latest round, where the gate kept a session from an entry.
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
        rules: SessionRules = SessionRules(),
        actions: ActionSet = UNIT4,
        reward_scale: float = 1.0,
        closed: npt.NDArray[np.bool_] | None = None,
        mirror: bool = False,
    ) -> None:
        self._environment = LockstepEnvironment(market, fills, reward, rules, actions)
        self._starts, self._scale, self._seed = starts, reward_scale, seed
        self._closed = np.zeros(0, dtype=np.bool_) if closed is None else closed
        self._backs, self._columns = shown(market.feature_set, rules.window_bars)
        self._factor, self._offset, self._turned = _upside_down(market, actions)
        # What is done, and which sessions are upside down.
        self._actions = np.zeros((2, environments), dtype=np.int64)
        self._actions[1, 1::2] = mirror
        self._rewards = np.zeros(environments)
        self.round = 0
        self.of_trade = np.full((rules.bars, environments), -1)
        self.blocked = np.zeros((rules.bars, environments), dtype=np.bool_)
        size = len(self._backs) + self._environment.spec.static + (closed is not None)
        observations, space = Box(-np.inf, np.inf, (size,), np.float32), Discrete(len(actions))
        # First: the base class asks for their attributes.
        self._sessions = [_Session(self, row, observations, space) for row in range(environments)]
        super().__init__(environments, observations, space)
        #: Trades of the round that ended last, as `LockstepEnvironment.trades` has them.
        self.trades: npt.NDArray[np.void] = np.zeros(0, dtype=TRADE_DTYPE)

    @property
    def actions(self) -> ActionSet:
        """What an agent may do."""
        return self._environment.actions

    def charge(self, fills: Fills) -> None:
        """Let the sessions that begin next fill at other prices and costs."""
        old = self._environment
        self._environment = LockstepEnvironment(old.market, fills, old.reward, old.rules, old.actions)

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
        """Begin new sessions and return the observations, (B, N) float32."""
        if self._seeds[0] is not None:
            self._seed, self.round = self._seeds[0], 0
            self._reset_seeds()
        return self._begin()

    def legal(self) -> npt.NDArray[np.bool_]:
        """Return which actions the sessions allow next, (B, A) bool, as they are seen.

        Raises
        ------
        RuntimeError
            If no sessions have begun.
        """
        if not hasattr(self._environment, "seats"):
            raise RuntimeError("no sessions have begun: call reset.")
        legal = self._environment.seats.legal
        return np.where(self._actions[1][:, None] != 0, legal[:, self._turned], legal)

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take the (B,) actions of the next step.

        Raises
        ------
        RuntimeError
            If no sessions have begun.
        ValueError
            If they are not B actions.
        """
        chosen = np.ascontiguousarray(actions, dtype=np.int64)
        if not hasattr(self._environment, "seats"):
            raise RuntimeError("no sessions have begun: call reset.")
        count = len(self._turned)
        if chosen.shape != (self.num_envs,) or chosen.min() < 0 or chosen.max() >= count:
            raise ValueError(f"a step takes {self.num_envs} actions of 0 to {count - 1}, not {chosen}.")
        self._chosen = chosen

    def step_wait(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], list[Any]]:
        """Move all sessions by a bar and return observations, rewards, dones and infos."""
        environment, actions = self._environment, self._environment.actions
        step, length = environment.steps_done, environment.session_bars
        rewards = play_bar(
            environment.game, environment.seats, environment.bar, self._chosen, step == length - 1, step >= length - 2,
            actions.rest, actions.flat, self._closed, self._turned, self._actions, self.of_trade[step],
            self.blocked[step],
        )  # fmt: skip
        environment.steps_done += 1
        self._rewards += rewards
        observations = self._look()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = environment.steps_done == length
        if ended:
            infos = [
                {"terminal_observation": last, "TimeLimit.truncated": True, "episode": {"r": total, "l": length}}
                for last, total in zip(observations, self._rewards.tolist(), strict=True)
            ]
            self.trades = environment.trades()
            observations = self._begin()
        return observations, (self._scale * rewards).astype(np.float32), np.full(self.num_envs, ended), infos

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
        draw = generator(self._seed, Purpose.STARTS, self.round)
        self.round += 1
        self._environment.reset(draw.choice(self._starts, self.num_envs))
        return self._look()

    def _look(self) -> npt.NDArray[np.float32]:
        environment = self._environment
        out = np.empty((self.num_envs, *self.observation_space.shape), dtype=np.float32)  # type: ignore[misc]
        look(
            environment.market.features, environment.seats.static, environment.bar, self._actions[1], self._factor,
            self._offset, self._closed, self._backs, self._columns, out,
        )  # fmt: skip
        return out


def can_mirror(feature_set_name: str, actions: ActionSet) -> bool:
    """Whether a market of these features and actions can be seen upside down."""
    return feature_set(feature_set_name).mirror is not None and actions.mirror is not None


def _upside_down(
    market: MarketArrays, actions: ActionSet
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    # Factor and offset (F,) of the features, and the number (A,) of each action.
    rules = feature_set(market.feature_set).mirror or ()
    if actions.mirror is None or not rules:
        count = market.features.shape[1]
        return np.ones(count, np.float32), np.zeros(count, np.float32), np.arange(len(actions))
    factor = np.array([1.0 if rule == "keep" else -1.0 for rule in rules], dtype=np.float32)
    offset = np.array([1.0 if rule == "complement" else 0.0 for rule in rules], dtype=np.float32)
    return factor, offset, np.array(actions.mirror)


class _Session:
    # One of the sessions in the form of an environment: what can be asked of it by name, and nothing else.
    metadata: Mapping[str, Any] = {"render_modes": []}
    render_mode = None
    spec = None

    def __init__(self, face: TradingVecEnv, row: int, observation_space: Space[Any], action_space: Space[Any]) -> None:
        self._face, self._row = face, row
        self.observation_space, self.action_space = observation_space, action_space

    def action_masks(self) -> npt.NDArray[np.bool_]:
        return self._face.legal()[self._row].copy()

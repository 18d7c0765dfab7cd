"""PPO of stable-baselines3, one rollout and one update at a time."""

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch.distributions import Distribution

from fx_pipeline.agents.errors import TrainingDivergedError
from fx_pipeline.agents.kit.seeds import derived_seed, generator
from fx_pipeline.agents.kit.torch_settings import torch_settings
from fx_pipeline.agents.ppo.buffer import TradeBuffer
from fx_pipeline.agents.ppo.config import PpoConfig
from fx_pipeline.agents.ppo.networks import TradingPolicy, policy_kwargs
from fx_pipeline.agents.ppo.seeds import Purpose
from fx_pipeline.agents.ppo.vec_env import TradingVecEnv

#: Of what stable-baselines3 logs of an update, the name here.
_LOGGED = {
    "train/loss": "loss",
    "train/policy_gradient_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/entropy_loss": "negative_entropy",
    "train/approx_kl": "policy_kl",
    "train/clip_fraction": "clip_fraction",
    "train/explained_variance": "explained_variance",
}


class _Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True


class Learner:
    """PPO that learns from rollouts of whole sessions.

    Nothing is left to global state: a rollout and its update depend on the weights, the optimiser, the seed and the
    number of the rollout, so that a training goes on from these alone.

    Parameters
    ----------
    config : PpoConfig
    environment : TradingVecEnv
    session_bars : int
    seed : int
    """

    def __init__(self, config: PpoConfig, environment: TradingVecEnv, session_bars: int, seed: int) -> None:
        settings = config.learner
        self.config, self.environment, self.seed = config, environment, seed
        self._learning_rate = settings.learning_rate
        with _own_randomness(derived_seed(seed, Purpose.WEIGHTS)):
            self.model = PPO(
                TradingPolicy,
                environment,
                learning_rate=lambda remaining: self._learning_rate,
                n_steps=session_bars,
                # The buffer makes the minibatches.
                batch_size=session_bars * environment.num_envs,
                n_epochs=settings.epochs,
                gamma=settings.gamma,
                gae_lambda=settings.gae_lambda,
                clip_range=settings.clip_range,
                # The buffer normalises, over the rollout and before it weights.
                normalize_advantage=False,
                ent_coef=settings.entropy,
                vf_coef=settings.value_weight,
                max_grad_norm=settings.max_grad_norm,
                rollout_buffer_class=TradeBuffer,
                policy_kwargs=policy_kwargs(config.network),
                device="cpu",
            )
        with torch.no_grad():
            self.model.policy.get_parameter("action_net.bias")[environment.actions.rest] += config.network.rest_logit
        self.model.batch_size = min(settings.batch_size, session_bars * environment.num_envs)
        self.model.ep_info_buffer, self.model.ep_success_buffer = deque(maxlen=100), deque(maxlen=100)
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self._silent = _Silent()
        self._silent.init_callback(self.model)

    @property
    def buffer(self) -> TradeBuffer:
        """The rollout buffer."""
        buffer = self.model.rollout_buffer
        assert isinstance(buffer, TradeBuffer)
        return buffer

    def state(self) -> dict[str, torch.Tensor]:
        """The weights of policy and value."""
        found: dict[str, torch.Tensor] = self.model.policy.state_dict()
        return found

    def play(self, rollout: int, weigh: Callable[[], npt.NDArray[np.float32]]) -> None:
        """Play the sessions of a rollout; `weigh` returns the weights (T, B) of its steps once they have ended."""
        model, buffer = self.model, self.buffer
        buffer.weigh = weigh
        self.environment.round = rollout
        with _own_randomness(derived_seed(self.seed, Purpose.ACTIONS, rollout)), _unchecked():
            model._last_obs = self.environment.reset()
            model._last_episode_starts = np.ones(self.environment.num_envs, dtype=np.bool_)
            model.collect_rollouts(self.environment, self._silent, buffer, model.n_steps)

    def learn(self, rollout: int, fraction: float) -> Mapping[str, float]:
        """Update the weights from the rollout that was played, and return figures of it.

        Parameters
        ----------
        rollout : int
        fraction : float
            Of the training that is done: the learning rate and the entropy's weight follow it.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight is not finite.
        """
        settings, model = self.config.learner, self.model
        self._learning_rate = _between(settings.learning_rate, settings.final_learning_rate, fraction)
        model.ent_coef = _between(settings.entropy, settings.final_entropy, fraction)
        passes = settings.epochs
        self.buffer.order = lambda number: generator(self.seed, Purpose.BATCHES, rollout * passes + number)
        with _unchecked(), torch_settings(self.config.runtime.threads):
            model.train()
        logged = model.logger.name_to_value
        figures = {name: float(logged[key]) for key, name in _LOGGED.items() if key in logged}
        figures["learning_rate"] = self._learning_rate
        wrong = [name for name in ("loss", "policy_loss", "value_loss") if not np.isfinite(figures[name])]
        if wrong or not all(bool(torch.isfinite(tensor).all()) for tensor in self.state().values()):
            raise TrainingDivergedError(
                f"rollout {rollout}: {', '.join(wrong) or 'a weight'} is not finite. Lower learner.learning_rate, and "
                "see whether the costs and prices of the span are what they should be."
            )
        return figures


def _between(first: float, last: float, fraction: float) -> float:
    return first + (last - first) * min(max(fraction, 0.0), 1.0)


@contextlib.contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Torch's global generator begins at `seed`, and afterwards it and Python's and numpy's are as they were before."""
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Distributions do not check what they are made of, a tenth of the time; what is not finite is found afterwards."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)

"""The peer: PPO of stable-baselines3 with the same observation, environment, wall time and cores.

The settings are what PPO does best with on these markets: many environments, a dense and scaled reward, a higher
learning rate than the library's default.
"""

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Progress, Stateless
from fx_pipeline.environment.actions import playable
from fx_pipeline.environment.lockstep import Observation
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.costs import build_fills
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.proofs.markets import COSTS
from fx_pipeline.proofs.play import play
from fx_pipeline.proofs.prove import Proof, SeedResult, evaluation_sessions, outcome, training_data

if TYPE_CHECKING:
    from stable_baselines3 import PPO

ENVIRONMENTS, ROLLOUT_BARS = 64, 128
REWARD = RewardConfig(kind="dense", idle_reward=0.0)
REWARD_SCALE = 0.1
#: More threads make so small a network slower.
THREADS = 1
SETTINGS: Mapping[str, Any] = {
    "n_steps": ROLLOUT_BARS,
    "batch_size": 1_024,
    "n_epochs": 4,
    "learning_rate": 1e-3,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "policy_kwargs": {"net_arch": [128, 128]},
}


def require_ppo() -> None:
    """Check that stable-baselines3 is there.

    Raises
    ------
    ConfigurationError
        If it is not, with the command that installs it.
    """
    if find_spec("stable_baselines3") is None:
        raise ConfigurationError(
            "the comparison with PPO needs stable-baselines3: pip install -e '.[ppo]', or leave it out with --no-ppo."
        )


class PpoPolicy(Stateless):
    """A trained PPO as a greedy `Policy`; an action that the position does not allow is HOLD.

    Parameters
    ----------
    model : PPO
    """

    def __init__(self, model: "PPO") -> None:
        self._model = model

    def choose(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Return the (B,) actions."""
        from fx_pipeline.environment.sb3 import flat

        actions, _ = self._model.predict(flat(observation), deterministic=True)
        return playable(actions, observation.legal)


def prove_ppo_seed(
    proof: Proof,
    seed: int,
    progress: Progress = lambda fraction, figures: None,
    clock: Callable[[], float] = time.perf_counter,
) -> SeedResult:
    """Train PPO for the minutes of a proof and judge it on the same sessions.

    Parameters
    ----------
    proof : Proof
    seed : int
    progress : callable
    clock : callable
        Seconds.

    Returns
    -------
    SeedResult

    Raises
    ------
    ConfigurationError
        If stable-baselines3 is not installed.
    """
    require_ppo()
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    from fx_pipeline.environment.sb3 import Sb3Environment

    data = training_data(proof, seed)
    environment = Sb3Environment(
        data.market,
        build_fills(data.market, COSTS),
        data.starts,
        REWARD,
        environments=ENVIRONMENTS,
        seed=seed,
        reward_scale=REWARD_SCALE,
    )
    curve: list[tuple[float, float]] = []
    limit_s, limit_steps = 60.0 * proof.minutes, proof.episodes * SESSION_BARS

    class Clock(BaseCallback):
        """Ends the training, and keeps what the sessions earned."""

        def _on_step(self) -> bool:
            elapsed, steps = clock() - began, self.num_timesteps
            fraction = max(elapsed / limit_s, steps / limit_steps)
            ended = any("episode" in info for info in self.locals["infos"][:1])
            if ended:
                curve.append((round(elapsed, 3), environment.pips_per_episode))
                figures = {"episodes": steps / SESSION_BARS, "pips an episode so far": curve[-1][1]}
                progress(min(fraction, 0.999), figures)
            return fraction < 1.0

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        began = clock()
        model = PPO("MlpPolicy", environment, seed=seed, device="cpu", **SETTINGS)
        model.learn(total_timesteps=2**62, callback=Clock())
        trained = clock()
        market, starts = evaluation_sessions(proof, seed)
        done = play(market, starts, PpoPolicy(model))
    finally:
        torch.set_num_threads(threads)
    result = SeedResult(
        seed=seed,
        pips_per_episode=done.pips_per_episode,
        trades_per_episode=done.trades_per_episode,
        standard_error_pips=done.standard_error_pips,
        policy_pips_per_episode=None,
        seconds=trained - began,
        evaluation_seconds=clock() - trained,
        curve=curve,
        counters={"episodes": model.num_timesteps / SESSION_BARS, "steps": float(model.num_timesteps)},
    )
    progress(1.0, outcome(result))
    return result

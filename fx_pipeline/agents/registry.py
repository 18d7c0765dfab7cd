"""The agents by name. A new agent is a folder beside `muzero` and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fx_pipeline.agents.base import Policy, Trainer
from fx_pipeline.market.errors import ConfigurationError


@dataclass(frozen=True)
class Agent:
    """How to make and load one kind of agent.

    Attributes
    ----------
    name, title : str
    trainer : callable
        Preset name to Trainer.
    load_policy : callable
        Checkpoint folder to greedy Policy.
    episodes : callable
        Preset name to its default budget of training episodes; ConfigurationError if it is unknown.
    reward : callable
        Preset name to its RewardConfig.
    code_version : callable
        Version of the code that trains it; another one makes another agent.
    config_digest : callable
        Preset name to a hash of its configuration.
    without_search : callable or None
        A loaded Policy to the greedy Policy of its policy network alone; None for an agent that does not search.
    newest : callable or None
        Folder of a training that is under way to the checkpoint of the newest weights that it has kept, which may not
        be there yet; None for an agent that keeps none.
    """

    name: str
    title: str
    trainer: Callable[[str], Trainer]
    load_policy: Callable[[Path], Policy]
    episodes: Callable[[str], int]
    reward: Callable[[str], Any]
    code_version: Callable[[], str]
    config_digest: Callable[[str], str]
    without_search: Callable[[Any], Policy] | None = None
    newest: Callable[[Path], Path] | None = None


def agent(name: str) -> Agent:
    """Return the agent of that name.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    found = _AGENTS.get(name)
    if found is None:
        raise ConfigurationError(f"unknown agent {name!r}: known are {', '.join(_AGENTS)}.")
    return found


# torch is imported only when an agent is used.
def _muzero_trainer(preset: str) -> Trainer:
    from fx_pipeline.agents.muzero.config import load_config
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer

    return MuZeroTrainer(load_config(preset))


def _muzero_newest(folder: Path) -> Path:
    from fx_pipeline.agents.muzero.retention import LATEST
    from fx_pipeline.agents.muzero.trainer import KEPT_FOLDER

    return folder / KEPT_FOLDER / LATEST


def _muzero_policy(folder: Path) -> Policy:
    from fx_pipeline.agents.muzero.policy import MuZeroPolicy

    return MuZeroPolicy.from_checkpoint(folder)


_MUZERO_EPISODES = {"full": 20_000, "small": 768, "tiny": 8, "legacy": 768}


def _muzero_episodes(preset: str) -> int:
    found = _MUZERO_EPISODES.get(preset)
    if found is None:
        raise ConfigurationError(f"unknown preset {preset!r} of muzero: known are {', '.join(_MUZERO_EPISODES)}.")
    return found


def _muzero_reward(preset: str) -> Any:
    from fx_pipeline.agents.muzero.config import load_config

    return load_config(preset).reward


def _muzero_code_version() -> str:
    from fx_pipeline.agents.muzero.identity import code_version

    return code_version()


def _muzero_config_digest(preset: str) -> str:
    from fx_pipeline.agents.muzero.config import load_config

    return load_config(preset).digest()


_AGENTS: Mapping[str, Agent] = {
    "muzero": Agent(
        name="muzero",
        title="Stochastic MuZero",
        trainer=_muzero_trainer,
        load_policy=_muzero_policy,
        episodes=_muzero_episodes,
        reward=_muzero_reward,
        code_version=_muzero_code_version,
        config_digest=_muzero_config_digest,
        without_search=lambda policy: policy.without_search(),
        newest=_muzero_newest,
    ),
}

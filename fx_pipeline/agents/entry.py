"""What everything else knows of one kind of agent: its entry, which each agent's folder has as `entry.AGENT`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fx_pipeline.agents.alerts import Alert
from fx_pipeline.environment.action_sets import UNIT4, ActionSet
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import M1, Timeframe

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Policy, Trainer


@dataclass(frozen=True)
class Needs:
    """What an agent is asked to work with.

    Attributes
    ----------
    preset : str
    feature_set : str
        Name of the set.
    timeframe : Timeframe
    actions : ActionSet
    rules : SessionRules
    """

    preset: str
    feature_set: str = "temporal9"
    timeframe: Timeframe = M1
    actions: ActionSet = UNIT4
    rules: SessionRules = SessionRules()


class MakesTrainer(Protocol):
    """Makes the Trainer of a preset; with another reward than the preset's, if one is given."""

    def __call__(self, preset: str, reward: RewardConfig | None = None) -> "Trainer": ...


class DigestsConfig(Protocol):
    """Hashes the configuration of a preset; with another reward than the preset's, if one is given."""

    def __call__(self, preset: str, reward: RewardConfig | None = None) -> str: ...


@dataclass(frozen=True)
class Agent:
    """How to make, judge and load one kind of agent.

    The module that makes it is imported wherever agents are named, so libraries that learn are imported only by what
    is called here.

    Attributes
    ----------
    name, title : str
    presets : tuple of str
        Names of its configurations.
    trainer : callable
        Preset name, and a RewardConfig in place of the preset's or None, to Trainer.
    load_policy : callable
        Checkpoint folder to greedy Policy.
    episodes : callable
        Preset name to its default budget of training episodes; ConfigurationError if it is unknown.
    reward : callable
        Preset name to its RewardConfig.
    code_version : callable
        Version of the code that trains it; another one makes another agent.
    config_digest : callable
        Preset name, and a RewardConfig in place of the preset's or None, to a hash of its configuration.
    refuses : callable
        `Needs` to the reason why the agent cannot work with them, and what to use; None if it can.
    alerts : tuple of Alert
        What may go wrong with a training of it.
    requires : callable
        Raises a ConfigurationError with the command that helps where a library that it needs is not installed.
    value_reach : callable or None
        Preset name to how far its value axis reaches, in units of the instrument; None for one without such an axis.
    without_search : callable or None
        A loaded Policy to the greedy Policy of its policy network alone; None for an agent that does not search.
    newest : callable or None
        Folder of a training that is under way to the checkpoint of the newest weights that it has kept, which may not
        be there yet; None for an agent that keeps none.
    """

    name: str
    title: str
    presets: tuple[str, ...]
    trainer: MakesTrainer
    load_policy: "Callable[[Path], Policy]"
    episodes: Callable[[str], int]
    reward: Callable[[str], RewardConfig]
    code_version: Callable[[], str]
    config_digest: DigestsConfig
    refuses: Callable[[Needs], str | None] = lambda needs: None
    alerts: tuple[Alert, ...] = ()
    requires: Callable[[], None] = lambda: None
    value_reach: Callable[[str], float] | None = None
    without_search: "Callable[[Any], Policy] | None" = None
    newest: Callable[[Path], Path] | None = None

    def check_preset(self, preset: str) -> None:
        """Refuse a preset that it does not have.

        Raises
        ------
        ConfigurationError
            Naming those that it has.
        """
        if preset not in self.presets:
            raise ConfigurationError(f"unknown preset {preset!r} of {self.name}: known are {', '.join(self.presets)}.")

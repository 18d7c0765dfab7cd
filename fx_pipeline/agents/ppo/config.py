"""The configuration tree of PPO: defaults of each field, and named overlays in `config.yaml`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError

CONFIG_PATH = Path(__file__).with_name("config.yaml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkConfig(_Section):
    """Two networks of the same shape, of the policy and of the value."""

    width: int = Field(128, ge=1, description="Units of each hidden layer.")
    layers: int = Field(2, ge=1, description="Hidden layers.")
    activation: Literal["tanh", "relu"] = Field("relu", description="After each hidden layer.")
    rest_logit: float = Field(
        2.0,
        ge=0,
        description="Logit, at the beginning, of the action that changes nothing: a policy that begins by chance "
        "enters and leaves at once, and is slow to learn more than to enter once and stay.",
    )
    simplicial_groups: int = Field(
        0,
        ge=0,
        description="Groups into which the last hidden layer is cut, each a softmax (simplicial embeddings, arXiv "
        "2510.13704); 0 leaves it as it is.",
    )

    @model_validator(mode="after")
    def _divides(self) -> "NetworkConfig":
        if self.simplicial_groups and self.width % self.simplicial_groups:
            raise ValueError(f"simplicial_groups {self.simplicial_groups} must divide width {self.width}.")
        return self


class RolloutConfig(_Section):
    """What is played between two updates: one whole session in each environment, so that no trade is cut in two."""

    environments: int = Field(64, ge=2, description="Sessions that are played in lock-step.")
    mirror: bool = Field(
        True,
        description="Whether every other session is seen upside down, where feature set and action set allow it.",
    )
    change_reward: float = Field(
        0.5,
        gt=0,
        description="Reward of a gain of one usual change of the price, the standard deviation of the one-bar changes "
        "of the training span: it makes the one factor by which pips become rewards.",
    )


class LearnerConfig(_Section):
    """Proximal policy optimisation; names are those of stable-baselines3 where it has them."""

    batch_size: int = Field(1024, ge=2, description="Steps of a minibatch.")
    epochs: int = Field(4, ge=1, description="Passes over a rollout.")
    learning_rate: float = Field(2e-3, gt=0, description="At the beginning; it falls linearly.")
    final_learning_rate: float = Field(1e-4, ge=0, description="At the end.")
    gamma: float = Field(0.99, gt=0, le=1, description="Discount of a bar.")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Of the generalised advantage estimate.")
    clip_range: float = Field(0.2, gt=0, description="Of the ratio of probabilities.")
    entropy: float = Field(0.01, ge=0, description="Weight of the entropy at the beginning; it falls linearly.")
    final_entropy: float = Field(0.001, ge=0, description="At the end.")
    value_weight: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_grad_norm: float = Field(0.5, gt=0, description="Gradients are cut to this norm.")


class TradesConfig(_Section):
    """Weights of trades in the policy gradient; see `weights`. All losers count in full from half-time on."""

    phased: bool = Field(False, description="Whether losing trades count for nothing until enough have won.")
    winners: int = Field(1_000, ge=1, description="Profitable trades that end that phase.")
    weighted: bool = Field(False, description="Whether losing trades count for less at first.")
    loser_weight: float = Field(0.2, ge=0, le=1, description="What they count for at first, after that phase.")


class GateConfig(_Section):
    """The rolling sigma gate on entries; see `gate`."""

    on: bool = Field(False, description="Whether entries are gated.")
    bars: int = Field(5, ge=1, description="Bars of the move that is looked at.")
    rate: float = Field(0.56, gt=0, lt=1, description="Share of the bars of the training sessions that it closes.")
    feature: str | None = Field(
        None, description="Feature that is the change of a bar; absent: the first that the set has of those known."
    )


class CurriculumConfig(_Section):
    """Costs that rise at the beginning of a training; see `curriculum`."""

    start: float = Field(1.0, ge=0, le=1, description="Share of the costs at the beginning; 1 is no curriculum.")
    until: float = Field(0.2, gt=0, le=0.5, description="Share of the training after which they are charged in full.")


class SelectionConfig(_Section):
    """How the best weights of a training are chosen; see `agents.kit.selection`."""

    share: float = Field(0.15, ge=0, le=0.5, description="Share of the session starts that judge the weights.")
    sessions: int = Field(64, ge=1, description="Most sessions that are played to judge.")
    every_rollouts: int = Field(4, ge=1, description="Rollouts between two judgements; one at the end in any case.")
    standard_errors: float = Field(3.0, ge=0, description="Subtracted from the mean pips of a session.")
    aside: bool = Field(
        True,
        description="Whether never to trade is among what is chosen from, as that makes exactly nothing: an agent none "
        "of whose weights made more, by that measure, stands aside.",
    )


class RuntimeConfig(_Section):
    """How it runs."""

    threads: int = Field(1, ge=1, description="Threads of torch: weights depend on it in their last bits.")
    bundle_every: int = Field(2, ge=1, description="Rollouts between two bundles, from which it can be taken up.")
    keep_every: int = Field(20, ge=1, description="Rollouts between two checkpoints that are kept.")


class PpoConfig(_Section):
    """The whole tree."""

    preset: str
    network: NetworkConfig = NetworkConfig()  # type: ignore[call-arg]
    rollout: RolloutConfig = RolloutConfig()  # type: ignore[call-arg]
    learner: LearnerConfig = LearnerConfig()  # type: ignore[call-arg]
    trades: TradesConfig = TradesConfig()  # type: ignore[call-arg]
    gate: GateConfig = GateConfig()  # type: ignore[call-arg]
    curriculum: CurriculumConfig = CurriculumConfig()  # type: ignore[call-arg]
    selection: SelectionConfig = SelectionConfig()  # type: ignore[call-arg]
    runtime: RuntimeConfig = RuntimeConfig()  # type: ignore[call-arg]
    reward: RewardConfig = RewardConfig(kind="dense", idle_reward=0.0)
    steps: int = Field(1_000_000, ge=1, description="Steps of a training where no budget of episodes is given.")

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain values, which `config_from_dict` reads back."""
        return {**self.model_dump(), "reward": asdict(self.reward)}

    def digest(self) -> str:
        """SHA-256 of the tree without the preset's name and what no result depends on."""
        tree = self.to_dict()
        del tree["preset"], tree["steps"]
        for name in ("bundle_every", "keep_every"):
            del tree["runtime"][name]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


@cache
def _document() -> Mapping[str, Mapping[str, Any]]:
    import yaml

    return MappingProxyType(yaml.safe_load(CONFIG_PATH.read_text(encoding="utf-8")))


def presets() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_document())


def load_config(preset: str = "small", overrides: Mapping[str, Any] | None = None) -> PpoConfig:
    """Build a configuration.

    Parameters
    ----------
    preset : str
        One of `presets()`.
    overrides : Mapping, optional
        Dotted: `{"learner.batch_size": 64}`.

    Raises
    ------
    ConfigurationError
        On an unknown preset or key, or a value of the wrong type or range.
    """
    if preset not in _document():
        raise ConfigurationError(f"preset {preset!r} of ppo is unknown: known are {', '.join(presets())}.")
    tree: dict[str, Any] = {}
    for section, values in (_document()[preset] or {}).items():
        tree[section] = dict(values) if isinstance(values, Mapping) else values
    for key, value in (overrides or {}).items():
        section, _, name = key.partition(".")
        if name:
            tree.setdefault(section, {})[name] = value
        else:
            tree[section] = value
    return config_from_dict({**tree, "preset": preset})


def config_from_dict(tree: Mapping[str, Any]) -> PpoConfig:
    """Read what `PpoConfig.to_dict` wrote.

    Raises
    ------
    ConfigurationError
        If a key is unknown, or a value invalid.
    """
    try:
        return PpoConfig.model_validate(dict(tree))
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"configuration of ppo: {said}.") from None

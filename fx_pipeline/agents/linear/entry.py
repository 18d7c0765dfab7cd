"""What everything else knows of the linear agent."""

from pathlib import Path
from typing import TYPE_CHECKING

from fx_pipeline.agents.entry import Agent, Needs
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Policy, Trainer
    from fx_pipeline.agents.linear.config import LinearConfig


def _config(preset: str, reward: RewardConfig | None = None) -> "LinearConfig":
    from fx_pipeline.agents.linear.config import load_config

    return load_config(preset, reward)


def _trainer(preset: str, reward: RewardConfig | None = None) -> "Trainer":
    from fx_pipeline.agents.linear.trainer import LinearTrainer

    return LinearTrainer(_config(preset, reward))


def _policy(folder: Path) -> "Policy":
    from fx_pipeline.agents.linear.policy import LinearPolicy

    return LinearPolicy.from_checkpoint(folder)


def _episodes(preset: str) -> int:
    # It looks at the bars of a span, and plays as many sessions as its thresholds need.
    return _config(preset).sessions


def _code_version() -> str:
    from fx_pipeline.provenance.closure import code_version

    return code_version(__name__)


def _refuses(needs: Needs) -> str | None:
    try:
        _config(needs.preset)
    except ConfigurationError as error:
        return str(error)
    return None


AGENT = Agent(
    name="linear",
    title="Linear forecast",
    presets=("full", "small", "tiny"),
    trainer=_trainer,
    load_policy=_policy,
    episodes=_episodes,
    reward=lambda preset: _config(preset).reward,
    code_version=_code_version,
    config_digest=lambda preset, reward=None: _config(preset, reward).digest(),
    refuses=_refuses,
)

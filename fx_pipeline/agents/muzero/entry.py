"""What everything else knows of Stochastic MuZero."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fx_pipeline.agents.entry import Agent, Needs
from fx_pipeline.agents.muzero.alerts import ALERTS
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Policy, Trainer
    from fx_pipeline.agents.muzero.config import MuZeroConfig

_EPISODES: Mapping[str, int] = MappingProxyType({"full": 20_000, "small": 768, "tiny": 8, "legacy": 768})


# torch and the compiled kernels are imported only when the agent is used.
def _config(preset: str, reward: RewardConfig | None = None) -> "MuZeroConfig":
    from fx_pipeline.agents.muzero.config import load_config

    config = load_config(preset)
    return config if reward is None else replace(config, reward=reward)


def _trainer(preset: str, reward: RewardConfig | None = None) -> "Trainer":
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer

    return MuZeroTrainer(_config(preset, reward))


def _config_digest(preset: str, reward: RewardConfig | None = None) -> str:
    return _config(preset, reward).digest()


def _policy(folder: Path) -> "Policy":
    from fx_pipeline.agents.muzero.policy import MuZeroPolicy

    return MuZeroPolicy.from_checkpoint(folder)


def _newest(folder: Path) -> Path:
    from fx_pipeline.agents.kit.retention import LATEST
    from fx_pipeline.agents.muzero.trainer import KEPT_FOLDER

    return folder / KEPT_FOLDER / LATEST


def _episodes(preset: str) -> int:
    AGENT.check_preset(preset)
    return _EPISODES[preset]


def _code_version() -> str:
    from fx_pipeline.agents.muzero.identity import code_version

    return code_version()


def _refuses(needs: Needs) -> str | None:
    try:
        AGENT.check_preset(needs.preset)
        if needs.rules != SessionRules():
            _config(needs.preset).check_session(needs.rules.bars)
    except ConfigurationError as error:
        return str(error)
    return None


AGENT = Agent(
    name="muzero",
    title="Stochastic MuZero",
    presets=tuple(_EPISODES),
    trainer=_trainer,
    load_policy=_policy,
    episodes=_episodes,
    reward=lambda preset: _config(preset).reward,
    code_version=_code_version,
    config_digest=_config_digest,
    refuses=_refuses,
    alerts=ALERTS,
    value_reach=lambda preset: _config(preset).network.support_pips,
    without_search=lambda policy: policy.without_search(),
    newest=_newest,
)

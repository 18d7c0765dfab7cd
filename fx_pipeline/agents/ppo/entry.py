"""What everything else knows of PPO."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fx_pipeline.agents.entry import Agent, Needs
from fx_pipeline.agents.ppo.alerts import ALERTS
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.session_rules import SessionRules

if TYPE_CHECKING:
    from fx_pipeline.agents.base import Policy, Trainer
    from fx_pipeline.agents.ppo.config import PpoConfig


# torch and stable-baselines3 are imported only when the agent is used.
def _config(preset: str, reward: RewardConfig | None = None) -> "PpoConfig":
    from fx_pipeline.agents.ppo.config import load_config

    config = load_config(preset)
    return config if reward is None else config.model_copy(update={"reward": reward})


def require() -> None:
    """Check that stable-baselines3 is there.

    Raises
    ------
    ConfigurationError
        If it is not, with the command that installs it.
    """
    if find_spec("stable_baselines3") is None:
        raise ConfigurationError("ppo learns with stable-baselines3, which is not installed: pip install -e '.[ppo]'.")


def _trainer(preset: str, reward: RewardConfig | None = None) -> "Trainer":
    config = _config(preset, reward)
    require()
    from fx_pipeline.agents.ppo.trainer import PpoTrainer

    return PpoTrainer(config)


def _policy(folder: Path) -> "Policy":
    require()
    from fx_pipeline.agents.ppo.policy import PpoPolicy

    return PpoPolicy.from_checkpoint(folder)


def _episodes(preset: str) -> int:
    return math.ceil(_config(preset).steps / SessionRules().bars)


def _newest(folder: Path) -> Path:
    from fx_pipeline.agents.kit.retention import LATEST

    return folder / "kept" / LATEST


def _code_version() -> str:
    from fx_pipeline.provenance.closure import code_version

    return code_version(__name__)


def _refuses(needs: Needs) -> str | None:
    try:
        config = _config(needs.preset)
        if not config.gate.on:
            return None
        from fx_pipeline.agents.ppo.gate import change_column

        change_column(config.gate, needs.feature_set)
    except ConfigurationError as error:
        return str(error)
    if needs.rules.window_bars < 2 * config.gate.bars:
        return (
            f"the gate on entries looks at moves of {config.gate.bars} bars, against the changes of an observation: "
            f"give sessions a window_bars of at least {2 * config.gate.bars}, not {needs.rules.window_bars}, or use a "
            "preset without the gate."
        )
    return None


AGENT = Agent(
    name="ppo",
    title="Proximal policy optimisation",
    presets=("small", "full", "tiny", "phased", "weighted", "gated", "curriculum", "simplicial"),
    trainer=_trainer,
    load_policy=_policy,
    episodes=_episodes,
    reward=lambda preset: _config(preset).reward,
    code_version=_code_version,
    config_digest=lambda preset, reward=None: _config(preset, reward).digest(),
    refuses=_refuses,
    alerts=ALERTS,
    requires=require,
    newest=_newest,
)

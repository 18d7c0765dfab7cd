"""A stand-in for an agent: it learns nothing and plays a rule."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fx_pipeline.agents import registry
from fx_pipeline.agents.base import Budget, Checkpoint, OnScore, Policy, Progress, TrainingData
from fx_pipeline.agents.entry import Agent
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.proofs import bars
from fx_pipeline.proofs.players import RangeRule

EARLY, EARLY_HEAD = RangeRule(0.02, 0.7), RangeRule(0.01, 1.0)


@dataclass
class RuleTrainer:
    """Reports four iterations, and remembers what it was asked for."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def train(
        self,
        data: TrainingData,
        budget: Budget,
        *,
        seed: int,
        folder: Path,
        resume: bool = True,
        progress: Progress | None = None,
        on_score: OnScore | None = None,
    ) -> Checkpoint:
        self.calls.append({"data": data, "budget": budget, "seed": seed, "folder": folder, "resume": resume})
        history: list[Mapping[str, float]] = []
        for episode in range(1, 5):
            metrics = {"episodes": float(episode)}
            if episode % 2 == 0:
                metrics["pips_per_episode"] = 10.0 * episode
            history.append(metrics)
            # Three episodes make two that are over.
            (folder / "newest").mkdir(exist_ok=True)
            (folder / "newest" / "episodes").write_text(f"{episode - 1}")
            if progress is not None:
                progress(episode / 4, metrics)
        return Checkpoint(folder, "0", {"episodes": 4.0}, history)


@dataclass
class StandIn:
    """The agent `rule` and what it does."""

    trainer: RuleTrainer
    policy: Policy
    head: Policy | None
    code: str = "code-1"
    loaded: list[str] = field(default_factory=list)

    def load(self, folder: Path) -> Policy:
        """The policy, after one episode a worse one; `loaded` has the episodes behind the weights, or "end"."""
        said = folder / "episodes"
        self.loaded.append(said.read_text() if said.exists() else "end")
        return EARLY if self.loaded[-1] == "1" else self.policy


def register(monkeypatch: pytest.MonkeyPatch, entry: Agent) -> None:
    """Give the registry one more agent, or another one of its name."""
    module = ModuleType(f"{__name__}.{entry.name}")
    vars(module)["AGENT"] = entry
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "ENTRIES", {**registry.ENTRIES, entry.name: module.__name__})


@pytest.fixture
def rule_agent(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """An agent `rule` of the registry that plays the best one-feature rule of `ou`, and without search a worse one."""
    agent = StandIn(RuleTrainer(), RangeRule(0.2, 0.7), RangeRule(0.05, 1.0))

    def config_digest(preset: str, reward: RewardConfig | None = None) -> str:
        if preset not in ("small", "tiny"):
            raise ConfigurationError(f"preset {preset!r} is unknown")
        return f"config-{preset}"

    entry = Agent(
        name="rule",
        title="A rule",
        presets=("small", "tiny"),
        trainer=lambda preset, reward=None: agent.trainer,
        load_policy=agent.load,
        episodes=lambda preset: 4,
        reward=lambda preset: RewardConfig(),
        code_version=lambda: agent.code,
        config_digest=config_digest,
        without_search=lambda policy: EARLY_HEAD if policy is EARLY else agent.head,
        newest=lambda folder: folder / "newest",
    )
    register(monkeypatch, entry)
    # It is judged as the first agent is.
    own = {("rule", *rest): told for (name, *rest), told in bars._BARS.items() if name == "muzero"}
    monkeypatch.setattr(bars, "_BARS", {**bars._BARS, **own})
    return agent

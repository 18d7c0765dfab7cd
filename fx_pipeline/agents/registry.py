"""The agents by name. A new agent is a folder beside this file, with `AGENT` in its `entry.py`, and a line here."""

from collections.abc import Mapping
from importlib import import_module

from fx_pipeline.agents.entry import Agent
from fx_pipeline.market.errors import ConfigurationError

#: Name to the module that has `AGENT`.
ENTRIES: Mapping[str, str] = {
    "muzero": "fx_pipeline.agents.muzero.entry",
    "linear": "fx_pipeline.agents.linear.entry",
    "ppo": "fx_pipeline.agents.ppo.entry",
}


def agent(name: str) -> Agent:
    """Return the agent of that name.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    if name not in ENTRIES:
        raise ConfigurationError(f"unknown agent {name!r}: known are {', '.join(ENTRIES)}.")
    found: Agent = import_module(ENTRIES[name]).AGENT
    return found


def agents() -> tuple[Agent, ...]:
    """Return all agents, in the order of the registry."""
    return tuple(agent(name) for name in ENTRIES)


def check_preset(preset: str) -> None:
    """Refuse a preset that no agent has.

    Raises
    ------
    ConfigurationError
        Naming those of each agent.
    """
    known = agents()
    if not any(preset in one.presets for one in known):
        said = "; ".join(f"{one.name} has {', '.join(one.presets)}" for one in known)
        raise ConfigurationError(f"no agent has a preset {preset!r}: {said}.")

"""The peer: the agent that others are compared with, PPO, on the same paths, sessions, observation and wall time."""

from fx_pipeline.agents.registry import agent
from fx_pipeline.market.errors import ConfigurationError

PEER, PEER_PRESET = "ppo", "small"
#: What it is called beside others.
PEER_NAME = "PPO"


def compared(agent_name: str, market: str) -> bool:
    """Whether there is something to compare: another agent than the peer, and a market with something to earn."""
    return agent_name != PEER and market != "walk"


def require_peer() -> None:
    """Check that the peer can be trained here.

    Raises
    ------
    ConfigurationError
        If it cannot, with what helps.
    """
    try:
        agent(PEER).requires()
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} Or leave the comparison with it out: --no-ppo.") from None

"""Costs that rise while an agent begins to learn: never to trade is the first optimum that is found at full costs.

The costs of a share are those of fills that lie so far between the middle without any cost and the real fills. What is
judged, and the second half of a training at least, is at full costs.
"""

from fx_pipeline.agents.ppo.config import CurriculumConfig
from fx_pipeline.market.costs import Fills


def cost_share(config: CurriculumConfig, fraction: float) -> float:
    """Return the share of the costs that is charged after a fraction of a training."""
    return config.start + (1.0 - config.start) * min(fraction / config.until, 1.0)


def mixed(free: Fills, full: Fills, share: float) -> Fills:
    """Return fills between those without costs and those with all of them; at a share of 1 `full` itself."""
    if share == 1.0:
        return full
    mix = {
        name: getattr(free, name) + share * (getattr(full, name) - getattr(free, name))
        for name in Fills._fields
        if name != "at_close"
    }
    return full._replace(**mix)

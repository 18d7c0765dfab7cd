"""Reward settings; the arithmetic is in `position`."""

from dataclasses import dataclass
from typing import Literal

from fx_pipeline.market.errors import ConfigurationError

KINDS = ("amddp1", "dense")
DRAWDOWNS = ("increases", "maximum", "area")


@dataclass(frozen=True)
class RewardConfig:
    """How an agent is rewarded. All amounts are pips.

    Attributes
    ----------
    kind : str
        "amddp1": at the close, pnl - weight * D. "dense": each bar's change of the position's value less weight
        times the bar's share of D: the same sum over the trade, without the profit floor.
    drawdown : str
        D, measured below the high-water mark max(entry, peak): sum of "increases", "maximum", or "area", the sum over
        the closes of the bars held.
    drawdown_weight : float
    idle_reward : float
        For each step that stays flat.
    entry_reward : float
        For opening a position.
    profit_floor : float
        Least reward of a trade with a profit, for "amddp1".
    """

    kind: Literal["amddp1", "dense"] = "amddp1"
    drawdown: Literal["increases", "maximum", "area"] = "increases"
    drawdown_weight: float = 0.01
    idle_reward: float = -0.01
    entry_reward: float = 0.0
    profit_floor: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"reward kind {self.kind!r} is unknown: use {' or '.join(KINDS)}.")
        if self.drawdown not in DRAWDOWNS:
            raise ConfigurationError(f"reward drawdown {self.drawdown!r} is unknown: use {', '.join(DRAWDOWNS)}.")

"""When a champion is replaced, and when it is demoted: the settings of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fx_pipeline.validation.demotion import CHANCE, DRAWDOWN_PERCENTILE

#: Settings of earlier versions, and what there is in their place.
REPLACED = {
    "demote_after": "failures are no longer counted, but weighed over all windows: demotion_chance says how rarely a "
    "good champion may go by chance, unjudged_windows after how many windows on which it cannot be judged it goes",
    "telling_trades": "a window of few trades weighs little by itself, so none is passed over",
}


@dataclass(frozen=True)
class PromotionConfig:
    """When a champion is replaced, and when it is demoted.

    Attributes
    ----------
    max_paired_p : float
        A challenger replaces the champion when the p-value of the paired test is below it.
    demotion_chance : float
        Share of the windows it lives in which a champion that keeps its promise is demoted by chance, by the evidence
        summed over the windows since its record.
    drawdown_percentile : float
        A champion whose drawdown on the newest window goes beyond this percentile of what its own record allows is
        demoted at once.
    unjudged_windows : int
        Windows in a row on which others were validated and it could not be, before it is demoted: a champion that
        cannot be judged is not one.
    """

    # A misspelt threshold must not leave the default in place unseen.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_paired_p: float = 0.05
    demotion_chance: float = CHANCE
    drawdown_percentile: float = DRAWDOWN_PERCENTILE
    unjudged_windows: int = 2

    def __post_init__(self) -> None:
        """Refuse thresholds that mean nothing, or that switch demotion off.

        Raises
        ------
        ValueError
        """
        # At a half a challenger has only to have made more, and at one not even that.
        if not 0.0 < self.max_paired_p <= 0.5:
            raise ValueError(f"max_paired_p is above 0 and at most 0.5, not {self.max_paired_p}.")
        # Below that the threshold rests on no resampled champion at all, and would be out of reach.
        if not 0.001 <= self.demotion_chance <= 0.5:
            raise ValueError(f"demotion_chance lies between 0.001 and 0.5, not {self.demotion_chance}.")
        if not (math.isfinite(self.drawdown_percentile) and 50.0 <= self.drawdown_percentile < 100.0):
            raise ValueError(f"drawdown_percentile is at least 50 and below 100, not {self.drawdown_percentile}.")
        if not 1 <= self.unjudged_windows <= 10:
            raise ValueError(f"unjudged_windows is between 1 and 10, not {self.unjudged_windows}.")


def refuse_replaced(given: Mapping[str, Any]) -> None:
    """Refuse settings that an earlier version had.

    Raises
    ------
    ValueError
        Saying what there is in their place.
    """
    for name, instead in REPLACED.items():
        if name in given:
            raise ValueError(f"{name} does not exist any more: {instead}.")

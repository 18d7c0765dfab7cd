"""What a session is: the rules by which bars are cut into sessions, as one value that travels with the data."""

import math
from dataclasses import dataclass

from fx_pipeline.market.errors import ConfigurationError


@dataclass(frozen=True)
class SessionRules:
    """Rules of sessions; the defaults are those of M1.

    Attributes
    ----------
    bars : int
        Decisions of a session.
    window_bars : int
        Bars that one observation covers.
    max_gap_bars : int
        A longer time from one bar to the next, in lengths of a bar, is a gap.
    min_range_pips : float
        A session that moves less, from its lowest low to its highest high, is no market.
    within_week : bool
        Whether a session lies inside one trading week. Where it need not, the weekend is no gap.
    """

    bars: int = 360
    window_bars: int = 32
    max_gap_bars: int = 10
    min_range_pips: float = 1.0
    within_week: bool = True

    def __post_init__(self) -> None:
        if self.bars < 2 or self.window_bars < 1 or self.max_gap_bars < 1:
            raise ConfigurationError(
                f"sessions of {self.bars} bars with a window of {self.window_bars} and gaps over {self.max_gap_bars} "
                "bars: a session has at least 2 bars, a window and a gap at least 1."
            )
        if not (math.isfinite(self.min_range_pips) and self.min_range_pips >= 0):
            raise ConfigurationError(f"min_range_pips must be 0 or more, not {self.min_range_pips}.")

"""How long a bar is, and how bars are aligned: the one place that knows it.

Bars up to an hour begin at multiples of their length in UTC; longer ones are aligned to the trading day, which begins
at 17:00 New York, as OANDA aligns them by default. New York changes its clocks outside the trading week, so that within
a week a bar of every timeframe is as long as its name says.
"""

from dataclasses import dataclass

from fx_pipeline.market.errors import ConfigurationError

_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True)
class Timeframe:
    """A length of bars.

    Attributes
    ----------
    name : str
        As OANDA's API names the granularity: M1, M5, M15, H1, H4 or D.
    minutes : int
        Length of a bar.
    """

    name: str
    minutes: int

    @property
    def bar_ns(self) -> int:
        """Length of a bar in nanoseconds."""
        return self.minutes * _MINUTE_NS

    @property
    def aligned_to_day(self) -> bool:
        """Whether bars begin at multiples of their length since 17:00 New York, and not since midnight UTC."""
        return self.minutes > 60

    @property
    def slug(self) -> str:
        """The name in file, table and asset names."""
        return self.name.lower()

    def __str__(self) -> str:
        """Return the name."""
        return self.name


M1 = Timeframe("M1", 1)
M5 = Timeframe("M5", 5)
M15 = Timeframe("M15", 15)
H1 = Timeframe("H1", 60)
H4 = Timeframe("H4", 240)
D = Timeframe("D", 1_440)
TIMEFRAMES = {found.name: found for found in (M1, M5, M15, H1, H4, D)}


def timeframe(name: str) -> Timeframe:
    """Return the timeframe of that name.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    found = TIMEFRAMES.get(name)
    if found is None:
        raise ConfigurationError(f"timeframe {name!r} is unknown: use {', '.join(TIMEFRAMES)}.")
    return found

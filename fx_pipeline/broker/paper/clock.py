"""Clocks of the market: what time it is there, and how it passes."""

import time
from collections.abc import Callable
from typing import Protocol

from fx_pipeline.market.errors import ConfigurationError

#: Market seconds that may pass in a second at most: a day in less than a tenth of one.
MAXIMUM_SPEED = 1e6
# The last that fits into 64 bits with room for the calendar around it.
_LATEST_NS = 7_258_118_399_999_999_999


class Clock(Protocol):
    """The market's time."""

    def now_ns(self) -> int:
        """UTC nanoseconds; never less than it said before."""
        ...


class WallClock:
    """The machine's time; a machine whose clock is set back makes it stand still until then.

    Parameters
    ----------
    read_ns : callable
        UTC nanoseconds of the machine.
    """

    def __init__(self, read_ns: Callable[[], int] = time.time_ns) -> None:
        self._read_ns = read_ns
        self._latest_ns = 0

    def now_ns(self) -> int:
        """Return UTC nanoseconds."""
        self._latest_ns = max(self._latest_ns, self._read_ns())
        return self._latest_ns


class ReplayClock:
    """Starts at a time of the past and runs at a multiple of real time.

    Parameters
    ----------
    start_ns : int
        UTC nanoseconds shown at first.
    speed : float
        Market seconds that pass in a second; above 0, at most `MAXIMUM_SPEED`.
    monotonic_ns : callable
        The machine's monotonic clock, nanoseconds.

    Raises
    ------
    ConfigurationError
        If the speed is out of bounds.
    """

    def __init__(self, start_ns: int, speed: float, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._base_ns = start_ns
        self._began_ns = monotonic_ns()
        self._speed = _checked(speed)

    @property
    def speed(self) -> float:
        """Market seconds that pass in a second."""
        return self._speed

    def now_ns(self) -> int:
        """Return UTC nanoseconds; the clock stops at the end of the year 2199, long after any data."""
        passed_ns = int((self._monotonic_ns() - self._began_ns) * self._speed)
        return max(self._base_ns, min(self._base_ns + passed_ns, _LATEST_NS))


class SteppedClock:
    """Stands still but for what it is told.

    Parameters
    ----------
    start_ns : int
        UTC nanoseconds shown at first.
    """

    def __init__(self, start_ns: int) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return UTC nanoseconds."""
        return self._now_ns

    def move_to(self, time_ns: int) -> None:
        """Move to a time.

        Raises
        ------
        ConfigurationError
            If it lies before the present one.
        """
        if time_ns < self._now_ns:
            raise ConfigurationError(
                f"the market's clock cannot go back by {(self._now_ns - time_ns) / 1e9:g} s: step to a later time."
            )
        self._now_ns = time_ns


def market_clock(start_ns: int, speed: float) -> Clock:
    """Return a clock that starts at a time and runs at that multiple of real time; at 0 it moves only when told."""
    return SteppedClock(start_ns) if speed == 0 else ReplayClock(start_ns, speed)


def _checked(speed: float) -> float:
    if not 0 < speed <= MAXIMUM_SPEED:
        raise ConfigurationError(
            f"speed {speed:g} is not a positive number up to {MAXIMUM_SPEED:g}: 1 is real time, 60 a minute a second."
        )
    return speed

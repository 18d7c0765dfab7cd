"""Clocks of the market: what time it is there, and how it passes."""

import time
from collections.abc import Callable
from typing import Protocol

from fx_pipeline.market.errors import ConfigurationError


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
        Market seconds that pass in a second; above 0.
    monotonic_ns : callable
        The machine's monotonic clock, nanoseconds.

    Raises
    ------
    ConfigurationError
        If the speed is not a positive finite number.
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
        """Return UTC nanoseconds."""
        return self._base_ns + int((self._monotonic_ns() - self._began_ns) * self._speed)

    def set_speed(self, speed: float) -> None:
        """Change the speed from now on; the time shown does not jump."""
        checked = _checked(speed)
        now = self._monotonic_ns()
        self._base_ns += int((now - self._began_ns) * self._speed)
        self._began_ns = now
        self._speed = checked


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

    def step(self, step_ns: int) -> None:
        """Move by that many nanoseconds.

        Raises
        ------
        ConfigurationError
            If they are negative.
        """
        self.move_to(self._now_ns + step_ns)

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
    if not 0 < speed < float("inf"):
        raise ConfigurationError(f"speed {speed:g} is not a positive number: 1 is real time, 60 a minute a second.")
    return speed

"""Trades by the hour and the weekday of their entry, in the time of the market: New York."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fx_pipeline.market.calendar import DAY_MINUTES, week_minutes

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
#: The trading day, and with it the week, begins at this hour in New York.
FIRST_HOUR = 17


@dataclass(frozen=True)
class Slice:
    """Trades that began in one hour or on one day; the expectancy and win rate are None without any."""

    name: str
    trades: int
    total_pips: float
    expectancy_pips: float | None
    win_rate: float | None


@dataclass(frozen=True)
class Breakdown:
    """Trades by hour in New York, from 17:00 on, and by trading day, which begins at 17:00 of the day before."""

    by_hour: tuple[Slice, ...]
    by_weekday: tuple[Slice, ...]


def break_down(entry_ns: npt.NDArray[np.int64], pnl_pips: npt.NDArray[np.float64]) -> Breakdown:
    """Group trades by when they began.

    Parameters
    ----------
    entry_ns : (N,) int64
        Time of each entry, UTC.
    pnl_pips : (N,) float64

    Returns
    -------
    Breakdown
        All 24 hours, and all five days.
    """
    minutes = week_minutes(entry_ns).astype(np.int64)
    hour, day = minutes % DAY_MINUTES // 60, minutes // DAY_MINUTES
    return Breakdown(
        tuple(_slice(f"{(FIRST_HOUR + h) % 24:02d}:00", pnl_pips[hour == h]) for h in range(24)),
        tuple(_slice(name, pnl_pips[day == d]) for d, name in enumerate(DAYS)),
    )


def _slice(name: str, pnl: npt.NDArray[np.float64]) -> Slice:
    some = len(pnl) > 0
    return Slice(
        name,
        len(pnl),
        float(pnl.sum()),
        float(pnl.mean()) if some else None,
        float((pnl > 0).mean()) if some else None,
    )

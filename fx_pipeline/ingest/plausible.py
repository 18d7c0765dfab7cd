"""Evidence that a file is what it is said to be: M1 bars, of that instrument, on that clock."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.broker.paper.levels import plausible_range, typical_price
from fx_pipeline.ingest.clock import NO_TIME, Clock
from fx_pipeline.market.calendar import MINUTE_NS, TRADING_WEEK_MINUTES, WEEK_MINUTES, trading_week, week_minutes
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.instrument import instrument as find_instrument

Int64 = npt.NDArray[np.int64]

_BUCKET_MINUTES = 5
#: Ticks a quarter of an hour beyond the week's ends are feeds' habits, not a wrong clock.
_TOLERANCE_MINUTES = 15
_INTRUDING_BUCKETS = 2
_CANDIDATES = (
    *(Clock("UTC", float(hours)) for hours in range(-12, 15)),
    *(Clock("America/New_York", float(hours)) for hours in (0, 7)),
    *(Clock(zone) for zone in ("Europe/London", "Europe/Berlin", "Europe/Athens")),
)
_NAMES = {300: "M5", 900: "M15", 1800: "M30", 3600: "H1", 14400: "H4", 86400: "D", 604800: "W"}
_FEWEST_BARS = 10


def check_granularity(name: str, time_ns: Int64) -> None:
    """Refuse bars that are not one minute long.

    Parameters
    ----------
    name : str
        The file, for the message.
    time_ns : (N,) int64
        Bar opens in any order.

    Raises
    ------
    DataError
        If most bars are not one minute apart.
    """
    if len(time_ns) < _FEWEST_BARS:
        return
    steps, counts = np.unique(np.diff(np.unique(time_ns)), return_counts=True)
    if not len(steps):
        return
    seconds = steps[np.argmax(counts)] / 1e9
    if seconds != 60:
        found = _NAMES.get(int(seconds), f"S{seconds:g}" if seconds < 60 else f"{seconds / 60:g}-minute")
        raise DataError(f"{name} holds {found} bars (most are {seconds:g} seconds apart), not M1: import M1 candles.")


def check_level(name: str, instrument: str, close: npt.NDArray[np.float64]) -> None:
    """Refuse prices at which the instrument has never traded, within generous bounds.

    Parameters
    ----------
    close : (N,) float64
        Prices; those that are not finite are left out.

    Raises
    ------
    DataError
        If the median price is out of bounds.
    """
    finite = close[np.isfinite(close)]
    if not len(finite):
        return
    level = float(np.median(finite))
    low, high = plausible_range(instrument)
    if not low <= level <= high:
        raise DataError(
            f"{name} has prices about {level:.5g}, and {instrument} trades about {typical_price(instrument):.3g}: "
            "it is another instrument's file, or its columns are not what they seem. Check --instrument and --format."
        )


def check_clock(name: str, instrument: str, local_ns: Int64, clock: Clock) -> bool:
    """Refuse a clock under which bars lie in the FX weekend (Friday 17:00 to Sunday 17:00 New York).

    Parameters
    ----------
    local_ns : (N,) int64
        Wall-clock times as they stand in the file; `NO_TIME` where there is none.
    clock : Clock
        The clock that the file is said to have.

    Returns
    -------
    bool
        Whether the file could tell: it must reach over a weekend, and the instrument must have weekends.

    Raises
    ------
    DataError
        If weekends have bars in them; the message names the offset that would fit.
    """
    if find_instrument(instrument).base == "BTC":
        return False
    step = _BUCKET_MINUTES * MINUTE_NS
    buckets = np.unique(local_ns[local_ns != NO_TIME] // step) * step
    bad, weekends, first = _weekend_evidence(clock.to_utc(buckets))
    if not weekends:
        return False
    if bad <= weekends // 10:
        return True
    fitting = _fitting_clock(buckets, _CANDIDATES)
    advice = (
        f"its weekends would fit --utc-offset {fitting}."
        if fitting
        else "no offset would fit: are these bars of an instrument that trades at weekends, or filled in?"
    )
    raise DataError(
        f"{name} cannot be on the clock {clock}: {bad} of its {weekends} FX weekends have bars in them, the first at "
        f"{pd.Timestamp(first, tz='UTC'):%Y-%m-%d %H:%M} UTC; {advice}"
    )


def _weekend_evidence(utc_ns: Int64) -> tuple[int, int, int]:
    # Weekends with bars in them, weekends in the span, and the first bar in one.
    utc_ns = utc_ns[utc_ns != NO_TIME]
    if not len(utc_ns):
        return 0, 0, 0
    minutes, weeks = week_minutes(utc_ns), trading_week(utc_ns)
    intruding = (minutes >= TRADING_WEEK_MINUTES + _TOLERANCE_MINUTES) & (minutes < WEEK_MINUTES - _TOLERANCE_MINUTES)
    weekends, counts = np.unique(weeks[intruding], return_counts=True)
    bad = weekends[counts >= _INTRUDING_BUCKETS]
    spanned = int(weeks.max() - weeks.min()) + int(bool(intruding[weeks == weeks.max()].any()))
    first = utc_ns[intruding & np.isin(weeks, bad)]
    return len(bad), max(spanned, len(bad)), int(first.min()) if len(first) else 0


def _fitting_clock(buckets: Int64, candidates: Sequence[Clock]) -> Clock | None:
    # Of the clocks without bars in weekends, the one under which trading fills the week's ends best.
    best: tuple[int, Clock] | None = None
    for clock in candidates:
        utc = clock.to_utc(buckets)
        bad, weekends, _ = _weekend_evidence(utc)
        if bad > weekends // 10:
            continue
        utc = utc[utc != NO_TIME]
        minutes, weeks = week_minutes(utc), trading_week(utc)
        ends = (minutes < 120) | ((minutes >= TRADING_WEEK_MINUTES - 120) & (minutes < TRADING_WEEK_MINUTES))
        inner = (weeks > weeks.min()) | (minutes >= TRADING_WEEK_MINUTES - 120)
        filled = int((ends & inner).sum())
        if best is None or filled > best[0]:
            best = (filled, clock)
    return best[1] if best else None

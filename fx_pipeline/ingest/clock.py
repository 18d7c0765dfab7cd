"""Clocks of files: a wall clock at a fixed offset, in an IANA zone, or in a zone plus some hours."""

import re
import zoneinfo
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from fx_pipeline.market.errors import ConfigurationError

#: Nanoseconds that stand for "no time", as in NumPy and pandas.
NO_TIME = int(np.iinfo(np.int64).min)
_HOUR_NS = 3_600_000_000_000
_HOURS = re.compile(r"(?:UTC|GMT)?([+-]?\d{1,2})(?::(\d\d))?")
_ZONE_HOURS = re.compile(r"([A-Za-z_]+(?:/[A-Za-z_+\-]+)*?)([+-]\d{1,2})?")


@dataclass(frozen=True)
class Clock:
    """A file's wall clock: that of `zone`, `hours` ahead of it.

    Attributes
    ----------
    zone : str
        IANA name.
    hours : float
        Added to the zone's wall clock; with "UTC" it is a fixed offset.
    """

    zone: str = "UTC"
    hours: float = 0.0

    def __str__(self) -> str:
        sign = "-" if self.hours < 0 else "+"
        minutes = round(abs(self.hours) * 60)
        text = f"{sign}{minutes // 60}" + (f":{minutes % 60:02d}" if minutes % 60 else "")
        if self.zone == "UTC":
            return text
        return self.zone + (text if self.hours else "")

    def to_utc(self, local_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return UTC nanoseconds of wall-clock nanoseconds.

        Parameters
        ----------
        local_ns : (N,) int64
            `NO_TIME` stands for no time.

        Returns
        -------
        (N,) int64
            `NO_TIME` where there was none, and where a clock change makes the wall clock ambiguous or skips it.
        """
        shifted = np.where(local_ns == NO_TIME, NO_TIME, local_ns - round(self.hours * _HOUR_NS))
        if self.zone == "UTC":
            return shifted
        index = pd.DatetimeIndex(shifted.astype("datetime64[ns]"))
        utc = index.tz_localize(self.zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
        return np.asarray(utc.as_unit("ns").asi8)


UTC = Clock()
NEW_YORK = Clock("America/New_York")


def parse_clock(text: str) -> Clock:
    """Read `--utc-offset`: hours ("3", "-5", "+05:30"), a zone ("Europe/Athens"), or both ("America/New_York+7").

    Raises
    ------
    ConfigurationError
        If it is none of these.
    """
    text = text.strip()
    if found := _HOURS.fullmatch(text):
        hours = int(found[1])
        minutes = int(found[2] or 0) * (-1 if text.lstrip("UTCGM").startswith("-") else 1)
        offset = timedelta(hours=hours, minutes=minutes)
        if abs(offset) <= timedelta(hours=14):
            return Clock("UTC", offset.total_seconds() / 3600)
    elif found := _ZONE_HOURS.fullmatch(text):
        try:
            zoneinfo.ZoneInfo(found[1])
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return Clock(found[1], float(found[2] or 0))
    raise ConfigurationError(
        f"--utc-offset {text!r} cannot be read: give hours ahead of UTC (3, -5, +05:30), a zone (Europe/Athens), or "
        "a zone and hours (America/New_York+7, the clock of many MetaTrader brokers)."
    )

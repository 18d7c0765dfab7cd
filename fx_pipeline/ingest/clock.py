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

    @property
    def name(self) -> str:
        """As it is shown: UTC, UTC+3, America/New_York+7."""
        return str(self) if self.zone != "UTC" else f"UTC{self}" if self.hours else "UTC"

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
        known = local_ns != NO_TIME
        if known.all():
            return self._to_utc(local_ns)
        utc_ns = np.full(len(local_ns), NO_TIME)
        utc_ns[known] = self._to_utc(local_ns[known])
        return utc_ns

    def to_local(self, utc_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return wall-clock nanoseconds of UTC nanoseconds, (N,) int64."""
        index = pd.DatetimeIndex(utc_ns.astype("datetime64[ns]"), tz="UTC").tz_convert(self.zone).tz_localize(None)
        return np.asarray(index.as_unit("ns").asi8) + round(self.hours * _HOUR_NS)

    def _to_utc(self, local_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        shifted = local_ns - round(self.hours * _HOUR_NS)
        return shifted if self.zone == "UTC" else _zone_to_utc(shifted, self.zone)


def _zone_to_utc(local_ns: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    # A zone's offset hardly ever changes within an hour: one look-up for each hour that the rows touch.
    hours, place = _distinct(local_ns // _HOUR_NS)
    first = _localized(hours * _HOUR_NS, zone)
    last = _localized(hours * _HOUR_NS + (_HOUR_NS - 1), zone)
    steady = (first != NO_TIME) & (last - first == _HOUR_NS - 1)
    utc_ns = local_ns + np.where(steady, first - hours * _HOUR_NS, 0)[place]
    changing = np.flatnonzero(~steady[place])
    utc_ns[changing] = _localized(local_ns[changing], zone)
    return utc_ns


def _distinct(hours: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    # `np.unique` with the inverse, without sorting where the hours stand in order.
    steps = np.diff(hours)
    if (steps >= 0).all():
        starts = np.append(True, steps > 0)[: len(hours)]
        return hours[starts], np.cumsum(starts) - 1
    distinct, place = np.unique(hours, return_inverse=True)
    return distinct, place


def _localized(local_ns: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    # `NO_TIME` is the integer of NaT.
    index = pd.DatetimeIndex(local_ns.astype("datetime64[ns]"))
    utc = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    return np.asarray(utc.as_unit("ns").asi8)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


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
    elif _is_zone(text):
        # Before a zone plus hours: in the name Etc/GMT+3 the hours are BEHIND UTC.
        return Clock(text)
    elif (found := _ZONE_HOURS.fullmatch(text)) and _is_zone(found[1]):
        return Clock(found[1], float(found[2] or 0))
    raise ConfigurationError(
        f"--utc-offset {text!r} cannot be read: give hours ahead of UTC (3, -5, +05:30), a zone (Europe/Athens), or "
        "a zone and hours (America/New_York+7, the clock of many MetaTrader brokers)."
    )

"""Times on the wire, and 17:00 New York."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND_NS = 1_000_000_000
_NEW_YORK = ZoneInfo("America/New_York")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROLLOVER = time(17)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|z|[+-][0-9]{2}:[0-9]{2})"
)
_UNIX = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,9})?")


@lru_cache(maxsize=256)
def _second_text(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:19]


def time_text(time_ns: int) -> str:
    """Return a time as OANDA writes it: RFC 3339, nine decimals, `Z`."""
    second, fraction = divmod(time_ns, SECOND_NS)
    return f"{_second_text(second)}.{fraction:09d}Z"


def time_of(text: object) -> int | None:
    """Read an RFC 3339 or UNIX time of a request.

    Returns
    -------
    int or None
        UTC nanoseconds; None where the text is no time.
    """
    if not isinstance(text, str):
        return None
    if _UNIX.fullmatch(text):
        return int(Decimal(text) * SECOND_NS)
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        seconds = (instant - _EPOCH) // timedelta(seconds=1)
        # An offset may lead out of the years that there are.
        _second_text(seconds)
    except (ValueError, OverflowError):
        return None
    return seconds * SECOND_NS + int((fraction or "0").ljust(9, "0"))


def new_york_day(time_ns: int) -> date:
    """Return the New York calendar day of a time."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1_000)).astimezone(_NEW_YORK).date()


def next_rollover_ns(time_ns: int) -> int:
    """Return the first 17:00 New York after a time, in UTC nanoseconds."""
    day = new_york_day(time_ns)
    while True:
        rollover = datetime.combine(day, _ROLLOVER, _NEW_YORK)
        found = ((rollover - _EPOCH) // timedelta(seconds=1)) * SECOND_NS
        if found > time_ns:
            return found
        day += timedelta(days=1)

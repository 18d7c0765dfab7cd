"""Calendar months in UTC, the unit in which candles are stored."""

import re

import numpy as np

from fx_pipeline.market.errors import DataError

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def month_of(time_ns: int) -> str:
    """Return the UTC month, `YYYY-MM`, in which that time lies."""
    return str(np.datetime64(int(time_ns), "ns").astype("datetime64[M]"))


def month_bounds(month: str) -> tuple[int, int]:
    """Return the first nanosecond of a month and of the month after it.

    Raises
    ------
    DataError
        If `month` is not written `YYYY-MM`.
    """
    if not _MONTH.fullmatch(month):
        raise DataError(f"{month!r} is not a month: write it like 2024-01.")
    first = np.datetime64(month, "M")
    bounds = np.array([first, first + np.timedelta64(1, "M")]).astype("datetime64[ns]").astype(np.int64)
    return int(bounds[0]), int(bounds[1])


def months_between(start_ns: int, end_ns: int) -> list[str]:
    """Return the months that [start, end) touches, in order."""
    if end_ns <= start_ns:
        return []
    last = np.datetime64(month_of(end_ns - 1), "M")
    return [str(month) for month in np.arange(np.datetime64(month_of(start_ns), "M"), last + np.timedelta64(1, "M"))]

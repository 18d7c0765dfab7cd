"""Which bars something was judged on: what was seen is told by bars, and not by the names of windows.

Windows of two plans may share days under different names, and one name may mean other days after a new plan.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

SECOND_NS = 1_000_000_000


def iso_ns(text: str) -> int:
    """Return UTC nanoseconds of an ISO 8601 time; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp()) * SECOND_NS


def span_ns(lineage: Mapping[str, Any]) -> tuple[int, int]:
    """Return start and end (exclusive) of the validation span that a report is of, UTC nanoseconds."""
    return iso_ns(lineage["valid_start"]), iso_ns(lineage["valid_end"])


def said_ns(moment_ns: int) -> str:
    """Return a moment as a person reads it: UTC, to the minute."""
    return datetime.fromtimestamp(moment_ns / SECOND_NS, UTC).strftime("on %Y-%m-%d at %H:%M UTC")

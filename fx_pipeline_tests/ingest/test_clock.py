"""Clocks of files."""

import numpy as np
import pytest

from fx_pipeline.ingest.clock import NEW_YORK, NO_TIME, parse_clock
from fx_pipeline.market.errors import ConfigurationError


def nanoseconds(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@pytest.mark.parametrize(
    ("text", "zone", "hours"),
    [
        ("3", "UTC", 3),
        ("+03:30", "UTC", 3.5),
        ("-5", "UTC", -5),
        ("-03:30", "UTC", -3.5),
        ("UTC", "UTC", 0),
        ("UTC+2", "UTC", 2),
        ("Europe/Athens", "Europe/Athens", 0),
        ("America/New_York+7", "America/New_York", 7),
    ],
)
def test_offsets_are_read(text: str, zone: str, hours: float) -> None:
    clock = parse_clock(text)
    assert (clock.zone, clock.hours) == (zone, hours)
    assert parse_clock(str(clock)) == clock


@pytest.mark.parametrize("text", ["", "15", "-20", "Mars/Base", "three", "../etc/passwd"])
def test_other_offsets_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--utc-offset"):
        parse_clock(text)


def test_new_york_follows_daylight_saving() -> None:
    local = np.array([nanoseconds("2024-03-08T17:00"), nanoseconds("2024-03-10T17:00"), NO_TIME])
    utc = NEW_YORK.to_utc(local)
    assert utc.tolist() == [nanoseconds("2024-03-08T22:00"), nanoseconds("2024-03-10T21:00"), NO_TIME]


def test_hours_that_a_clock_change_repeats_or_skips_have_no_time() -> None:
    local = np.array(
        [nanoseconds("2024-11-03T01:30"), nanoseconds("2024-03-10T02:30"), nanoseconds("2024-11-03T02:30")]
    )
    assert NEW_YORK.to_utc(local).tolist() == [NO_TIME, NO_TIME, nanoseconds("2024-11-03T07:30")]


def test_a_brokers_clock_seven_hours_ahead_of_new_york() -> None:
    clock = parse_clock("America/New_York+7")
    # The trading day starts at midnight on it, in winter and in summer.
    local = np.array([nanoseconds("2024-01-08T00:00"), nanoseconds("2024-07-08T00:00")])
    assert clock.to_utc(local).tolist() == [nanoseconds("2024-01-07T22:00"), nanoseconds("2024-07-07T21:00")]

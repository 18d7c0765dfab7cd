"""Clocks of files."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.ingest.clock import NEW_YORK, NO_TIME, Clock, parse_clock
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
        ("EST5EDT", "EST5EDT", 0),
        ("Etc/GMT+3", "Etc/GMT+3", 0),
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


def test_zone_whose_name_has_hours_keeps_their_sign() -> None:
    # In these names the hours are behind UTC, other than in "+3".
    noon = np.array([nanoseconds("2024-01-08T12:00")])
    assert parse_clock("Etc/GMT+3").to_utc(noon).tolist() == [nanoseconds("2024-01-08T15:00")]
    assert parse_clock("+3").to_utc(noon).tolist() == [nanoseconds("2024-01-08T09:00")]


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


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from(
        ["America/New_York", "Europe/Athens", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kolkata"]
    ),
    start=st.sampled_from(["2010-03-13", "2010-10-02", "2010-11-06", "2010-04-03", "2010-03-27", "2010-10-30"]),
    minutes=st.lists(st.integers(0, 3 * 1440), max_size=200),
    in_order=st.booleans(),
)
def test_hours_are_looked_up_once_and_give_what_every_row_would(
    zone: str, start: str, minutes: list[int], in_order: bool
) -> None:
    # Lord Howe moves its clocks by half an hour, St John's moved them at one minute past midnight.
    minutes = sorted(minutes) if in_order else minutes
    local = nanoseconds(start) + np.array(minutes, dtype=np.int64) * 60_000_000_000
    index = pd.DatetimeIndex(local.astype("datetime64[ns]"))
    expected = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC").as_unit("ns").asi8
    assert Clock(zone).to_utc(local).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("zone", "text"), [("Australia/Lord_Howe", "2010-10-03T02:15"), ("America/St_Johns", "2010-11-06T23:30")]
)
def test_clock_changes_within_an_hour(zone: str, text: str) -> None:
    clock = parse_clock(zone)
    hour = nanoseconds(text) // 3_600_000_000_000 * 3_600_000_000_000
    times = clock.to_utc(hour + np.arange(60) * 60_000_000_000)
    assert (times == NO_TIME).any() and (times != NO_TIME).any()

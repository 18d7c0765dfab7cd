"""Replies: compression, UNIX times, error bodies."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.reply import Refusal, accepts_gzip, format_time, invalid, refused, with_unix_times
from fx_pipeline.broker.paper.wire import WireError, parse_time


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("x-gzip-not", False),
    ],
)
def test_gzip_is_for_those_who_take_it(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@given(time_ns=st.integers(0, 4 * 10**18))
@settings(max_examples=60, deadline=None)
def test_times_mean_the_same_in_both_forms(time_ns: int) -> None:
    assert parse_time(format_time(time_ns, unix=False)) == parse_time(format_time(time_ns, unix=True)) == time_ns


def test_unix_times_touch_times_and_nothing_that_a_client_wrote() -> None:
    time, unix = "2024-01-08T00:00:00.123456789Z", "1704672000.123456789"
    body = {
        "time": time,
        "createTime": time,
        "from": time,
        "nested": [{"gtdTime": time, "comment": time, "tag": f'"time":"{time}"'}],
        "name": "time",
        "openTime": "0000-00-00T00:00:00.000000000Z",
    }
    # The desk has no spaces in its JSON.
    text = json.dumps(body, separators=(",", ":")).encode()
    expected = {**body, "time": unix, "createTime": unix, "from": unix}
    expected["nested"] = [{**body["nested"][0], "gtdTime": unix}]  # type: ignore[dict-item]
    assert json.loads(with_unix_times(text)) == expected


def test_refusals_say_what_oandas_do() -> None:
    assert json.loads(refused(WireError(504, "Timeout waiting for response.")).body) == {
        "errorMessage": "Timeout waiting for response."
    }
    assert json.loads(refused(invalid("count")).body) == {
        "errorMessage": "Invalid value specified for 'count'",
        "errorCode": "oanda::rest::core::InvalidParameterException",
    }
    page = refused(Refusal(503, "503 Service Temporarily Unavailable", html=True))
    assert page.media_type == "text/html"
    assert page.body.startswith(b"<html>")

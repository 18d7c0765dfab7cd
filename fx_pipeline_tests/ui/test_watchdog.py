"""When ticks count as stopped."""

from typing import Any

import pytest

from fx_pipeline.ui.watchdog import Findings, tick_limit, ticks_have_stopped

NOW = 1_800_000_000.0


def location(*sensors: tuple[int | None, str]) -> dict[str, Any]:
    shown = [{"name": "s", "minIntervalSeconds": every, "sensorState": {"status": status}} for every, status in sensors]
    return {"name": "code", "locationOrLoadError": {"repositories": [{"sensors": shown}]}}


def test_the_quickest_sensor_that_is_on_sets_the_limit() -> None:
    # With the slowest, a daemon that hung went unnoticed for four times its five minutes: the tick can be of any.
    assert tick_limit([location((60, "RUNNING"), (300, "RUNNING"), (30, "STOPPED"))]) == 240.0
    assert tick_limit([location((30, "RUNNING"), (300, "RUNNING"))]) == 120.0
    assert tick_limit([location((30, "RUNNING")), location((None, "RUNNING"))]) == 120.0


def test_where_no_sensor_is_on_nothing_can_stop() -> None:
    assert tick_limit([location((30, "STOPPED"))]) is None and tick_limit([]) is None
    assert tick_limit([{"name": "broken", "locationOrLoadError": {"message": "no"}}]) is None
    assert not ticks_have_stopped(Findings(tick_s=0.0, since_s=0.0), NOW)


@pytest.mark.parametrize(
    ("tick_s", "since_s", "stopped"),
    [
        (NOW - 10, NOW - 999, False),
        (NOW - 130, NOW - 999, True),
        (None, NOW - 130, True),
        # The daemon was started again, or the machine slept.
        (NOW - 999, NOW - 60, False),
    ],
)
def test_ticks(tick_s: float | None, since_s: float, stopped: bool) -> None:
    assert ticks_have_stopped(Findings(tick_s=tick_s, since_s=since_s, tick_limit_s=120.0), NOW) is stopped

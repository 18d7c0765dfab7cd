"""Sensors and the schedule: what they request, what they say, and that nothing is requested twice or lost."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline.defs import requests
from fx_pipeline.defs.automation import promote_best, validate_new_checkpoints, weekly_retraining
from fx_pipeline_tests.defs.conftest import attest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


@pytest.fixture
def place(copy: "Chain") -> Iterator["Chain"]:
    """A copy of the chain whose settings hold for the whole test."""
    with copy.environment():
        yield copy


def tick(sensor: dg.SensorDefinition, chain: "Chain", cursor: str | None = None) -> Any:
    with (
        dg.build_sensor_context(instance=chain.instance, cursor=cursor, definitions=chain.definitions()) as context,
        dg.partition_loading_context(dynamic_partitions_store=chain.instance),
    ):
        return sensor.evaluate_tick(context)


def test_every_checkpoint_is_validated_once(place: "Chain") -> None:
    windows = place.instance.get_dynamic_partitions("walk_forward_window")
    keys = [place.key(window) for window in windows]
    assert len(keys) > 1
    for key in keys:
        place.report_materialization("muzero_checkpoint", key)
    first = tick(validate_new_checkpoints, place)
    assert [request.partition_key for request in first.run_requests] == [str(key) for key in keys]
    assert len({request.run_key for request in first.run_requests}) == len(keys)
    # A tick that is repeated asks with the same keys, which Dagster runs once.
    again = tick(validate_new_checkpoints, place)
    assert [request.run_key for request in again.run_requests] == [request.run_key for request in first.run_requests]
    idle = tick(validate_new_checkpoints, place, first.cursor)
    assert not idle.run_requests and idle.skip_message == "no new checkpoint."
    place.report_materialization("muzero_checkpoint", keys[0])
    later = tick(validate_new_checkpoints, place, first.cursor)
    (request,) = later.run_requests
    assert request.run_key not in {request.run_key for request in first.run_requests}


def test_request_to_validate_can_be_run(place: "Chain") -> None:
    place.report_materialization("muzero_checkpoint", place.key())
    (request,) = tick(validate_new_checkpoints, place).run_requests
    result = place.job("validate", request.partition_key)
    assert result.success and len(result.asset_materializations_for_node("validation_report")) == 1


def test_many_checkpoints_take_several_ticks(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fx_pipeline.defs.events._BATCH", 2)
    monkeypatch.setattr(requests.Tick, "late", property(lambda tick: next(late)))
    windows = [f"2024-02-{day:02d}" for day in range(1, 6)]
    place.instance.add_dynamic_partitions("walk_forward_window", windows)
    for window in windows:
        place.report_materialization("muzero_checkpoint", place.key(window))
    cursor, requested = None, []
    for _ in range(3):
        # Late after its first batch: the rest waits for the next tick, and nothing is lost.
        late = iter([False, True, *[False] * 5])
        found = tick(validate_new_checkpoints, place, cursor)
        requested.append([request.partition_key for request in found.run_requests])
        cursor = found.cursor
    keys = [str(place.key(window)) for window in windows]
    assert requested == [keys[:2], keys[2:4], keys[4:]]


def test_rejected_report_is_skipped_with_the_reason(place: "Chain") -> None:
    place.report_materialization("validation_report", place.key())
    found = tick(promote_best, place)
    assert not found.run_requests
    assert f"EUR_USD {place.window}: the gate rejected window {place.window}: " in found.skip_message
    assert tick(promote_best, place, found.cursor).skip_message == "no new report and no new champion."


def test_passing_report_is_promoted_and_goes_live(place: "Chain") -> None:
    attest(place)
    place.report_materialization("validation_report", place.key())
    found = tick(promote_best, place)
    (request,) = found.run_requests
    assert (request.job_name, request.partition_key) == ("promote", "EUR_USD")
    assert request.run_config == {"ops": {"champion": {"config": {"window": place.window}}}}

    result = place.job("promote", request.partition_key, request.run_config)
    assert len(result.asset_materializations_for_node("champion")) == 1
    later = tick(promote_best, place, found.cursor)
    (live,) = later.run_requests
    assert live.job_name == "live_trading" and live.tags["instrument"] == "EUR_USD"
    decision = place.job("live_trading", config=live.run_config).output_for_node("decide_live")
    assert decision["instrument"] == "EUR_USD" and decision["orders_sent"] == 0
    assert not tick(promote_best, place, later.cursor).run_requests


def test_report_and_champion_in_one_tick(place: "Chain") -> None:
    attest(place)
    place.report_materialization("validation_report", place.key())
    place.report_materialization("champion", place.instrument)
    found = tick(promote_best, place)
    assert [request.job_name for request in found.run_requests] == ["promote", "live_trading"]


def test_missing_report_is_said(place: "Chain") -> None:
    (place.report / "report.json").unlink()
    place.report_materialization("validation_report", place.key())
    found = tick(promote_best, place)
    assert not found.run_requests and "its report is gone" in found.skip_message


@pytest.mark.parametrize("garbled", ["report", "champion"])
def test_unreadable_file_does_not_hold_up_the_others(place: "Chain", garbled: str) -> None:
    """An error of one report, raised, would come again on every tick: the cursor has to move on."""
    if garbled == "report":
        (place.report / "report.json").write_text("{")
    else:
        attest(place)
        (place.data_dir / "champion").mkdir()
        (place.data_dir / "champion" / "EUR_USD.json").write_text("{")
    place.report_materialization("validation_report", place.key())
    place.report_materialization("champion", "GBP_USD")
    found = tick(promote_best, place)
    (request,) = found.run_requests
    assert request.job_name == "live_trading" and request.tags["instrument"] == "GBP_USD"
    assert not tick(promote_best, place, found.cursor).run_requests


def retraining(chain: "Chain") -> Any:
    with (
        dg.build_schedule_context(
            instance=chain.instance,
            scheduled_execution_time=datetime(2024, 2, 2, 23, tzinfo=UTC),
            repository_def=chain.definitions().get_repository_def(),
        ) as context,
        dg.partition_loading_context(dynamic_partitions_store=chain.instance),
    ):
        return weekly_retraining.evaluate_tick(context)


def test_newest_window_of_each_instrument_is_retrained(place: "Chain") -> None:
    other = json.loads((place.data_dir / "windows" / "EUR_USD.json").read_text()) | {"instrument": "GBP_USD"}
    other["windows"] = other["windows"][:-1]
    (place.data_dir / "windows" / "GBP_USD.json").write_text(json.dumps(other))
    found = retraining(place)
    newest = other["windows"][-1]["key"]
    assert [request.partition_key for request in found.run_requests] == [
        str(place.key()),
        str(place.key(newest, "GBP_USD")),
    ]
    assert [request.run_key for request in found.run_requests] == [
        f"2024-W05|EUR_USD|{place.window}",
        f"2024-W05|GBP_USD|{newest}",
    ]
    # As many seeds as the gate asks for, in one run: what it makes can be promoted.
    for request in found.run_requests:
        assert request.run_config == {"ops": {"muzero_checkpoint": {"config": {"seeds": [7, 8, 9, 10, 11]}}}}


def test_nothing_to_retrain_is_said(empty: "Chain") -> None:
    with empty.environment():
        found = retraining(empty)
    assert not found.run_requests and "no instrument has a walk-forward window yet" in found.skip_message

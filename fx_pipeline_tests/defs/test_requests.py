"""What sensors ask for: only what exists, again when it failed, and never held up by one event."""

import json
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG

from fx_pipeline.defs import requests
from fx_pipeline.defs.automation import promote_best, validate_new_checkpoints
from fx_pipeline.defs.keeping_current import prepare_new_candles
from fx_pipeline.defs.partitions import instrument_month, instrument_window, instruments
from fx_pipeline.market.timeframe import Timeframe
from fx_pipeline_tests.defs.conftest import attest
from fx_pipeline_tests.defs.test_automation import retraining, tick

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

KEPT, GONE = "2024-01-22", "2024-01-10"
THERE = f"EUR_USD|{KEPT}"
#: Partitions of events that no run can be asked for with: removed, not configured, of another code location.
STRANGE = (f"EUR_USD|{GONE}", f"XAU_USD|{KEPT}", "EUR_USD", f"{THERE}|x", "", "|", "EUR_USD|../..", f"{KEPT}|EUR_USD")


@pytest.fixture
def place(empty: "Chain") -> Iterator["Chain"]:
    """An empty data folder, and one window."""
    empty.instance.add_dynamic_partitions("walk_forward_window", [KEPT])
    with empty.environment():
        yield empty


@pytest.fixture
def passed(copy: "Chain") -> Iterator["Chain"]:
    """A copy of the chain whose report passed the gate, and is new."""
    attest(copy)
    with copy.environment():
        copy.report_materialization("validation_report", copy.key())
        yield copy


def asked(found: Any) -> list[str]:
    return [request.partition_key for request in found.run_requests]


@dg.op
def outcome(context: dg.OpExecutionContext) -> None:
    """Fail where a run is to have failed."""
    if "fails" in context.run.tags:
        raise dg.Failure("database is locked")


@dg.job(executor_def=dg.in_process_executor)
def work() -> None:
    outcome()


def ran(chain: "Chain", found: Any, how: str = "fails") -> None:
    """Let the run that was asked for succeed ("succeeds") or fail ("fails"), or only stand there in a status."""
    (request,) = found.run_requests
    tags = {RUN_KEY_TAG: request.run_key, how: "true"}
    if how in ("fails", "succeeds"):
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        work.execute_in_process(instance=chain.instance, tags=tags, raise_on_error=False, run_config=quiet)
    else:
        run = dg.DagsterRun("validate", status=dg.DagsterRunStatus(how), tags=tags)
        chain.instance.run_storage.add_run(run)


def test_a_partition_is_there_or_not_and_no_key_is_an_error(place: "Chain") -> None:
    assert requests.exists(place.instance, instrument_window, THERE)
    assert requests.exists(place.instance, instruments, "GBP_USD")
    assert requests.exists(place.instance, instrument_month, "EUR_USD|2024-01")
    for partitions in (instrument_window, instrument_month):
        assert not any(requests.exists(place.instance, partitions, key) for key in (*STRANGE, None))
    place.instance.delete_dynamic_partition("walk_forward_window", KEPT)
    assert not requests.exists(place.instance, instrument_window, THERE)


def test_checkpoints_of_removed_and_foreign_partitions_are_said_and_hold_up_nothing(place: "Chain") -> None:
    for key in (*STRANGE, THERE):
        place.report_materialization("muzero_checkpoint", key)
    place.instance.report_runless_asset_event(dg.AssetMaterialization("muzero_checkpoint"))
    found = tick(validate_new_checkpoints, place)
    assert asked(found) == [THERE]
    place.instance.delete_dynamic_partition("walk_forward_window", KEPT)
    place.report_materialization("muzero_checkpoint", THERE)
    gone = tick(validate_new_checkpoints, place, found.cursor)
    assert not gone.run_requests and f"{THERE}: left out, there is no such partition" in gone.skip_message
    assert tick(validate_new_checkpoints, place, gone.cursor).skip_message == "no new checkpoint."


def test_reports_champions_and_candles_of_foreign_partitions_hold_up_nothing(place: "Chain") -> None:
    for key in (*STRANGE, "GBP_USD"):
        place.report_materialization("champion", key)
        place.report_materialization("validation_report", key)
        place.instance.report_runless_asset_event(
            dg.AssetMaterialization("m1_candles", partition=key, metadata={"file written": True})
        )
    found = tick(promote_best, place)
    assert [request.tags["instrument"] for request in found.run_requests] == ["EUR_USD", "GBP_USD"]
    assert "waiting" not in json.loads(found.cursor) or json.loads(found.cursor)["waiting"] == {}
    assert asked(tick(prepare_new_candles, place)) == ["EUR_USD", "GBP_USD"]


def test_the_newest_window_of_a_plan_is_asked_for_only_where_it_is(copy: "Chain") -> None:
    plan = json.loads((copy.data_dir / "windows" / "EUR_USD.json").read_text())
    (copy.data_dir / "windows" / "GBP_USD.json").write_text("{")
    with copy.environment():
        assert asked(retraining(copy)) == [str(copy.key())]
        copy.instance.delete_dynamic_partition("walk_forward_window", copy.window)
        said = retraining(copy).skip_message
    assert f"EUR_USD|{plan['windows'][-1]['key']}: left out" in said and "GBP_USD.json" in said


def test_a_window_that_was_trained_fifty_times_is_validated_once(place: "Chain") -> None:
    for _ in range(50):
        place.report_materialization("muzero_checkpoint", THERE)
    first = tick(validate_new_checkpoints, place)
    assert asked(first) == [THERE]
    # A validation that has not begun will see the newest; one that has, will not.
    ran(place, first, "NOT_STARTED")
    place.report_materialization("muzero_checkpoint", THERE)
    queued = tick(validate_new_checkpoints, place, first.cursor)
    assert not queued.run_requests and "is under way" in queued.skip_message
    place.instance.run_storage.delete_run(place.instance.get_runs()[0].run_id)
    ran(place, first, "STARTED")
    place.report_materialization("muzero_checkpoint", THERE)
    assert asked(tick(validate_new_checkpoints, place, queued.cursor)) == [THERE]


def test_a_run_that_fails_is_asked_for_again_with_pauses_and_a_limit(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    place.report_materialization("muzero_checkpoint", THERE)
    found = tick(validate_new_checkpoints, place)
    keys = []
    for number in range(1, 6):
        keys.append(found.run_requests[0].run_key)
        ran(place, found)
        monkeypatch.setattr(requests, "PAUSES_S", (1e6,) * 4)
        waits = tick(validate_new_checkpoints, place, found.cursor)
        assert not waits.run_requests
        if number < 5:
            assert f"({number} of 5 attempts)" in waits.skip_message
        monkeypatch.setattr(requests, "PAUSES_S", (0.0,) * 4)
        found = tick(validate_new_checkpoints, place, waits.cursor)
    assert len(set(keys)) == 5 and not found.run_requests
    # It is left to a person, and said for as long as nobody did anything.
    for _ in range(2):
        assert "5 runs failed, the last is " in found.skip_message and "by hand" in found.skip_message
        found = tick(validate_new_checkpoints, place, found.cursor)
    place.report_materialization("muzero_checkpoint", THERE)
    again = tick(validate_new_checkpoints, place, found.cursor)
    assert asked(again) == [THERE]
    ran(place, again, "succeeds")
    assert tick(validate_new_checkpoints, place, again.cursor).skip_message == "no new checkpoint."


def test_a_run_that_was_canceled_is_left_to_who_canceled_it(place: "Chain") -> None:
    place.report_materialization("muzero_checkpoint", THERE)
    found = tick(validate_new_checkpoints, place)
    ran(place, found, "CANCELED")
    canceled = tick(validate_new_checkpoints, place, found.cursor)
    assert not canceled.run_requests and "was canceled" in canceled.skip_message
    assert tick(validate_new_checkpoints, place, canceled.cursor).skip_message == "no new checkpoint."


def test_a_promotion_that_fails_is_asked_for_until_there_is_the_champion(
    passed: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "PAUSES_S", (0.0,) * 4)
    found = tick(promote_best, passed)
    first = found.run_requests[0].run_key
    ran(passed, found)
    again = tick(promote_best, passed, found.cursor)
    (request,) = again.run_requests
    assert (request.job_name, request.partition_key) == ("promote", "EUR_USD") and request.run_key != first
    assert passed.job("promote", request.partition_key, request.run_config).success
    later = tick(promote_best, passed, again.cursor)
    assert [request.job_name for request in later.run_requests] == ["live_trading"]


def test_a_promotion_that_the_run_refused_is_not_asked_for_again(passed: "Chain") -> None:
    found = tick(promote_best, passed)
    ran(passed, found, "succeeds")
    later = tick(promote_best, passed, found.cursor)
    assert not later.run_requests and json.loads(later.cursor)["waiting"] == {}


def test_a_demotion_whose_run_fails_is_asked_for_again(passed: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    from fx_pipeline.settings import load_settings

    monkeypatch.setattr(requests, "PAUSES_S", (0.0,) * 4)
    found = tick(promote_best, passed)
    assert passed.job("promote", "EUR_USD", found.run_requests[0].run_config).success
    cursor = tick(promote_best, passed, found.cursor).cursor
    layout = load_settings().layout
    record = json.loads(layout.champion("EUR_USD").read_text())
    layout.demotion("EUR_USD").parent.mkdir()
    layout.demotion("EUR_USD").write_text(
        json.dumps(record | {"schema": "fx_pipeline.demotion/1", "last_window": "2024-03-01", "reason": "it failed"})
    )
    keys = set()
    for _ in range(3):
        asks = tick(promote_best, passed, cursor)
        keys.add(asks.run_requests[0].run_key)
        ran(passed, asks)
        cursor = asks.cursor
    assert len(keys) == 3


@pytest.mark.parametrize(
    "cursor",
    ["garbage", "[]", "{}", '{"after": "x"}', '{"after": 0, "waiting": []}', "null", "-1", '{"reports": null}'],
)
def test_a_garbled_cursor_begins_anew(place: "Chain", cursor: str) -> None:
    place.report_materialization("muzero_checkpoint", THERE)
    place.report_materialization("champion", "EUR_USD")
    assert asked(tick(validate_new_checkpoints, place, cursor)) == [THERE]
    assert len(tick(promote_best, place, cursor).run_requests) == 1
    tick(prepare_new_candles, place, cursor)


def test_the_cursor_of_an_earlier_version_is_gone_on_with(place: "Chain") -> None:
    place.report_materialization("muzero_checkpoint", THERE)
    after = place.instance.fetch_materializations(dg.AssetKey("muzero_checkpoint"), limit=1).records[0].storage_id
    assert not tick(validate_new_checkpoints, place, str(after)).run_requests
    assert asked(tick(validate_new_checkpoints, place, str(after - 1))) == [THERE]


#: What may happen to a file that other processes read: cut short, emptied, of another program, of wrong types.
GARBLED = (
    "", "{", "{}", "[]", "null", "5", '"text"', "\x00" * 64, "[" * 20_000, '{"schema": 4}', "\ud800",
    '{"schema": "fx_pipeline.champion/99"}', '{"schema": "fx_pipeline.validation_report/5"}',
)  # fmt: skip


@pytest.mark.parametrize("record", ["report", "champion", "demotion"])
def test_a_record_that_cannot_be_read_is_named_and_holds_up_no_other(passed: "Chain", record: str) -> None:
    path = {
        "report": passed.report / "report.json",
        "champion": passed.data_dir / "champion" / "EUR_USD.json",
        "demotion": passed.data_dir / "champion" / "demoted" / "EUR_USD.json",
    }[record]
    path.parent.mkdir(parents=True, exist_ok=True)
    good = path.read_bytes() if path.exists() else None
    passed.report_materialization("champion", "GBP_USD")
    for content in GARBLED:
        path.write_bytes(content.encode(errors="surrogatepass"))
        found = tick(promote_best, passed)
        (request,) = found.run_requests
        assert request.job_name == "live_trading"
        idle = tick(promote_best, passed, found.cursor)
        assert not idle.run_requests and str(path) in idle.skip_message, content[:30]
    # It is looked at for as long as it cannot be read: mended, nothing was lost.
    if good is None:
        path.unlink()
    else:
        path.write_bytes(good)
    (request,) = tick(promote_best, passed, idle.cursor).run_requests
    assert request.job_name == "promote"


def test_a_report_that_lacks_any_key_or_has_it_in_another_type_is_named(passed: "Chain") -> None:
    path = passed.report / "report.json"
    whole = json.loads(path.read_text())
    for block, name, value in (
        ("figures", "window", None),
        ("figures", "expectancy_pips", "3.2"),
        ("figures", "reasons", "all well"),
        ("figures", "conditions", [{}]),
        ("figures", "paired", {"champion_sha256": "a"}),
        ("figures", "trades", True),
        ("figures", "trades", -1),
        ("figures", "metrics", []),
        ("figures", "instrument", "../EUR_USD"),
        ("lineage", "costs", 5),
        ("lineage", "checkpoint_sha256", 5),
        ("figures_sha256", None, 5),
        ("run", None, None),
    ):
        changed = json.loads(json.dumps(whole))
        if name is None:
            changed[block] = value
        else:
            changed[block][name] = value
        path.write_text(json.dumps(changed))
        found = tick(promote_best, passed)
        assert not found.run_requests and str(path) in found.skip_message and (name or block) in found.skip_message
    whole["figures"]["expectancy_pips"] = None
    path.write_text(json.dumps(whole))
    assert "passed the gate without a trade" in tick(promote_best, passed).skip_message
    whole["figures"]["expectancy_pips"] = 3.2
    for number in ("NaN", "Infinity", "-1e999"):
        path.write_text(json.dumps(whole).replace('"expectancy_pips": 3.2', f'"expectancy_pips": {number}'))
        found = tick(promote_best, passed)
        assert not found.run_requests and str(path) in found.skip_message


def test_dagsters_own_store_locked_while_a_sensor_looks_loses_nothing(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    place.report_materialization("muzero_checkpoint", THERE)

    def locked(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(type(place.instance), "fetch_materializations", locked)
        # The tick fails, and with it nothing is written down: the next one sees the same.
        with pytest.raises(Exception, match="database is locked"):
            tick(validate_new_checkpoints, place)
    assert asked(tick(validate_new_checkpoints, place)) == [THERE]


def test_what_one_event_breaks_is_said_and_the_others_go_on(passed: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    passed.report_materialization("champion", "GBP_USD")
    with monkeypatch.context() as patch:
        patch.setattr("fx_pipeline.defs.automation.decide", lambda *_: 1 / 0)
        found = tick(promote_best, passed)
        assert [request.job_name for request in found.run_requests] == ["live_trading"]
        broken = tick(promote_best, passed, found.cursor)
        assert f"{passed.key()}: ZeroDivisionError: division by zero" in broken.skip_message
    assert [request.job_name for request in tick(promote_best, passed, broken.cursor).run_requests] == ["promote"]


def test_a_deleted_data_folder_stops_no_sensor(place: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    for asset, key in (("muzero_checkpoint", THERE), ("validation_report", THERE), ("champion", "EUR_USD")):
        place.report_materialization(asset, key)
    monkeypatch.setenv("FX_DATA_DIR", str(place.data_dir / "gone"))
    assert asked(tick(validate_new_checkpoints, place)) == [THERE]
    assert len(tick(promote_best, place).run_requests) == 1


def test_an_instrument_that_cannot_be_looked_at_hides_no_other_from_the_freshness_sensor(
    place: "Chain", monkeypatch: pytest.MonkeyPatch
) -> None:
    from fx_pipeline.defs import freshness

    def judged(_1: object, name: str, _2: object, timeframe: Timeframe) -> dg.AssetCheckResult:
        if name == "EUR_USD":
            raise IndexError("a file without a bar")
        return freshness._judged(timeframe, name, True, {})

    monkeypatch.setattr(freshness, "currency_of", judged)
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "practice")
    monkeypatch.setenv("FX_OANDA_TOKEN", "t")
    monkeypatch.setenv("FX_OANDA_ACCOUNT", "a")
    found = tick(freshness.watch_freshness, place)
    assert [event.check_name for event in found.asset_events] == ["GBP_USD_is_current"]
    assert "not current: EUR_USD." in found.skip_message and "EUR_USD: IndexError" in found.skip_message

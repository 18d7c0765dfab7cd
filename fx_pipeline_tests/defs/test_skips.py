"""A window that cannot be had is skipped, and says so: nothing fails, and Dagster counts the cell as dealt with."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from fx_pipeline.defs import events
from fx_pipeline.defs.events import SKIPPED, new_materializations, was_skipped
from fx_pipeline.defs.models import validation_report
from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.lifecycle.track_records import demanded_windows, planned_windows
from fx_pipeline.settings import load_settings
from fx_pipeline.tracking.ledger import Ledger

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def warnings(chain: "Chain", run_id: str) -> list[str]:
    return [entry.user_message for entry in chain.instance.all_logs(run_id) if getattr(entry, "level", 0) == 30]


def run_skipped(chain: "Chain", job: str, key: str) -> str:
    """Run a job that should skip; return its warning."""
    result = chain.job(job, key)
    assert result.success
    (event,) = result.asset_materializations_for_node(
        {"train": "muzero_checkpoint", "validate": "validation_report"}[job]
    )
    (warning,) = warnings(chain, result.run_id)
    assert event.partition == key and warning == f"skipped: {event.metadata[SKIPPED].value}"
    assert (event.tags or {})["dagster/data_version"] == SKIPPED
    failed = {check.check_name: check for check in result.get_asset_check_evaluations() if not check.passed}
    (skips,) = [failed[name] for name in ("windows_were_trained", "windows_were_validated") if name in failed]
    assert skips.severity == dg.AssetCheckSeverity.WARN and skips.metadata["skipped"].value == 1
    assert all(check.severity == dg.AssetCheckSeverity.WARN for check in failed.values())
    return warning


@pytest.mark.parametrize("job", ["train", "validate"])
def test_window_that_was_not_planned(copy: "Chain", job: str) -> None:
    copy.instance.add_dynamic_partitions("walk_forward_window", ["2024-05-01"])
    said = run_skipped(copy, job, copy.key("2024-05-01"))
    assert "EUR_USD has no window 2024-05-01" in said and copy.window in said


@pytest.mark.parametrize("job", ["train", "validate"])
def test_window_of_another_instrument(copy: "Chain", job: str) -> None:
    said = run_skipped(copy, job, copy.key(instrument="GBP_USD"))
    assert "GBP_USD.json does not exist: materialise valid_sessions of GBP_USD first" in said


def test_window_without_a_checkpoint(copy: "Chain") -> None:
    first = copy.instance.get_dynamic_partitions("walk_forward_window")[0]
    said = run_skipped(copy, "validate", copy.key(first))
    assert "there is no checkpoint" in said and "materialise muzero_checkpoint first" in said


def test_window_that_cannot_be_judged_is_not_asked_of_a_record(copy: "Chain") -> None:
    with copy.environment():
        settings = load_settings()
        warehouse = Warehouse(database=str(settings.layout.warehouse))
        ledger = Ledger(settings.layout.ledger)
        windows = planned_windows(settings, copy.instrument)
        end = windows[-1].valid_end_ns

        def demanded() -> list[str]:
            return [window.key for window in demanded_windows(settings, warehouse, ledger, copy.instrument, end)]

        assert demanded() == [window.key for window in windows]
        gone = windows[0]
        with warehouse.get_connection() as connection:
            connection.execute(
                "DELETE FROM features WHERE epoch_ns(time) >= ? AND epoch_ns(time) < ?",
                [gone.valid_start_ns, gone.valid_end_ns],
            )
            connection.execute(
                "DELETE FROM valid_sessions WHERE epoch_ns(last_time) >= ? AND epoch_ns(start_time) < ?",
                [gone.valid_start_ns, gone.valid_end_ns],
            )
        assert demanded() == [window.key for window in windows[1:]]


def test_checkpoint_of_other_spans_is_not_validated_under_new_ones(copy: "Chain") -> None:
    import json

    path = copy.data_dir / "windows" / "EUR_USD.json"
    plan = json.loads(path.read_text())
    plan["windows"][-1]["train_start"] += 60_000_000_000
    path.write_text(json.dumps(plan))
    assert "trained on other spans than window" in run_skipped(copy, "validate", copy.key())


@pytest.mark.parametrize("job", ["train", "validate"])
def test_nothing_trains_or_validates_on_a_leak(copy: "Chain", job: str) -> None:
    import json

    path = copy.data_dir / "windows" / "EUR_USD.json"
    plan = json.loads(path.read_text())
    plan["windows"][-1]["train_end"] = plan["windows"][-1]["valid_start"]
    path.write_text(json.dumps(plan))
    result = copy.job(job, copy.key(), fails=True)
    assert not result.success and result.get_asset_materialization_events() == []


def test_window_with_too_few_sessions(copy: "Chain") -> None:
    import json

    import duckdb

    with duckdb.connect(str(copy.data_dir / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM valid_sessions")
    said = run_skipped(copy, "train", copy.key())
    assert f"window {copy.window} of EUR_USD has 0 sessions to train on, at least 200 are needed" in said
    # Sessions of validation are those of a live trader, and in no index: a day has room for three.
    path = copy.data_dir / "windows" / "EUR_USD.json"
    plan = json.loads(path.read_text())
    plan["windows"][-1]["valid_end"] = plan["windows"][-1]["valid_start"] + 86_400 * 10**9
    path.write_text(json.dumps(plan))
    said = run_skipped(copy, "validate", copy.key())
    assert f"window {copy.window} of EUR_USD has 3 sessions to validate, at least 5 are needed" in said


def test_too_little_data_for_any_window(chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "data", FX_TRAIN_DAYS="60") as short:
        result = short.job("prepare", short.instrument)
        assert result.success
        said = " ".join(warnings(short, result.run_id))
        assert "any more: the settings of the windows have changed (FX_TRAIN_DAYS" in said
        assert "not enough for a window of 60 days of training, 1860 bars of embargo" in said
        assert "allow none" in run_skipped(short, "train", short.key())


def test_promotion_without_a_report(copy: "Chain") -> None:
    first = copy.instance.get_dynamic_partitions("walk_forward_window")[0]
    result = copy.job("promote", copy.instrument, {"ops": {"champion": {"config": {"window": first}}}})
    assert result.success and result.get_asset_materialization_events() == []
    (warning,) = warnings(copy, result.run_id)
    assert warning.startswith("not promoted: there is no report in")


def test_skip_stays_said_when_another_window_is_trained(copy: "Chain") -> None:
    copy.instance.add_dynamic_partitions("walk_forward_window", ["2024-05-01"])
    run_skipped(copy, "train", copy.key("2024-05-01"))
    result = copy.job("train", copy.key())
    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "windows_were_trained"]
    (row,) = check.metadata["skipped partitions"].value.records
    assert not check.passed and row.data["partition"] == "EUR_USD|2024-05-01"


def test_sensors_pass_over_skips(empty: "Chain") -> None:
    skip = dg.AssetMaterialization("validation_report", metadata={SKIPPED: "no data"}, partition="EUR_USD|2024-01-23")
    for _ in range(events._BATCH + 1):
        empty.instance.report_runless_asset_event(skip)
    assert new_materializations(empty.instance, validation_report, 0) == []
    assert was_skipped(empty.instance, validation_report.key, "EUR_USD|2024-01-23") == "no data"
    empty.report_materialization("validation_report", "EUR_USD|2024-01-23")
    (record,) = new_materializations(empty.instance, validation_report, 0)
    assert record.asset_materialization is not None and not record.asset_materialization.metadata
    assert was_skipped(empty.instance, validation_report.key, "EUR_USD|2024-01-23") is None

"""What stands is kept, what changed is made again, and the same inputs give the same bytes."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Times and bytes of all files of a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def test_second_run_keeps_everything(copy: "Chain") -> None:
    folders = [copy.checkpoint, copy.report, copy.data_dir / "lake" / "m1" / "EUR_USD"]
    before = [state(folder) for folder in folders]
    ingest = copy.job("ingest", copy.month_key())
    assert metadata(ingest, "raw_candles")["pages downloaded now"] == 0
    assert metadata(ingest, "m1_candles")["bars added"] == 0
    features = metadata(copy.job("prepare", copy.instrument), "feature_table")
    assert features["rows written"] == 0 and features["months kept"] == 1
    assert metadata(copy.job("train", copy.key()), "muzero_checkpoint")["kept as it stood"] is True
    report = metadata(copy.job("validate", copy.key()), "validation_report")
    assert report["verdict"] == json.loads((copy.report / "report.json").read_text())["figures"]["verdict"]
    assert [state(folder) for folder in folders] == before


def copy_plan(copy: "Chain") -> Path:
    return copy.data_dir / "windows" / "EUR_USD.json"


def test_a_plan_is_kept_and_one_that_is_damaged_or_asked_otherwise_is_made_anew_and_said(
    chain: "Chain", tmp_path: Path
) -> None:
    with chain.copied(tmp_path / "data") as copy:
        before = copy_plan(copy).read_bytes()
        said = metadata(copy.job("prepare", copy.instrument), "valid_sessions")
        assert copy_plan(copy).read_bytes() == before
        assert (said["rows written"], said["windows planned now"]) == (0, "none")
        copy_plan(copy).write_bytes(before[:100])
        copy.job("prepare", copy.instrument)
        assert copy_plan(copy).read_bytes() == before
    with chain.copied(tmp_path / "other", FX_VALIDATION_DAYS="3", FX_TRAIN_DAYS="7") as copy:
        said = metadata(copy.job("prepare", copy.instrument), "valid_sessions")
        assert "FX_TRAIN_DAYS" in json.dumps(said["windows lost"])
        assert json.loads(copy_plan(copy).read_text())["asked"]["validation_days"] == 3


def test_new_month_computes_only_what_it_must(copy: "Chain") -> None:
    import duckdb

    def january() -> list[tuple[object, ...]]:
        with duckdb.connect(str(copy.data_dir / "warehouse.duckdb"), read_only=True) as connection:
            query = "SELECT * FROM features WHERE time < '2024-02-01' ORDER BY time"
            return connection.execute(query).fetchall()

    rows, checkpoint = january(), state(copy.checkpoint)
    planned = json.loads(copy_plan(copy).read_text())["windows"]
    known = set(copy.instance.get_dynamic_partitions("walk_forward_window"))
    copy.job("ingest", copy.month_key("2024-02"))
    prepared = copy.job("prepare", copy.instrument)
    features = metadata(prepared, "feature_table")
    assert features["months computed"] == "2024-02" and features["months kept"] == 1
    assert features["rows written"] == features["dagster/row_count"] - len(rows)
    assert january() == rows
    windows = set(copy.instance.get_dynamic_partitions("walk_forward_window"))
    assert known < windows, "a month of data adds windows and keeps those that are there"
    grown = json.loads(copy_plan(copy).read_text())["windows"]
    assert grown[: len(planned)] == planned and len(grown) > len(planned)
    said = metadata(prepared, "valid_sessions")
    assert said["months written"] == "2024-01, 2024-02" and "windows lost" not in said
    assert said["windows planned now"] == ", ".join(window["key"] for window in grown[len(planned) :])
    # The older window has the data that it had.
    assert metadata(copy.job("train", copy.key()), "muzero_checkpoint")["kept as it stood"] is True
    assert state(copy.checkpoint) == checkpoint


@pytest.mark.parametrize("change", ["force", "seed", "damage"])
def test_checkpoint_is_made_again_when_it_must(copy: "Chain", change: str) -> None:
    before = (copy.checkpoint / "weights.safetensors").read_bytes()
    config: dict[str, object] = {}
    if change == "force":
        config = {"force": True}
    elif change == "seed":
        config = {"seeds": [8]}
    else:
        (copy.checkpoint / "weights.safetensors").write_bytes(before[:-1] + b"x")
    result = copy.job("train", copy.key(), {"ops": {"muzero_checkpoint": {"config": config}}})
    assert metadata(result, "muzero_checkpoint")["kept as it stood"] is False
    assert (copy.checkpoint / "weights.safetensors").read_bytes() == before, "the same seed gives the same bytes"
    if change == "seed":
        assert (copy.trainings / "seed-8" / "weights.safetensors").read_bytes() != before


def test_damaged_report_is_made_again_with_the_same_figures(copy: "Chain") -> None:
    before = json.loads((copy.report / "report.json").read_text())
    (copy.report / "report.html").unlink()
    copy.job("validate", copy.key())
    after = json.loads((copy.report / "report.json").read_text())
    assert (copy.report / "report.html").exists()
    assert after["figures"] == before["figures"] and after["lineage"] == before["lineage"]
    assert after["run"]["dagster_run_id"] != before["run"]["dagster_run_id"]


def test_another_folder_gives_the_same_bytes_and_figures(copy: "Chain") -> None:
    weights = (copy.checkpoint / "weights.safetensors").read_bytes()
    report = json.loads((copy.report / "report.json").read_text())
    for name in ("raw", "lake", "checkpoints", "reports", "windows"):
        shutil.rmtree(copy.data_dir / name)
    (copy.data_dir / "warehouse.duckdb").unlink()
    # The ledger stays: reports tell of it, and one that is gone is a fault which a report names.
    for job, key in (
        ("ingest", copy.month_key()),
        ("prepare", copy.instrument),
        ("train", copy.key()),
        ("validate", copy.key()),
    ):
        copy.job(job, key)
    assert (copy.checkpoint / "weights.safetensors").read_bytes() == weights
    again = json.loads((copy.report / "report.json").read_text())
    assert again["figures"] == report["figures"] and again["figures_sha256"] == report["figures_sha256"]


def test_costs_are_part_of_what_a_result_was_made_from(chain: "Chain", tmp_path: Path) -> None:
    with chain.copied(tmp_path / "data", FX_COST_FIXED_PIPS="2") as cheaper:
        result = cheaper.job("train", cheaper.key())
        assert metadata(result, "muzero_checkpoint")["kept as it stood"] is False


def test_range_of_months_in_one_run(empty: "Chain") -> None:
    """A backfill of months is one run, and each month has metadata of its own."""
    import fx_pipeline.defs.market_data as market_data

    keys = [empty.month_key(month) for month in ("2023-11", "2023-12")]
    tags = {
        "dagster/asset_partition_range_start": str(keys[0]),
        "dagster/asset_partition_range_end": str(keys[1]),
    }
    with empty.environment():
        result = dg.materialize(
            [market_data.raw_candles],
            instance=empty.instance,
            resources=empty.definitions().resources,
            tags=tags,
        )
    assert result.success
    events = result.asset_materializations_for_node("raw_candles")
    assert sorted(str(event.partition) for event in events) == [str(key) for key in keys]
    # The synthetic market begins in 2024.
    assert all(event.metadata["dagster/row_count"].value == 0 for event in events)

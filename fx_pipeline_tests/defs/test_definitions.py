"""The definitions as a whole: a change of the graph shows as a change of the snapshot."""

import subprocess
import sys
from typing import Any

import dagster as dg
from syrupy.assertion import SnapshotAssertion

from fx_pipeline.definitions import defs


def describe() -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": list(node.owners),
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "partitions": describe_partitions(node.partitions_def),
            "checks": sorted(
                f"{check.name}{' (blocking)' if graph.get_check_spec(check).blocking else ''}"
                for check in node.check_keys
            ),
            "freshness": bool(node.freshness_policy),
            "pools": sorted(node.pools or ()) if node.is_executable else [],
        }
    jobs = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in defs.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    sensors = {
        sensor.name: {
            "jobs": sorted(target.job_name for target in sensor.targets),
            "every_s": sensor.minimum_interval_seconds,
            "status": sensor.default_status.value,
        }
        for sensor in defs.sensors or ()
    }
    schedules = {
        schedule.name: {
            "job": schedule.job_name,
            "cron": f"{schedule.cron_schedule} {schedule.execution_timezone}",
            "status": schedule.default_status.value,
        }
        for schedule in defs.schedules or ()
    }
    return {"assets": assets, "jobs": jobs, "sensors": sensors, "schedules": schedules}


def describe_partitions(partitions: dg.PartitionsDefinition | None) -> str:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return " x ".join(dimension.name for dimension in partitions.partitions_defs)
    return type(partitions).__name__


def test_snapshot(snapshot: SnapshotAssertion) -> None:
    assert describe() == snapshot


def test_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_people_are_told_what_everything_is() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and len(node.description) > 40, key
        assert node.owners, key
        assert node.group_name != "default", key
        assert node.kinds, key
    for check in graph.asset_check_keys:
        assert graph.get_check_spec(check).description, check
    for job in defs.resolve_all_job_defs():
        assert job.name.startswith("__") or job.description, job.name
    for named in (*(defs.sensors or ()), *(defs.schedules or ())):
        assert named.description, named.name


def test_columns_are_described() -> None:
    for name in ("m1_candles", "feature_table"):
        schema = defs.resolve_asset_graph().get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        columns = {column.name: column.description for column in schema.columns}
        assert columns.get("time")


def test_candles_of_an_instrument_lead_to_its_windows() -> None:
    graph = defs.resolve_asset_graph()
    features = graph.get(dg.AssetKey("feature_table"))
    mapping = features.partition_mappings[dg.AssetKey("m1_candles")]
    assert isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping)
    assert mapping.partition_dimension_name == "instrument"


def test_loading_is_light(tmp_path: Any) -> None:
    """Every run worker loads the definitions: what takes seconds to import is imported where it is used."""
    code = (
        "import sys, fx_pipeline.definitions;"
        "print([m for m in ('torch', 'mlflow', 'plotly', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dagster_finds_the_one_definitions_object_of_the_module() -> None:
    from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module

    (target,) = loadable_targets_from_python_module("fx_pipeline.definitions", working_directory=None)
    assert target.attribute == "defs"

"""The feature table and the sessions of another set and timeframe, materialised on a lake of a few months."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fx_pipeline.features.names import FeatureTable
from fx_pipeline.ingest.layout import lake_folder, lake_path
from fx_pipeline.layout import Layout
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import H1
from fx_pipeline.sessions.names import SessionTable
from fx_pipeline.sessions.table import read_plan
from fx_pipeline_tests.defs.conftest import INSTRUMENT, environment
from fx_pipeline_tests.features.lake import write_lake

RULES = SessionRules(bars=24, window_bars=8, max_gap_bars=3)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    made = write_lake(tmp_path, H1, 2_500)
    for month in made:
        path = lake_path(lake_folder(tmp_path), INSTRUMENT, month.key, H1)
        path.parent.mkdir(parents=True, exist_ok=True)
        month.path.rename(path)
    with environment(tmp_path, {"FX_TRAIN_DAYS": "20", "FX_VALIDATION_DAYS": "5"}):
        yield tmp_path


def test_a_table_its_sessions_and_their_windows(data_dir: Path) -> None:
    from fx_pipeline.defs.features import feature_assets
    from fx_pipeline.defs.partitions import windows_of
    from fx_pipeline.defs.resources import Warehouse

    table = SessionTable(FeatureTable("picco17", H1), RULES)
    assets = feature_assets("picco17", H1, RULES)
    warehouse = Warehouse(database=str(Layout(data_dir).warehouse))
    with dg.DagsterInstance.ephemeral() as instance:
        for written in (2_500, 0):
            result = dg.materialize(
                assets, partition_key=INSTRUMENT, instance=instance, resources={"warehouse": warehouse}
            )
            (features,), (sessions,) = (
                result.asset_materializations_for_node(name) for name in ("features_picco17_h1", table.asset)
            )
            assert features.metadata["dagster/row_count"].value == 2_500
            assert features.metadata["rows written"].value == written
            assert sessions.metadata["dagster/row_count"].value > 500
        plan = read_plan(Layout(data_dir).windows(INSTRUMENT, table.asset), table.asset)
        keys = [window.key for window in plan.windows]
        assert len(keys) >= 2 and set(instance.get_dynamic_partitions(windows_of(table).name)) == set(keys)
        assert windows_of(table).name == f"walk_forward_window{table.suffix}"
    # 504 bars of warm-up and a session of 24.
    assert {window.embargo_bars for window in plan.windows} == {528}
    assert not Layout(data_dir).windows(INSTRUMENT).exists()

"""What is made of older candles shows as such: by Dagster's own mark where it compares, else by a check."""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions import data_version
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.execution.context import data_version_cache
from dagster._core.loader import LoadingContextForTest

from fx_pipeline.definitions import defs
from fx_pipeline.defs import data_checks
from fx_pipeline.defs.data_checks import NAME, watch_data
from fx_pipeline.defs.lineage import EMPTY, pages_version, version

if TYPE_CHECKING:
    from pathlib import Path

    from fx_pipeline_tests.defs.conftest import Chain

LIMIT = "SKIP_PARTITION_DATA_VERSION_DEPENDENCY_THRESHOLD"


def stale(chain: "Chain", asset: str, partition: str) -> tuple[StaleStatus, set[str]]:
    """Dagster's own mark of a partition, and the upstream partitions that it gives as causes."""
    context = LoadingContextForTest(chain.instance)
    resolver = CachingStaleStatusResolver(chain.instance, defs.resolve_asset_graph(), context)
    causes = resolver.get_stale_causes(dg.AssetKey(asset), partition)
    return resolver.get_status(dg.AssetKey(asset), partition), {str(cause.dependency_partition_key) for cause in causes}


def newest(chain: "Chain", asset: str, partition: str) -> str:
    records = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = chain.instance.fetch_materializations(records, limit=1).records
    return (record.event_log_entry.tags or {})["dagster/data_version"]


def reasons(evaluation: Any) -> dict[str, str]:
    rows = evaluation.metadata.get("out of date partitions")
    return {} if rows is None else {row.data["partition"]: row.data["reason"] for row in rows.value.records}


@pytest.fixture
def months(copy: "Chain", monkeypatch: pytest.MonkeyPatch) -> "Chain":
    """The history starts in 2000, which is more months than Dagster compares, unless it is told to."""
    for module in (data_version, data_version_cache):
        monkeypatch.setattr(module, LIMIT, 1_000)
    copy.job("ingest", copy.month_key())
    copy.job("prepare", copy.instrument)
    return copy


def test_new_month_makes_features_out_of_date_until_they_are_made_again(months: "Chain") -> None:
    assert stale(months, "feature_table", "EUR_USD") == (StaleStatus.FRESH, set())
    before = newest(months, "feature_table", "EUR_USD"), newest(months, "m1_candles", "EUR_USD|2024-01")
    # The same month again: nothing has changed, and nothing says that it has.
    months.job("ingest", months.month_key())
    assert newest(months, "m1_candles", "EUR_USD|2024-01") == before[1]
    assert stale(months, "feature_table", "EUR_USD")[0] is StaleStatus.FRESH
    months.job("ingest", months.month_key("2024-02"))
    assert stale(months, "feature_table", "EUR_USD") == (StaleStatus.STALE, {"EUR_USD|2024-02"})
    assert reasons(months.check(f"feature_table.{NAME}")) == {
        "EUR_USD": "made of older candles than the lake has: 2024-02 (new)"
    }
    assert "its features are made of older candles" in reasons(months.check(f"valid_sessions.{NAME}"))["EUR_USD"]
    months.job("prepare", months.instrument)
    assert newest(months, "feature_table", "EUR_USD") != before[0]
    for asset in ("feature_table", "valid_sessions"):
        assert stale(months, asset, "EUR_USD")[0] is StaleStatus.FRESH
        assert months.check(f"{asset}.{NAME}").passed


def test_beyond_dagsters_limit_the_check_says_it(copy: "Chain") -> None:
    copy.job("ingest", copy.month_key())
    copy.job("prepare", copy.instrument)
    copy.job("ingest", copy.month_key("2024-02"))
    assert stale(copy, "feature_table", "EUR_USD")[0] is StaleStatus.FRESH, "Dagster compares: the docs say otherwise"
    assert not copy.check(f"feature_table.{NAME}").passed


def revise(chain: "Chain", row: int) -> None:
    """Change a close of January, and bring the features up to date with it."""
    path: Path = chain.data_dir / "lake" / "m1" / "EUR_USD" / "2024-01.parquet"
    candles = pq.read_table(path)
    close = candles["mid_c"].to_numpy().copy()
    close[row] += 0.00001
    column = candles.schema.get_field_index("mid_c")
    pq.write_table(candles.set_column(column, candles.schema.field(column), pa.array(close)), path)


def test_results_say_whether_their_own_candles_changed(copy: "Chain") -> None:
    for asset, key in (("muzero_checkpoint", copy.key()), ("validation_report", copy.key())):
        copy.report_materialization(asset, key)
        assert copy.check(f"{asset}.{NAME}").passed
    plan = json.loads((copy.data_dir / "windows" / "EUR_USD.json").read_text())["windows"][-1]
    bars = pq.read_table(copy.data_dir / "lake" / "m1" / "EUR_USD" / "2024-01.parquet")["time"].cast(pa.int64())
    times = bars.to_pylist()
    # Inside the validation, days after the training.
    revise(copy, next(row for row, time in enumerate(times) if time >= plan["valid_start"]) + 2_000)
    behind = reasons(copy.check(f"validation_report.{NAME}"))[str(copy.key())]
    assert behind == "its features are older than the lake's candles of 2024-01"
    copy.job("prepare", copy.instrument)
    assert copy.check(f"muzero_checkpoint.{NAME}").passed
    assert reasons(copy.check(f"validation_report.{NAME}")) == {
        str(copy.key()): "validated on other candles than there are now"
    }
    revise(copy, next(row for row, time in enumerate(times) if time >= plan["train_start"]) + 5_000)
    copy.job("prepare", copy.instrument)
    said = reasons(copy.check(f"muzero_checkpoint.{NAME}"))[str(copy.key())]
    assert said == "trained on other candles, sessions or costs than there are now: seed 7"


def test_results_have_versions_of_their_own(chain: "Chain") -> None:
    sha256 = json.loads((chain.checkpoint / "checkpoint.json").read_text())["weights_sha256"]
    assert newest(chain, "muzero_checkpoint", str(chain.key())) == version([sha256])
    assert newest(chain, "raw_candles", "EUR_USD|2024-01") == pages_version(chain.data_dir / "raw/EUR_USD/2024-01")
    stale_of = {
        "m1_candles": "EUR_USD|2024-01",
        "valid_sessions": "EUR_USD",
        "muzero_checkpoint": str(chain.key()),
        "validation_report": str(chain.key()),
    }
    assert {asset: stale(chain, asset, key)[0] for asset, key in stale_of.items()} == dict.fromkeys(
        stale_of, StaleStatus.FRESH
    )


def test_pages_that_are_not_there_have_no_version(tmp_path: "Path") -> None:
    assert pages_version(tmp_path) == EMPTY
    (tmp_path / "manifest.json").write_text("{")
    assert pages_version(tmp_path) == EMPTY


def test_checks_run_again_once_nothing_more_comes_in(empty: "Chain") -> None:
    def tick(cursor: str | None) -> Any:
        return watch_data(dg.build_sensor_context(instance=empty.instance, cursor=cursor))

    assert isinstance(tick(None), dg.SkipReason)
    empty.report_materialization("m1_candles", str(empty.month_key()))
    first = tick(None)
    assert not first.run_requests
    second = tick(first.cursor)
    assert len(second.run_requests) == 1 and isinstance(tick(second.cursor), dg.SkipReason)
    # A backfill that makes something between any two ticks does not put it off for ever.
    cursor, asked = second.cursor, []
    for _ in range(data_checks._PATIENCE + 1):
        empty.report_materialization("muzero_checkpoint", "EUR_USD|2024-01-23")
        result = tick(cursor)
        cursor, asked = result.cursor, result.run_requests
    assert len(asked) == 1 and asked[0].run_key != second.run_requests[0].run_key

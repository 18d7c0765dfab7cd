#!/bin/sh
# Dagster 1.13.27: an asset made of 99 partitions of another one is shown as STALE when one of them has a new data version;
# made of 100 partitions it stays FRESH, without a word. Seen: 99 -> STALE, 100 -> FRESH.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-shared==1.13.27 \
  dagster-pipes==1.13.27
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'EOF'
import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest


def status(count: int) -> str:
    """Of a table made of `count` months, one of which was made anew after it."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition([str(number) for number in range(count)]))
    def months() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("new"))

    @dg.asset(deps=[dg.AssetDep(months, partition_mapping=dg.AllPartitionMapping())])
    def table() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("table"))

    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(count):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(months.key, partition=str(number), tags={"dagster/data_version": "old"})
            )
        dg.materialize([months, table], selection=[table], instance=instance)
        dg.materialize([months], partition_key="0", instance=instance)
        graph = dg.Definitions(assets=[months, table]).resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        return resolver.get_status(table.key).value


seen = {count: status(count) for count in (99, 100)}
print("dagster", dg.__version__, "upstream partitions -> status:", seen)
assert seen == {99: "STALE", 100: "FRESH"}, "this behaves otherwise now"
EOF

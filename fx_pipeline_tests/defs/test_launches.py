"""Whichever way a run is launched, it makes every partition that it was asked for, once, or it fails."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.execution import job_backfill
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import MockedRunCoordinator, in_process_test_workspace, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from fx_pipeline.defs import market_data
from fx_pipeline.defs.features import feature_table
from fx_pipeline.defs.models import muzero_checkpoint
from fx_pipeline.defs.partial import Partitions
from fx_pipeline.defs.partitions import asked_keys, instrument_month
from fx_pipeline.market.errors import BrokerError
from fx_pipeline_tests.defs.conftest import environment
from fx_pipeline_tests.defs.test_partial import SERVING, ServedHere, client, failure

if TYPE_CHECKING:
    from pathlib import Path

    from fx_pipeline_tests.defs.conftest import Chain

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MONTHS = {"2024-01", "2024-02", "2024-03"}
CELLS = [f"{name}|{month}" for name in ("EUR_USD", "GBP_USD") for month in sorted(MONTHS)]


def tagged(cell: str) -> dict[str, str]:
    """Tags that Dagster gives a run of a cell, for each dimension."""
    instrument, other = cell.split("|")
    return {
        "dagster/partition/instrument": instrument,
        f"dagster/partition/{'month' if other in MONTHS else 'window'}": other,
    }


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Tags of the runs that Dagster's own code makes of a job's backfill, without a daemon and without running them."""
    place: Path = tmp_path_factory.mktemp("launched")
    coordinator = {"module": MockedRunCoordinator.__module__, "class": MockedRunCoordinator.__name__}
    with environment(place), instance_for_test(overrides={"run_coordinator": coordinator}) as instance:
        origin = LoadableTargetOrigin(module_name="fx_pipeline.definitions")
        with in_process_test_workspace(instance, origin) as workspace:

            def tags(job: str, keys: Sequence[str]) -> list[Mapping[str, str]]:
                windows = {key.split("|")[1] for key in keys} - MONTHS
                instance.add_dynamic_partitions("walk_forward_window", sorted(windows))
                (location,) = workspace.code_locations
                (repository,) = location.get_repositories().values()
                partition_set = repository.get_partition_set(f"{job}_partition_set")
                backfill = PartitionBackfill(
                    backfill_id=f"backfill{len(instance.get_backfills())}",
                    status=BulkActionStatus.REQUESTED,
                    from_failure=False,
                    tags={},
                    backfill_timestamp=0.0,
                    partition_set_origin=partition_set.get_remote_origin(),
                    partition_names=list(keys),
                )
                instance.add_backfill(backfill)
                log = logging.getLogger("backfill")
                asked, _, more = job_backfill._get_partitions_chunk(instance, log, backfill, 25, partition_set)
                assert not more
                ids = list(job_backfill.submit_backfill_runs(instance, lambda: workspace, backfill, asked))
                return [instance.get_run_by_id(str(name)).tags for name in ids]  # type: ignore[union-attr]

            yield tags


def run(empty: "Chain", tags: Mapping[str, str]) -> dg.ExecuteInProcessResult:
    """Run `raw_candles` and `m1_candles` with the tags of a launch."""
    SERVING.append(client())
    job = dg.Definitions(
        assets=[market_data.raw_candles, market_data.m1_candles],
        resources={"broker": ServedHere()},
        jobs=[dg.define_asset_job("both", selection="*", executor_def=dg.in_process_executor)],
    ).resolve_job_def("both")
    with empty.environment():
        return job.execute_in_process(
            instance=empty.instance,
            tags=dict(tags),
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def made(empty: "Chain", asset: str) -> Counter[str]:
    records = empty.instance.fetch_materializations(dg.AssetKey(asset), limit=1_000).records
    return Counter(str(record.partition_key) for record in records)


def on_disk(empty: "Chain") -> set[str]:
    return {f"{path.parent.name}|{path.stem}" for path in (empty.data_dir / "lake" / "m1").rglob("*.parquet")}


def test_backfill_of_a_job_makes_every_cell_once(empty: "Chain", launched: Any) -> None:
    runs = launched("ingest", CELLS)
    # What Dagster does: one run an instrument, and the tags of the first cell of the first one in all of them.
    assert len(runs) == 2 and len({tags["dagster/partition/instrument"] for tags in runs}) == 1
    assert all(run(empty, tags).success for tags in runs)
    assert on_disk(empty) == set(CELLS)
    for asset in ("raw_candles", "m1_candles"):
        assert made(empty, asset) == Counter(CELLS)
        assert empty.instance.get_materialized_partitions(dg.AssetKey(asset)) == set(CELLS)


@pytest.mark.parametrize(
    ("tags", "cells"),
    [
        # An asset's backfill, and a range of the command line.
        ({START: CELLS[0], END: CELLS[2]}, CELLS[:3]),
        # A range over instruments is all of their months between.
        ({START: CELLS[0], END: CELLS[4]}, [*CELLS[:2], *CELLS[3:5]]),
        ({START: CELLS[1], END: CELLS[1]}, [CELLS[1]]),
        # Another cell's tags beside the range, of which Dagster itself would see that cell alone.
        ({START: CELLS[3], END: CELLS[5], **tagged(CELLS[0])}, CELLS[3:]),
        # A schedule, a sensor, the launchpad and the command line.
        ({"dagster/partition": CELLS[4], **tagged(CELLS[4])}, [CELLS[4]]),
        ({"dagster/partition": CELLS[4]}, [CELLS[4]]),
        (tagged(CELLS[5]), [CELLS[5]]),
        ({}, []),
        # The wrong way round it holds nothing, and the run fails.
        ({START: CELLS[2], END: CELLS[0]}, []),
    ],
)
def test_every_form_of_launch(empty: "Chain", tags: Mapping[str, str], cells: Sequence[str]) -> None:
    context: Any = SimpleNamespace(run=SimpleNamespace(tags=tags), instance=empty.instance)
    assert asked_keys(context, instrument_month) == cells


def test_range_of_an_asset_makes_every_cell_once(empty: "Chain") -> None:
    assert run(empty, {START: CELLS[0], END: CELLS[4]}).success
    cells = [*CELLS[:2], *CELLS[3:5]]
    assert on_disk(empty) == set(cells)
    assert made(empty, "raw_candles") == made(empty, "m1_candles") == Counter(cells)


def test_backfill_of_a_job_with_holes_asks_for_the_cells_and_no_others(empty: "Chain", launched: Any) -> None:
    cells = [f"EUR_USD|{month}" for month in ("2024-01", "2024-03", "2024-04")] + ["GBP_USD|2024-02"]
    contexts: list[Any] = [
        SimpleNamespace(run=SimpleNamespace(tags=tags), instance=empty.instance) for tags in launched("ingest", cells)
    ]
    assert sorted(key for context in contexts for key in asked_keys(context, instrument_month)) == cells


def test_windows_of_a_backfilled_job_are_runs_of_their_own(launched: Any) -> None:
    cells = [f"{name}|2024-01-{day}" for name in ("EUR_USD", "GBP_USD") for day in (15, 22)]
    for job in ("train", "validate"):
        runs = launched(job, cells)
        assert sorted(tags["dagster/partition"] for tags in runs) == cells
        assert not any(START in tags for tags in runs)


def test_run_that_makes_fewer_than_it_was_asked_for_fails(empty: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    left = Partitions.__init__

    def forgetful(self: Partitions, *args: Any, **kwargs: Any) -> None:
        left(self, *args, **kwargs)
        self.left = self.left[:-1]

    monkeypatch.setattr(Partitions, "__init__", forgetful)
    result = run(empty, {START: CELLS[0], END: CELLS[2]})
    assert not result.success
    said = "the run was asked for 3 partitions of raw_candles and made 2. Not made: EUR_USD|2024-03."
    assert failure(result).startswith(said)
    # What was made is known all the same.
    assert made(empty, "raw_candles") == Counter(CELLS[:2])


@pytest.mark.parametrize("tags", [{}, {START: CELLS[2], END: CELLS[0]}])
def test_run_without_a_partition_fails(empty: "Chain", tags: Mapping[str, str]) -> None:
    result = run(empty, tags)
    assert not result.success and "this run names none, or a range" in failure(result)


@pytest.mark.parametrize(
    ("asset", "tags", "said"),
    [
        (
            feature_table,
            {START: "EUR_USD", END: "GBP_USD"},
            "asks for 2 partitions of feature_table at once (EUR_USD to GBP_USD), and a run makes one",
        ),
        (
            muzero_checkpoint,
            {START: "EUR_USD|2024-01-15", END: "EUR_USD|2024-01-15", **tagged("GBP_USD|2024-01-22")},
            "ask for EUR_USD|2024-01-15 of muzero_checkpoint and name GBP_USD|2024-01-22 as well",
        ),
        (
            muzero_checkpoint,
            {START: "EUR_USD|2024-01-15", END: "GBP_USD|2024-01-22", **tagged("EUR_USD|2024-01-15")},
            "asks for 4 partitions of muzero_checkpoint at once",
        ),
    ],
)
def test_asset_of_one_partition_a_run_refuses_others(
    empty: "Chain", asset: dg.AssetsDefinition, tags: Mapping[str, str], said: str
) -> None:
    empty.instance.add_dynamic_partitions("walk_forward_window", ["2024-01-15", "2024-01-22"])
    with empty.environment():
        result = dg.materialize(
            [asset],
            instance=empty.instance,
            resources=empty.definitions().resources,
            tags=dict(tags),
            raise_on_error=False,
        )
    assert not result.success and said in failure(result)


def test_retry_makes_what_is_left(empty: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = dg.RetryPolicy(max_retries=market_data.MAX_RETRIES)
    monkeypatch.setattr(market_data.raw_candles.op, "_retry_policy", at_once)
    SERVING.append(client(heals=True, m02=BrokerError("503")))
    monkeypatch.setattr(f"{__name__}.client", lambda: SERVING[-1])
    result = run(empty, {START: CELLS[0], END: CELLS[2]})
    assert result.success and any(event.is_step_up_for_retry for event in result.all_events)
    assert made(empty, "raw_candles") == made(empty, "m1_candles") == Counter(CELLS[:3])

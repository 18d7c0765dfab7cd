"""The world as it may be: a locked, missing or garbled DuckDB file, no broker, a full disk."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline.defs.resources import Warehouse
from fx_pipeline.market.errors import BrokerError, DataError, FxPipelineError
from fx_pipeline.market.warehouse import WarehouseLockedError

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.close()
"""


def holding(path: Path, seconds: float) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("read_only", [False, True])
def test_locked_by_another_process(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "warehouse.duckdb"
    holder = holding(path, 60)
    try:
        warehouse = Warehouse(database=str(path), lock_wait_s=0.2)
        with pytest.raises(WarehouseLockedError) as caught, warehouse.get_connection(read_only=read_only):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    said = str(caught.value)
    assert str(path) in said and "close it" in said and f"PID {holder.pid}" in said
    with warehouse.get_connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    holder = holding(path, 1)
    with Warehouse(database=str(path), lock_wait_s=60).get_connection(read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    holder.wait()


def test_connection_is_closed_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with pytest.raises(ZeroDivisionError) as caught, Warehouse(database=str(path)).get_connection():
        _ = 1 / 0
    # The exception still lives, and with it the frames that had the connection.
    assert caught.value is not None
    holder = holding(path, 0)
    assert holder.wait() == 0


def test_missing_file_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    warehouse = Warehouse(database=str(path))
    with (
        pytest.raises(DataError, match="does not exist: materialise feature_table first"),
        warehouse.get_connection(read_only=True),
    ):
        pass
    assert not path.exists()


def test_garbled_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(b"this is no database" * 1_000)
    warehouse = Warehouse(database=str(path))
    with (
        pytest.raises(DataError, match=r"cannot be used, it may be damaged: move it, .* away and materialise"),
        warehouse.get_connection(),
    ):
        pass


def test_features_without_candles_say_what_to_do(empty: "Chain") -> None:
    result = empty.job("prepare", "EUR_USD", fails=True)
    assert "EUR_USD has no M1 parquet: materialise m1_candles first" in failure(result)


def test_parquet_without_raw_pages_says_what_to_do(empty: "Chain") -> None:
    import fx_pipeline.defs.market_data as market_data

    result = empty.materialize(market_data.m1_candles, empty.month_key(), fails=True)
    assert "has no EUR_USD candles of 2024-01: download them first (asset raw_candles)" in failure(result)


def failure(result: dg.ExecuteInProcessResult) -> str:
    events = [event for event in result.all_events if event.is_step_failure]
    assert len(events) == 1, "what lies downstream did not run"
    error: Any = events[0].step_failure_data.error
    text = ""
    while error is not None:
        text += error.message
        error = error.cause
    return text


def test_practice_without_a_token_is_not_retried(empty: "Chain") -> None:
    import fx_pipeline.defs.market_data as market_data

    resources = empty.definitions().resources
    empty.changes["FX_OANDA_ENVIRONMENT"] = "practice"
    with empty.environment():
        result = dg.materialize(
            [market_data.raw_candles],
            instance=empty.instance,
            partition_key=empty.month_key(),
            resources=resources,
            raise_on_error=False,
        )
    assert "needs FX_OANDA_TOKEN" in failure(result)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_unreachable_broker_is_retried_and_named(empty: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setitem(TRADING_ENVIRONMENTS, "practice", {"api": url, "stream": url})
    monkeypatch.setattr("fx_pipeline.broker.client.OandaClient._wait", lambda *_: None)
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda *_: 0)
    empty.changes |= {
        "FX_OANDA_ENVIRONMENT": "practice",
        "FX_OANDA_TOKEN": "the-secret-token",
        "FX_OANDA_ACCOUNT": "101-001-1234567-001",
    }
    result = empty.job("ingest", empty.month_key(), fails=True)
    retries = [event for event in result.all_events if event.is_step_up_for_retry]
    assert not result.success and len(retries) == 2
    said = failure(result)
    assert f"127.0.0.1:{port} could not be reached" in said and "Check the network" in said
    everything = "".join(str(entry) for entry in empty.instance.all_logs(result.run_id))
    assert "the-secret-token" not in everything, "the event log is shown in the UI"


@pytest.mark.parametrize("asset", ["muzero_checkpoint", "validation_report"])
def test_full_disk_is_named_and_leaves_nothing_half_written(
    copy: "Chain", monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    job, folder, name = {
        "muzero_checkpoint": ("train", copy.checkpoint, "weights.safetensors"),
        "validation_report": ("validate", copy.report, "report.json"),
    }[asset]
    before = (copy.checkpoint / "weights.safetensors").read_bytes()
    shutil.rmtree(folder)
    replace = os.replace

    def full(source: object, target: object) -> None:
        if Path(str(target)).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(FxPipelineError, match=r"the disk is full: .* Free some space and run again"):
            copy.job(job, copy.key())
    assert not list(copy.data_dir.rglob(".tmp-*"))
    assert not (folder / name).exists() and not (folder / "made_from.json").exists()
    result = copy.job(job, copy.key())
    assert len(result.asset_materializations_for_node(asset)) == 1
    assert (copy.checkpoint / "weights.safetensors").read_bytes() == before


def test_training_that_was_killed_goes_on_in_its_mlflow_run(copy: "Chain") -> None:
    from fx_pipeline.defs.resources import Tracking

    with copy.environment():
        client = Tracking().mlflow().client
    experiment = client.get_experiment_by_name("training").experiment_id
    (run,) = client.search_runs([experiment])
    logged = len(client.get_metric_history(run.info.run_id, "loss"))
    # As a process that was killed leaves it.
    client.update_run(run.info.run_id, status="RUNNING")
    again = {"ops": {"muzero_checkpoint": {"config": {"force": True}}}}
    result = copy.job("train", copy.key(), again)
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster/run_id"] == result.run_id
    assert len(client.get_metric_history(run.info.run_id, "loss")) == logged, "what it had is not sent again"


def test_failed_training_shows_as_failed_in_mlflow(copy: "Chain", monkeypatch: pytest.MonkeyPatch) -> None:
    from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
    from fx_pipeline.defs.resources import Tracking

    def broken(*_: object, **__: object) -> None:
        raise BrokerError("anything")

    monkeypatch.setattr(MuZeroTrainer, "train", broken)
    with pytest.raises(BrokerError):
        copy.job("train", copy.key(), {"ops": {"muzero_checkpoint": {"config": {"force": True}}}})
    with copy.environment():
        client = Tracking().mlflow().client
    experiment = client.get_experiment_by_name("training")
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED", "FAILED"}

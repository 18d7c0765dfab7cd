"""Eight instruments by four years at once: no lock is lost, and everything is there."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pytest

from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.store import upsert
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline_tests.defs.conftest import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTRUMENTS = ("EUR_USD", "GBP_USD", "USD_JPY", "GBP_JPY", "AUD_USD", "EUR_GBP", "USD_CHF", "NZD_USD")
MONTHS = [str(month) for month in np.arange(np.datetime64("2021-01"), np.datetime64("2025-01"))]
PROJECT = Path(__file__).resolve().parents[2]

#: A run worker: all months of an instrument in a run, then its features and sessions, as the sensor has it.
WORKER = """
import sys
import dagster as dg
from fx_pipeline.definitions import defs
name, first, last = sys.argv[1:]
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
with dg.DagsterInstance.get() as instance:
    tag = "dagster/asset_partition_range_"
    ends = {tag + "start": f"{name}|{first}", tag + "end": f"{name}|{last}"}
    ingest, prepare = defs.resolve_job_def("ingest"), defs.resolve_job_def("prepare")
    assert ingest.execute_in_process(instance=instance, tags=ends, run_config=quiet).success
    assert prepare.execute_in_process(instance=instance, partition_key=name, run_config=quiet).success
"""


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def workers(names: "Sequence[str]", log: Path) -> dict[str, int]:
    """Run the workers of some instruments at the same time; return their exit codes."""
    running = {}
    for name in names:
        with (log / f"{name}.log").open("w") as out:
            command = [sys.executable, "-c", WORKER, name, MONTHS[0], MONTHS[-1]]
            running[name] = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    return {name: worker.wait() for name, worker in running.items()}


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_eight_instruments_by_four_years(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    for name in INSTRUMENTS:
        # A few days of each month: enough for sessions, and every lock is taken as often as with whole ones.
        spans = [(ns(f"{month}-03"), ns(f"{month}-08")) for month in MONTHS]
        days = [synthetic_bars(name, *span, span_ns=(0, 2**62)) for span in spans]
        upsert(data / "paper", name, Bars.concatenate(days).table("imported"))
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with environment(data, {"FX_INSTRUMENTS": ",".join(INSTRUMENTS), "FX_HISTORY_START": MONTHS[0]}):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        # The first to come makes Dagster's storage; after it, the others meet on it and on the warehouse.
        codes = workers(INSTRUMENTS[:1], tmp_path) | workers(INSTRUMENTS[1:], tmp_path)
        logs = {name: (tmp_path / f"{name}.log").read_text()[-3_000:] for name, code in codes.items() if code}
        assert not logs
        with dg.DagsterInstance.get() as instance:
            for asset in ("raw_candles", "m1_candles"):
                assert len(instance.get_materialized_partitions(dg.AssetKey(asset))) == len(INSTRUMENTS) * len(MONTHS)
            assert instance.get_materialized_partitions(dg.AssetKey("valid_sessions")) == set(INSTRUMENTS)
            assert all(run.is_success for run in instance.get_runs())
            assert len(instance.get_runs()) == 2 * len(INSTRUMENTS)

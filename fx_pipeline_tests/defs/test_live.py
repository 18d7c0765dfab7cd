"""The live job: a dry run that records one decision, of one process at a time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from fx_pipeline_tests.defs.conftest import attest

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

CONFIG = {"ops": {"decide_live": {"config": {"instrument": "EUR_USD"}}}}
HOLDER = """
import sys, time
from pathlib import Path
from fx_pipeline.live.lock import account_lock
with account_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(copy: "Chain") -> Iterator["Chain"]:
    """A copy of the chain with a champion."""
    attest(copy)
    copy.job("promote", copy.instrument, {"ops": {"champion": {"config": {"window": copy.window}}}})
    yield copy


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error)


def test_decision_is_recorded_and_observed(place: "Chain") -> None:
    result = place.job("live_trading", config=CONFIG)
    decision: dict[str, Any] = result.output_for_node("decide_live")
    assert decision["action"] in decision["legal"] and decision["orders_sent"] == 0
    assert decision["model_version"] == "EUR_USD-muzero v1" and decision["run_id"] == result.run_id
    record = json.loads((place.data_dir / "live" / "EUR_USD.json").read_text())
    assert record == decision | {"legal": list(decision["legal"])}
    (event,) = place.instance.fetch_observations(dg.AssetKey("live_decisions"), limit=5).records
    observed = event.asset_observation
    assert observed is not None and observed.partition == "EUR_USD"
    assert observed.metadata["model_sha256"].value == decision["model_sha256"]


def test_lineage_leads_from_the_decision_to_the_candles(place: "Chain") -> None:
    """From a live decision back to the data that trained the model behind it."""
    decision = place.job("live_trading", config=CONFIG).output_for_node("decide_live")
    champion = json.loads((place.data_dir / "champion" / "EUR_USD.json").read_text())
    assert champion["weights_sha256"] == decision["model_sha256"]
    record = json.loads((place.data_dir / champion["model"] / "checkpoint.json").read_text())
    assert record["weights_sha256"] == champion["weights_sha256"]
    assert record["window"]["key"] == champion["window"] and len(record["data_fingerprint"]) == 64


def test_newest_bar_decides(place: "Chain") -> None:
    import duckdb

    decision = place.job("live_trading", config=CONFIG).output_for_node("decide_live")
    with duckdb.connect(str(place.data_dir / "warehouse.duckdb"), read_only=True) as connection:
        newest = connection.execute("SELECT max(time) FROM features").fetchone()[0]
    assert decision["bar"] == f"{newest.isoformat()}+00:00"


def test_without_a_champion_it_says_what_to_do(copy: "Chain") -> None:
    result = copy.job("live_trading", config=CONFIG, fails=True)
    assert not result.success
    assert "EUR_USD has no champion: promote a validated model first" in failure(result)


def test_second_trader_is_refused(place: "Chain") -> None:
    path = place.data_dir / "live" / "account.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        result = place.job("live_trading", config=CONFIG, fails=True)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert not result.success
    assert f"held by process {holder.pid}: only one process may trade an account" in failure(result)
    assert not (place.data_dir / "live" / "EUR_USD.json").exists()
    assert place.job("live_trading", config=CONFIG).success, "the lock goes with its holder"


def test_features_that_differ_stop_the_decision(place: "Chain") -> None:
    import duckdb

    with duckdb.connect(str(place.data_dir / "warehouse.duckdb")) as connection:
        connection.execute("UPDATE features SET price_change_pips = 0.5 WHERE time = (SELECT max(time) FROM features)")
    result = place.job("live_trading", config=CONFIG, fails=True)
    assert not result.success and "the newest features differ from those of the table" in failure(result)

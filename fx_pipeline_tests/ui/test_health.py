"""What others make of the health file."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fx_pipeline.market.errors import DataError
from fx_pipeline.ui.health import Health, judge, read_health, write_health

NOW = 1_800_000_000.0


def health(**changes: Any) -> Health:
    facts: dict[str, Any] = {"state": "ready", "process": os.getpid(), "updated_s": NOW - 1, "last_tick_s": NOW - 9}
    addresses = {"dagster": "http://127.0.0.1:3000/", "reports": "http://127.0.0.1:3001/"}
    return Health(**{"addresses": addresses, **facts, "tick_limit_s": 120.0, **changes})


def test_well() -> None:
    assert judge(health(), NOW) == (True, "ready; a sensor looked 9 s ago")
    assert judge(health(tick_limit_s=None), NOW) == (True, "ready; no sensor is on")
    assert judge(health(last_tick_s=None), NOW) == (True, "ready; no sensor has looked yet")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "not running: fx-pipeline ui was never started"),
        (health(state="starting"), "starting"),
        (health(state="stopped"), "not running: stopped"),
        (health(state="failed", problems=["the daemon ended"]), "not running: failed: the daemon ended"),
        (health(problems=["the web server was ended by SIGKILL"]), "ready: the web server was ended by SIGKILL"),
        (health(updated_s=NOW - 60), "not responding: process"),
    ],
)
def test_not_well(found: Health | None, said: str) -> None:
    well, line = judge(found, NOW)
    assert not well and line.startswith(said)


def test_a_process_that_is_gone_says_nothing_of_itself() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    well, line = judge(health(process=gone.pid), NOW)
    assert not well and line == f"not running: process {gone.pid} of fx-pipeline ui is gone"


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    assert read_health(path) is None
    write_health(path, health(said=["ready"], updated_s=time.time()))
    found = read_health(path)
    assert found is not None and found.said == ["ready"]


@pytest.mark.parametrize(
    "changes",
    [
        {"process": "x"},
        {"process": 0},
        {"process": 10**30},
        {"updated_s": "x"},
        {"problems": 5},
        {"problems": [1]},
        {"addresses": []},
        {"addresses": {}},
        {"state": 3},
        {"last_tick_s": "x", "tick_limit_s": 1.0},
        {"updated_s": None},
    ],
)
def test_a_value_of_another_type_is_refused_with_the_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "health.json"
    write_health(path, health())
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError, match=r"health\.json is damaged .*: remove it"):
        read_health(path)


@pytest.mark.parametrize(
    "garbled", [b"", b"{", b"[]", b'{"state": 1, "unknown": 2}', b"null", b"\0" * 64, b"[" * 100_000]
)
def test_a_garbled_file_is_refused_with_the_file(tmp_path: Path, garbled: bytes) -> None:
    path = tmp_path / "health.json"
    path.write_bytes(garbled)
    with pytest.raises(DataError, match=r"health\.json is damaged .*: remove it"):
        read_health(path)

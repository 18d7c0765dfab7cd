"""What others make of the health file."""

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
    return Health(**{**facts, "tick_limit_s": 120.0, **changes})


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
    for garbled in ("", "{", "[]", '{"state": 1, "unknown": 2}', "null"):
        path.write_text(garbled)
        with pytest.raises(DataError, match="cannot be read: remove it"):
            read_health(path)

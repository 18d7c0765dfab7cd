"""What the supervisor does when its own record cannot be written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fx_pipeline.market.errors import StorageError
from fx_pipeline.settings import load_settings
from fx_pipeline.ui import supervise
from fx_pipeline.ui.children import MOST_FAILURES, Child, Keeper
from fx_pipeline.ui.health import read_health
from fx_pipeline.ui.supervise import SupervisionError, Supervisor


def test_a_full_disk_ends_nothing_and_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    watchdog: Any = SimpleNamespace(stop=lambda: None)
    addresses = {"dagster": "http://127.0.0.1:3000/", "reports": "http://127.0.0.1:3001/"}
    supervisor = Supervisor(load_settings(data_dir=tmp_path), [], watchdog, Keeper(), addresses, said.append)

    def full(path: Path, health: object) -> None:
        raise StorageError(f"the disk is full: {path} was not written.")

    monkeypatch.setattr(supervisor, "_mark_lost_runs", lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(supervise, "write_health", full)
        for _ in range(3):
            supervisor._publish(force=True)
        failing = Child("the web server", ["false"], failures=MOST_FAILURES + 1)
        supervisor._again(failing, "ended with status 1")
        assert said.pop() == "the web server ended with status 1: started again"
        assert len(said) == 1 and "health.json was not written. What runs goes on." in said[0]
    supervisor._publish(force=True)
    with pytest.raises(SupervisionError, match="the web server ended with status 1"):
        supervisor._again(failing, "ended with status 1")
    supervisor.end(None)
    assert said[1:] == ["the health file is written again"]
    found = read_health(tmp_path / "ui" / "health.json")
    assert found is not None and found.state == "stopped" and "disk is full" in found.said[0]

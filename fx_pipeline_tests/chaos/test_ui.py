"""`fx-pipeline ui` under kills: a process of its own, on a data folder of its own, each part killed once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.supervision import Ui, a_worker, kill_part, wait_for, workers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Ui]:
    began = time.time()
    running = Ui(tmp_path)
    try:
        running.wait_until_well(began)
        yield running
    finally:
        running.stop()
        wait_for(lambda: not running.processes(), "no process is left")


@pytest.mark.timeout(600)
def test_every_part_is_started_again_and_nothing_is_left(ui: Ui) -> None:
    for part in ("inner", "daemon", "web", "keeper"):
        kill_part(ui, part)
    health = [sys.executable, "-m", "fx_pipeline.cli", "health"]
    done = subprocess.run(health, env=ui.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("ready; a sensor looked"), done.stdout + done.stderr
    second = [sys.executable, "-m", "fx_pipeline.cli", "ui", "--port", "0", "--reports-port", "0"]
    refused = subprocess.run(second, env=ui.environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and f"runs already on {ui.data} (process {ui.process.pid})" in refused.stderr
    # A terminal's Ctrl-C.
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait(60) == 0 and not ui.processes()


@pytest.mark.timeout(600)
def test_the_command_is_killed_in_the_middle_of_a_run(ui: Ui) -> None:
    pid = a_worker(ui)
    assert pid in workers(ui)
    os.kill(ui.process.pid, signal.SIGKILL)
    ui.process.wait()
    wait_for(lambda: not ui.processes(), "no process is left")

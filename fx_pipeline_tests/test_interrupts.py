"""Commands that end at a signal, whatever they do at that moment."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Swallows every interrupt, as Dagster does while it waits for a pool, or lets it through.
PROGRAM = """
import signal, sys, time
from fx_pipeline.interrupts import ending_at_once
def swallow():
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
try:
    with ending_at_once(lambda: open(sys.argv[1], "w").write("cancelled"), grace_s=0.2) as came:
        if sys.argv[2] == "deaf":
            swallow()
        print("here", flush=True)
        while True:
            time.sleep(0.01)
except KeyboardInterrupt:
    raise SystemExit(40 + came[0])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("manner", ["deaf", "hears"])
def test_it_ends(tmp_path: Path, number: signal.Signals, manner: str) -> None:
    said = tmp_path / "said"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(said), manner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(number)
    process.wait(60)
    process.stdout.close()
    # Who hears it ends by itself; the others are ended, after their last words.
    assert process.returncode == (128 + number if manner == "deaf" else 40 + number)
    assert said.exists() == (manner == "deaf")

"""Processes that are started again, and none that is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fx_pipeline.ui.children import MOST_FAILURES, Child, Keeper

#: Starts a process of its own, and says both ids.
FAMILY = """
import os, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".tmp", "w").write(f"{os.getpid()} {other.pid}")
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(600)
"""


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its remains."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def family(tmp_path: Path) -> tuple[Child, list[int]]:
    """A process with a child of its own, and the ids of both."""
    child = Child("the family", [sys.executable, "-c", FAMILY, str(tmp_path / "pids")])
    child.start()
    wait_for((tmp_path / "pids").exists)
    return child, [int(pid) for pid in (tmp_path / "pids").read_text().split()]


def test_a_process_ends_with_all_that_it_started(family: tuple[Child, list[int]]) -> None:
    child, pids = family
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: child.ended() is not None)
    assert child.ended() == "was ended by SIGKILL" and runs(pids[1])
    child.end()
    wait_for(lambda: not any(runs(pid) for pid in pids))
    assert child.is_due and child.failures == 1


def test_one_that_never_gets_going_is_given_up() -> None:
    child = Child("the loop", [sys.executable, "-c", "raise SystemExit(3)"])
    for number in range(MOST_FAILURES + 1):
        assert not child.is_given_up
        child.start()
        wait_for(lambda: child.ended() is not None)
        assert child.ended() == "ended with status 3"
        child.end()
        # After the first time, it is not started again at once.
        assert child.is_due == (number == 0)
    assert child.is_given_up


def test_one_that_did_its_work_may_be_killed_as_often_as_one_likes() -> None:
    child = Child("the sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
    for _ in range(MOST_FAILURES + 3):
        child.start()
        child.is_sound = True
        child.end()
        assert child.is_due and not child.is_given_up


def test_the_keeper_ends_the_others_when_the_command_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "sockets"
    folder.mkdir()
    code = f"""
import sys, time
from pathlib import Path
from fx_pipeline.ui.children import Child, Keeper
keeper, child = Keeper(), Child("the family", [sys.executable, "-c", {FAMILY!r}, {str(tmp_path / "pids")!r}])
keeper.tell("folder", {str(folder)!r})
keeper.start()
keeper.tell("group", child.start())
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(runs(pid) for pid in pids))
    wait_for(lambda: not folder.exists())


def test_a_keeper_that_is_killed_is_replaced_and_one_that_is_dismissed_harms_nobody(
    family: tuple[Child, list[int]],
) -> None:
    child, pids = family
    keeper = Keeper()
    keeper.tell("group", child.pid)
    keeper.start()
    first = keeper.pid
    assert first is not None and not keeper.revive()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not runs(first))
    assert keeper.revive() and keeper.pid != first
    keeper.dismiss()
    assert all(runs(pid) for pid in pids)
    child.end()

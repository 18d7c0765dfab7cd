"""One process trades an account, and the lock goes with its holder, however it goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fx_pipeline.live.lock import AccountLockedError, account_lock

HOLDER = """
import sys, time
from pathlib import Path
from fx_pipeline.live.lock import account_lock
with account_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "live" / "account.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(AccountLockedError, match=f"held by process {holder.pid}: only one process"),
            account_lock(path),
        ):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with account_lock(path):
        assert path.read_text() == str(os.getpid())


def test_lock_is_free_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "account.lock"
    with pytest.raises(ZeroDivisionError), account_lock(path):
        _ = 1 / 0
    with account_lock(path):
        pass

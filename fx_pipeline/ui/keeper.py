"""Ends the processes of `fx-pipeline ui` when the command itself is killed: it cannot do so then.

    python -m fx_pipeline.ui.keeper N

N is the read end of a pipe whose other end the command holds. Lines say which process groups there are; when the pipe
ends without the line `done`, the command is gone, and they are killed. Where this process is killed in the same moment
as the command, nobody is left to do it.
"""

import contextlib
import os
import shutil
import signal
import sys


def keep(pipe: int) -> None:
    """Read the pipe to its end, and clean up unless it ends well."""
    groups: set[int] = set()
    folders: set[str] = set()
    with open(pipe, encoding="utf-8") as lines:
        for line in lines:
            word, _, value = line.rstrip("\n").partition(" ")
            if word == "done":
                return
            if word == "group":
                groups.add(int(value))
            elif word == "gone":
                groups.discard(int(value))
            elif word == "folder":
                folders.add(value)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keep(int(sys.argv[1]))

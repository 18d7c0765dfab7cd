"""A process that is started again when it ends, and its whole group with it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

#: A process that lives as long was sound; the next time it ends is the first time again.
SOUND_S = 30.0
#: Starts in half an hour, sound or not.
MOST_STARTS, _HALF_HOUR_S = 40, 1800.0
#: Starts in a row that may fail, each with a longer pause before the next.
MOST_FAILURES = 5
_LONGEST_PAUSE_S = 15.0


@dataclass
class Child:
    """A process of `fx-pipeline ui`.

    Attributes
    ----------
    name : str
        In words, for people.
    command : sequence of str
    pass_fds : sequence of int
        File descriptors that it inherits.
    starts : int
        How often it was started.
    failures : int
        How often in a row it ended before it was sound.
    is_sound : bool
        Whether it did its work since it was started.
    problem : str
        What is wrong with it now.
    """

    name: str
    command: Sequence[str]
    pass_fds: Sequence[int] = ()
    starts: int = 0
    failures: int = 0
    problem: str = ""
    is_sound: bool = False
    _recent: deque[float] = field(default_factory=deque, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _started: float = 0.0
    _not_before: float = 0.0

    @property
    def pid(self) -> int | None:
        """Its id, which is its group's as well; None where it does not run."""
        return self._process.pid if self._process else None

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def is_due(self) -> bool:
        """Whether it does not run and its pause is over."""
        return self._process is None and time.monotonic() >= self._not_before

    @property
    def is_given_up(self) -> bool:
        """Whether it failed too often in a row, or was started too often."""
        return self.failures > MOST_FAILURES or len(self._recent) > MOST_STARTS

    def start(self) -> int:
        """Start it in a group of its own, so that a terminal's Ctrl-C reaches the command alone; return its id."""
        self._process = subprocess.Popen(
            list(self.command), stdin=subprocess.DEVNULL, pass_fds=tuple(self.pass_fds), process_group=0
        )
        self.starts += 1
        self.is_sound = False
        self._started = time.monotonic()
        self._recent.append(self._started)
        while self._recent[0] < self._started - _HALF_HOUR_S:
            self._recent.popleft()
        return self._process.pid

    def ended(self) -> str | None:
        """Return how it ended, None while it runs or was ended on purpose."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def end(self, again: bool = True) -> int | None:
        """Kill it and what it started; return the id of the group. `again` counts it towards giving up."""
        if self._process is None:
            return None
        group = self._process.pid
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        self._process = None
        if again:
            self.failures = 0 if self.is_sound or self.age_s >= SOUND_S else self.failures + 1
            pause = min(_LONGEST_PAUSE_S, 2.0 ** (self.failures - 2)) if self.failures > 1 else 0.0
            self._not_before = time.monotonic() + pause
        return group

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


class Keeper:
    """The process that ends the others when this one is killed; started again when it is."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def start(self) -> None:
        """Start it, and tell it all that it must know."""
        read, self._pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fx_pipeline.ui.keeper", str(read)],
            stdin=subprocess.DEVNULL,
            pass_fds=(read,),
            start_new_session=True,
        )
        os.close(read)
        self._write("".join(self._lines))

    def tell(self, word: str, value: object) -> None:
        """Tell it of a `group` that began, a group that is `gone`, or a `folder` to remove."""
        line = f"{word} {value}\n"
        self._lines = [known for known in self._lines if known.partition(" ")[2] != line.partition(" ")[2]]
        if word != "gone":
            self._lines.append(line)
        self._write(line)

    @property
    def pid(self) -> int | None:
        """Its id."""
        return self._process.pid if self._process else None

    def revive(self) -> bool:
        """Start it again if it is gone; return whether it was."""
        if self._process is None or self._process.poll() is None:
            return False
        os.close(self._pipe)
        self.start()
        return True

    def dismiss(self) -> None:
        """Let it go: everything is ended."""
        if self._process is None:
            return
        self._write("done\n")
        os.close(self._pipe)
        self._process.wait()
        self._process = None

    def _write(self, text: str) -> None:
        if self._process is None:
            return
        # A keeper that is gone is started again, and told all of it then.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, text.encode())

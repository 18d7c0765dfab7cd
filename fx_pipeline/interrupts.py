"""Ctrl-C and SIGTERM that always end a command.

Python code that catches interrupts, or a call that does not come back, can put them off for ever. While the body of
`ending_at_once` runs, a thread sees every signal as it comes; where the command has not ended soon after one, the
thread does what must be done and ends the process.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: No signal has this number.
_END = 0


@contextmanager
def ending_at_once(last_words: Callable[[], None], grace_s: float = 3.0) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt in the body, and end the process where that does not end it.

    Parameters
    ----------
    last_words : callable
        Called in another thread before the process is ended that way.
    grace_s : float
        Seconds that the body may take to end by itself, and then the last words; a second signal ends the first.

    Yields
    ------
    list of int
        The signals that came, complete when the body has ended.
    """
    came: list[int] = []
    done, again = threading.Event(), threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def watch() -> None:
        while True:
            seen = reader.recv(64)
            numbers = [number for number in seen if number in _SIGNALS]
            came.extend(numbers)
            if _END in seen:
                return
            if not numbers:
                continue
            if len(came) > 1:
                again.set()
            else:
                threading.Thread(target=end, args=(numbers[0],), daemon=True).start()

    def end(number: int) -> None:
        again.wait(grace_s)
        if not done.is_set():
            # What hangs may hold what the last words need.
            speaking = threading.Thread(target=last_words, daemon=True)
            speaking.start()
            speaking.join(grace_s)
            os._exit(128 + number)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="interrupts", daemon=True)
    watcher.start()
    try:
        yield came
    finally:
        done.set()
        again.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.send(bytes([_END]))
        # Every signal is in the list then.
        watcher.join()
        reader.close()
        writer.close()

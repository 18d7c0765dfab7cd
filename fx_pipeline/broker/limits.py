"""What a client owes its broker: not too many requests, and not too many new connections, in any second."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import requests.adapters
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class Window:
    """Lets at most `count` callers through in any `span_s` seconds; further ones wait.

    Parameters
    ----------
    pause : callable
        Sleeps for so many seconds.
    clock : callable
        Seconds that only ever grow.
    """

    def __init__(
        self,
        count: int,
        span_s: float,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._span_s = span_s
        self._pause = pause
        self._clock = clock
        self._entered: deque[float] = deque(maxlen=count)
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Return when one more is allowed."""
        with self._lock:
            while len(self._entered) == self._entered.maxlen:
                missing = self._entered[0] + self._span_s - self._clock()
                if missing <= 0.0:
                    break
                self._pause(missing)
            self._entered.append(self._clock())


class PacedAdapter(requests.adapters.HTTPAdapter):
    """A transport that opens new connections only as the window allows, and repeats nothing."""

    def __init__(self, connections: Window) -> None:
        self._connections = connections
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools, with connections that ask the window."""
        super().init_poolmanager(*arguments, **options)
        window = self._connections

        class Plain(HTTPConnection):
            def connect(self) -> None:
                window.enter()
                super().connect()

        class Encrypted(HTTPSConnection):
            def connect(self) -> None:
                window.enter()
                super().connect()

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class EncryptedPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Encrypted

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}

"""Group commit: one fsync of the journal serves every reply that waits for it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol


class Durable(Protocol):
    """What has writes to settle."""

    @property
    def dirty(self) -> bool:
        """Whether there is anything to settle; `sync` clears it before it begins."""

    def sync(self) -> None:
        """Bring everything written so far to the disk; blocks."""


class GroupCommit:
    """Lets replies wait until what they say is on the disk, without an fsync for each and without blocking the loop.

    Parameters
    ----------
    target : Durable
        Holder of the journal.

    Attributes
    ----------
    syncs : int
        How many were begun.
    """

    def __init__(self, target: Durable) -> None:
        self._target = target
        self._pool = ThreadPoolExecutor(1, "journal-sync")
        self._running: asyncio.Future[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.syncs = 0

    async def settle(self) -> None:
        """Return when everything that was written before the call is on the disk.

        Raises
        ------
        Exception
            That of the first `sync` that failed, now and ever after: it is not known what will survive.
        """
        self._check()
        if self._target.dirty:
            # The sync under way may have begun before the newest write: it is the next one that counts.
            if self._next is None:
                self._next = asyncio.get_running_loop().create_task(self._begin_after(self._running))
            await asyncio.shield(self._next)
        elif self._running is not None:
            await asyncio.shield(self._running)

    def close(self) -> None:
        """End the thread; a sync under way is finished first."""
        self._pool.shutdown()

    async def _begin_after(self, running: asyncio.Future[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
            # A flush after one that failed may succeed, and yet not cover what that one lost.
            self._failure = self._failure or running.exception()
        self._next = None
        self._check()
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._target.sync)
        self._running = future
        self.syncs += 1
        try:
            await future
        except Exception as error:
            self._failure = self._failure or error
            raise
        finally:
            if self._running is future:
                self._running = None

    def _check(self) -> None:
        if self._failure is not None:
            # It is raised many times, and would gather the frames of all of them.
            raise self._failure.with_traceback(None)

"""Group commit: nobody is told before the disk has it, and one fsync serves many."""

import asyncio
import contextlib
import threading

import pytest

from fx_pipeline.broker.paper.commit import GroupCommit


class Journal:
    """A journal whose disk is as slow as `gate` says; `durable` counts what it has for certain."""

    def __init__(self) -> None:
        self.dirty = False
        self.written = self.durable = 0
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def write(self) -> int:
        self.written += 1
        self.dirty = True
        return self.written

    def sync(self) -> None:
        self.dirty = False
        covered = self.written
        self.gate.wait(10)
        if self.broken:
            raise OSError("the disk is full")
        self.durable = covered


async def write_and_settle(journal: Journal, commit: GroupCommit) -> bool:
    number = journal.write()
    await commit.settle()
    return journal.durable >= number


def test_every_reply_waits_for_its_own_write() -> None:
    async def run() -> None:
        journal, kept = Journal(), []
        commit = GroupCommit(journal)
        for _ in range(20):
            tasks = []
            for _ in range(10):
                tasks.append(asyncio.create_task(write_and_settle(journal, commit)))
                # Some arrive while a sync is under way.
                await asyncio.sleep(0)
            kept += await asyncio.gather(*tasks)
        commit.close()
        assert kept == [True] * 200

    asyncio.run(run())


def test_one_sync_serves_all_who_wait() -> None:
    async def run() -> None:
        journal = Journal()
        commit = GroupCommit(journal)
        journal.gate.clear()
        tasks = [asyncio.create_task(write_and_settle(journal, commit))]
        while journal.dirty or not journal.written:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(write_and_settle(journal, commit)) for _ in range(50)]
        await asyncio.sleep(0.01)
        journal.gate.set()
        assert all(await asyncio.gather(*tasks))
        assert commit.syncs == 2
        commit.close()

    asyncio.run(run())


def test_a_write_during_a_sync_waits_for_the_next_and_a_read_for_the_present_one() -> None:
    async def run() -> None:
        journal = Journal()
        commit = GroupCommit(journal)
        journal.gate.clear()
        first = asyncio.create_task(write_and_settle(journal, commit))
        while journal.dirty or not journal.written:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(write_and_settle(journal, commit))
        await asyncio.sleep(0.01)
        assert not first.done() and not second.done()
        journal.dirty = False
        reader = asyncio.create_task(commit.settle())
        await asyncio.sleep(0.01)
        assert not reader.done()
        journal.dirty = True
        journal.gate.set()
        assert await first and await second
        await reader
        assert commit.syncs == 2
        commit.close()

    asyncio.run(run())


def test_nothing_to_settle_costs_nothing() -> None:
    async def run() -> int:
        commit = GroupCommit(Journal())
        await commit.settle()
        commit.close()
        return commit.syncs

    assert asyncio.run(run()) == 0


def test_a_disk_that_refused_once_is_never_trusted_again() -> None:
    async def run() -> None:
        journal = Journal()
        commit = GroupCommit(journal)
        journal.broken = True
        journal.write()
        with pytest.raises(OSError, match="full"):
            await commit.settle()
        journal.broken = False
        with pytest.raises(OSError, match="full"):
            await commit.settle()
        commit.close()

    asyncio.run(run())


def test_who_waits_behind_a_sync_that_fails_is_refused_too() -> None:
    async def run() -> None:
        journal = Journal()
        commit = GroupCommit(journal)
        journal.gate.clear()
        journal.broken = True
        first = asyncio.create_task(write_and_settle(journal, commit))
        while journal.dirty or not journal.written:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(write_and_settle(journal, commit))
        await asyncio.sleep(0.01)
        journal.gate.set()
        with contextlib.suppress(OSError):
            await first
        # The disk works again, and what the failed flush lost it does not have.
        journal.broken = False
        with pytest.raises(OSError, match="full"):
            await second
        assert commit.syncs == 1
        commit.close()

    asyncio.run(run())

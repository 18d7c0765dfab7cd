"""The journal: whatever is cut from its end, what was whole before is read; damage in the middle is an error."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx_pipeline.broker.paper.journal import FILE_NAME, Journal, holding, put_aside
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError

RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("open", {"version": 1, "text": "two\nlines and ünïcode"}),
    ("batch", {"time_ns": 1_704_700_800_000_000_000, "transactions": [{"id": "1"}], "trailing": {}}),
    ("step", {"time_ns": 1_704_700_900_000_000_000}),
]


def write(folder: Path) -> bytes:
    journal = Journal(folder)
    for kind, content in RECORDS:
        journal.append(kind, content)
    journal.close()
    return (folder / FILE_NAME).read_bytes()


def read(folder: Path) -> list[dict[str, Any]]:
    journal = Journal(folder)
    found = list(journal.records())
    journal.close()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of all records."""
    return write(tmp_path_factory.mktemp("whole"))


def expected(count: int) -> list[dict[str, Any]]:
    return [{"kind": kind, **content} for kind, content in RECORDS[:count]]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    assert read(tmp_path) == expected(3)


def test_a_journal_cut_at_any_byte_keeps_its_whole_records_and_goes_on(tmp_path: Path, whole: bytes) -> None:
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[0], len(whole) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        journal = Journal(folder)
        assert journal.dropped_bytes == length - ends[kept - 1]
        assert list(journal.records()) == expected(kept) == list(journal.records())
        journal.append("step", {"time_ns": 5})
        assert list(journal.records()) == expected(kept), "what it held when it was opened"
        journal.close()
        assert read(folder) == [*expected(kept), {"kind": "step", "time_ns": 5}]


def test_an_unwritten_block_at_the_end_is_dropped(tmp_path: Path, whole: bytes) -> None:
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    (tmp_path / FILE_NAME).write_bytes(whole[:last] + bytes(20) + whole[last + 20 :])
    assert read(tmp_path) == expected(2)


def test_a_whole_last_record_that_is_damaged_is_an_error(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(whole.replace(b"1704700900", b"1704700901"))
    with pytest.raises(DataError, match="line 3: the record is damaged"):
        Journal(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_in_the_middle_is_an_error(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    damaged = bytearray(whole)
    last = whole.rstrip(b"\n").rfind(b"\n")
    place = data.draw(st.integers(0, last))
    old = chr(whole[place])
    # Another case of a checksum's digit is the same number.
    damaged[place] = data.draw(st.integers(0, 255).filter(lambda byte: chr(byte).lower() != old.lower()))
    (folder / FILE_NAME).write_bytes(damaged)
    with pytest.raises(DataError, match=r"line \d: the record is damaged.*--new"):
        Journal(folder)
    # The refused folder is free again.
    with holding(folder):
        pass


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (bytes(1), "line 1: the account's first record is not whole"),
        (bytes(100_000), "line 1: the account's first record is not whole, but zeros"),
        (b"\n", "line 1: the record is damaged"),
        (b"\n" * 50, "line 1: the record is damaged"),
        (b"PK\x03\x04 something else", "line 1: the account's first record is not whole"),
        (b"{}\n", "line 1: the record is damaged"),
        (b"time,open\n2024,1\n", "line 1: the record is damaged"),
    ],
)
def test_what_is_no_journal_never_becomes_a_new_account(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"journal.jsonl, .*{reason}.*from a backup.*--new"):
        Journal(tmp_path)
    assert path.read_bytes() == content
    assert put_aside(tmp_path, "x") is not None and read(tmp_path) == []


def test_a_first_record_that_is_cut_short_is_refused(tmp_path: Path, whole: bytes) -> None:
    """The file comes into being with it whole: a kill cannot have left it so."""
    for length in range(whole.index(b"\n") + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / FILE_NAME).write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"--new"):
            Journal(folder)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_stands_in_the_journals_place_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FILE_NAME
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    (tmp_path / "journal-20260101T000000Z.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match=r"should be the file.*journal-20260101T000000Z\.jsonl"):
        Journal(tmp_path)
    with holding(tmp_path):
        pass
    assert put_aside(tmp_path, "x") is not None and read(tmp_path) == []


@pytest.mark.parametrize("name", ["clock", "lock"])
def test_what_stands_beside_the_journal_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(FxPipelineError, match=rf"{name} is a folder where a file should be"):
        Journal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_journal_of_another_user_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / FILE_NAME).chmod(0)
    with pytest.raises(ConfigurationError, match="may not be read and written by this user"):
        Journal(tmp_path)


def test_a_kill_before_the_first_record_leaves_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        journal.append(*RECORDS[0])
    monkeypatch.undo()
    journal.close()
    (tmp_path / f".tmp-1-abc-{FILE_NAME}").write_bytes(b"left by a kill")
    assert read(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clock", "lock"]
    write(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_one_process_holds_a_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
        Journal(tmp_path)
    with pytest.raises(ConfigurationError, match="in use"):
        put_aside(tmp_path, "x")
    journal.close()
    assert read(tmp_path) == []


def test_a_full_disk_leaves_nothing_of_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    journal = Journal(tmp_path)
    real = os.write
    written = []

    def full(descriptor: int, data: bytes) -> int:
        if written:
            raise OSError(errno.ENOSPC, "full")
        written.append(real(descriptor, data[:7]))
        return written[0]

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FxPipelineError, match="the disk is full"):
        journal.append("step", {"time_ns": 7})
    monkeypatch.setattr(os, "write", real)
    journal.append("step", {"time_ns": 8})
    journal.close()
    assert read(tmp_path) == [*expected(3), {"kind": "step", "time_ns": 8}]


def test_dirty_until_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    assert not journal.dirty
    journal.append("step", {"time_ns": 1})
    assert journal.dirty
    journal.sync()
    assert not journal.dirty
    journal.append("step", {"time_ns": 2})
    real = os.fsync

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(FxPipelineError, match=r"the disk refused to keep .*newest records"):
        journal.sync()
    monkeypatch.setattr(os, "fsync", real)
    journal.close()


def test_a_flush_that_ends_beside_a_write_leaves_it_to_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.append("step", {"time_ns": 1})
    flushed = []
    real_write, real_fsync = os.write, os.fsync

    def write_beside(descriptor: int, data: bytes) -> int:
        # What the thread of the group commit may do before the bytes are in the file.
        journal.sync()
        return real_write(descriptor, data)

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "write", write_beside)
    journal.append("step", {"time_ns": 2})
    monkeypatch.setattr(os, "write", real_write)
    assert journal.dirty
    journal.sync()
    assert flushed == [len((tmp_path / FILE_NAME).read_bytes()) // 2, (tmp_path / FILE_NAME).stat().st_size]
    journal.close()


def test_a_reserve_outlives_the_process_and_a_write_of_it_that_is_cut_short(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.reserved_ns == 0
    for until in (10**18, 2 * 10**18, 15 * 10**17):
        journal.reserve(until)
        journal.close()
        journal = Journal(tmp_path)
        assert journal.reserved_ns == until
    journal.close()
    slots = (tmp_path / "clock").read_bytes()
    newest = slots.index(b" 0%d" % (15 * 10**17)) // 64 * 64
    for cut in range(50):
        torn = bytearray(slots)
        torn[newest + cut] ^= 1
        (tmp_path / "clock").write_bytes(torn)
        journal = Journal(tmp_path)
        assert journal.reserved_ns in (2 * 10**18, 15 * 10**17)
        journal.close()


def test_an_old_journal_is_put_aside(tmp_path: Path) -> None:
    assert put_aside(tmp_path, "2026") is None
    write(tmp_path)
    aside = put_aside(tmp_path, "2026")
    assert aside is not None and aside.is_file()
    assert read(tmp_path) == []
    write(tmp_path)
    with pytest.raises(ConfigurationError, match="exists already"):
        put_aside(tmp_path, "2026")


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((FxPipelineError, OSError)):
        Journal(tmp_path / "file" / "state")

"""The account's memory: an append-only file of records, one a line, each with a checksum.

A record is written before it takes effect, and flushed to disk before its effect is acknowledged. A process that is
killed while it writes leaves a line without an end, which is dropped: nobody was told of it.
"""

import contextlib
import fcntl
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from fx_pipeline.market.disk import clear_disk_errors
from fx_pipeline.market.errors import ConfigurationError, DataError, FxPipelineError

FILE_NAME = "journal.jsonl"
_LOCK_NAME, _CLOCK_NAME = "lock", "clock"
_SLOT_BYTES = 64
_CHECKSUM_LENGTH = 8
_HEAD = re.compile(rb"[0-9a-f]{8} \{")


class Journal:
    """Holds the state folder alone for as long as it is open, and appends records to its journal.

    Parameters
    ----------
    folder : Path
        The state folder; it is made if it does not exist.

    Attributes
    ----------
    dirty : bool
        Whether records were written that are not flushed to disk yet.
    reserved_ns : int
        Up to where the market's time was reserved, UTC nanoseconds; 0 where it never was.

    Raises
    ------
    ConfigurationError
        If another process holds the folder.
    DataError
        If a record is damaged, other than a last one that was not written to its end.
    FxPipelineError
        If the folder is not writable or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.dirty = False
        with contextlib.ExitStack() as undone, clear_disk_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            undone.callback(os.close, self._lock)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            undone.callback(os.close, self._file)
            self._clock = os.open(folder / _CLOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            undone.callback(os.close, self._clock)
            self._turn, self.reserved_ns = _reserved(os.pread(self._clock, 2 * _SLOT_BYTES, 0))
            self._records, self._size = _read(self.path)
            if self._size < os.fstat(self._file).st_size:
                os.ftruncate(self._file, self._size)
                self.dirty = True
            _flush_folder(folder)
            undone.pop_all()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what the journal held when it was opened, in order; each record is given once."""
        self._records.reverse()
        while self._records:
            yield self._records.pop()

    def append(self, kind: str, content: dict[str, Any]) -> None:
        """Write a record.

        Parameters
        ----------
        kind : str
            What kind of record it is.
        content : dict
            JSON values.

        Raises
        ------
        FxPipelineError
            If it cannot be written; the journal then holds nothing of it.
        """
        body = orjson.dumps({"kind": kind, **content})
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        try:
            with clear_disk_errors(self.path):
                _write_all(self._file, line)
        except (OSError, FxPipelineError):
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        # After the write: a flush that runs beside it clears the mark of what it may have missed.
        self.dirty = True

    def reserve(self, until_ns: int) -> None:
        """Note that no time beyond `until_ns` is shown; it is not flushed, for it need only outlive this process.

        The note is not in the journal, which would grow without end while nothing happens.

        Raises
        ------
        FxPipelineError
            If it cannot be written.
        """
        self._turn += 1
        body = b"%020d %020d" % (self._turn, until_ns)
        line = b"%b %08x\n" % (body, zlib.crc32(body))
        assert len(line) <= _SLOT_BYTES, f"the time {until_ns} does not fit into its slot"
        # The two slots take turns, so that a write that is cut short leaves the one before it.
        with clear_disk_errors(self.path):
            os.pwrite(self._clock, line, self._turn % 2 * _SLOT_BYTES)
        self.reserved_ns = until_ns

    def sync(self) -> None:
        """Flush to disk what was written, if anything was. It blocks, and may run beside `append`.

        Raises
        ------
        FxPipelineError
            If the disk refuses: what it has of the journal is then unknown.
        """
        if not self.dirty:
            return
        # Before the flush, which may miss what is appended meanwhile.
        self.dirty = False
        try:
            os.fsync(self._file)
        except OSError as error:
            raise FxPipelineError(
                f"the disk refused to keep {self.path} ({error.strerror}), so it is not known what it has of the "
                "newest records. Mend the disk and start the broker again: it goes on from what is there."
            ) from error

    def close(self) -> None:
        """Flush, and free the folder for another process; it is free also when the flush fails."""
        try:
            self.sync()
        finally:
            for descriptor in (self._file, self._clock, self._lock):
                os.close(descriptor)


def put_aside(folder: Path, label: str) -> Path | None:
    """Rename the journal of a folder that no process holds; return its new path, None when there is no journal.

    Parameters
    ----------
    folder : Path
        The state folder.
    label : str
        What the new name says, such as a date and time.

    Raises
    ------
    ConfigurationError
        If a process holds the folder, or the new name is taken.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with holding(folder):
        aside = path.with_name(f"journal-{label}.jsonl")
        if aside.exists():
            raise ConfigurationError(f"{aside} exists already: the old journal was not put aside. Try again.")
        os.rename(path, aside)
        _flush_folder(folder)
    return aside


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a state folder alone while the body runs; it is made if it does not exist.

    Raises
    ------
    ConfigurationError
        If another process holds it.
    """
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = _locked(folder)
    try:
        yield
    finally:
        os.close(lock)


def _locked(folder: Path) -> int:
    path = folder / _LOCK_NAME
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise ConfigurationError(
            f"{folder} is in use by process {holder}: one paper broker holds an account. Stop it, or give another "
            "--state folder."
        ) from error
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _reserved(slots: bytes) -> tuple[int, int]:
    # Number and content of the newest whole slot.
    found = [(0, 0)]
    for slot in (slots[:_SLOT_BYTES], slots[_SLOT_BYTES:]):
        turn, _, rest = slot.partition(b" ")
        until, _, checksum = rest.partition(b" ")
        if checksum[:_CHECKSUM_LENGTH] == b"%08x" % zlib.crc32(b"%b %b" % (turn, until)):
            found.append((int(turn), int(until)))
    return max(found)


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    # The records, and the length of the file up to the end of the last whole one.
    records: list[dict[str, Any]] = []
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = _parse(line) if line.endswith(b"\n") else None
            if record is None:
                if file.read(1) or not _torn(line):
                    raise DataError(
                        f"{path}, line {number}: the record is damaged. Put a copy from a backup in its place, or "
                        "start a new account with --new."
                    )
                break
            records.append(record)
            size += len(line)
    return records, size


def _torn(line: bytes) -> bool:
    # Whether nobody was told of a last line that is not whole: it lacks its end, or, after a power failure, a block.
    if not line.endswith(b"\n"):
        return True
    return b"\0" in line and not any(_parse(line[found.start() :]) for found in _HEAD.finditer(line, 1))


def _parse(line: bytes) -> dict[str, Any] | None:
    checksum, separator, body = line[:-1].partition(b" ")
    try:
        if len(checksum) != _CHECKSUM_LENGTH or not separator or int(checksum, 16) != zlib.crc32(body):
            return None
        record = orjson.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _write_all(file: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(file, data[written:])


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

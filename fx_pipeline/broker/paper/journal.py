"""The account's memory: an append-only file of records, one a line, each with a checksum.

A record is written before it takes effect, and flushed to disk before its effect is acknowledged. A process that is
killed while it writes leaves a line without an end, which is dropped: nobody was told of it. The file comes into being
with its first record whole: one that is empty, or does not begin so, is not new but damaged, and is refused.
"""

import contextlib
import fcntl
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from fx_pipeline.market.atomic import TEMPORARY_PREFIX, atomic_path
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

    dropped_bytes : int
        Length of a last record that was not written to its end, when the journal was opened.

    Raises
    ------
    ConfigurationError
        If another process holds the folder.
    DataError
        If the journal is empty or no file, does not begin with a whole record, or a record is damaged, other than a
        last one that was not written to its end.
    FxPipelineError
        If the folder is not writable or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.dirty = False
        self._file: int | None = None
        self._held = self._size = self.dropped_bytes = 0
        with contextlib.ExitStack() as undone, _clear_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder)
            undone.callback(os.close, self._lock)
            self._clock = os.open(folder / _CLOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            undone.callback(os.close, self._clock)
            self._turn, self.reserved_ns = _reserved(os.pread(self._clock, 2 * _SLOT_BYTES, 0))
            for leftover in folder.glob(f"{TEMPORARY_PREFIX}*-{FILE_NAME}"):
                leftover.unlink()
            file = _opened(self.path)
            if file is not None:
                undone.callback(os.close, file)
                self._file = file
                self._held = self._size = _whole_size(self.path)
                self.dropped_bytes = os.fstat(file).st_size - self._size
                if self.dropped_bytes:
                    os.ftruncate(file, self._size)
                    self.dirty = True
            _flush_folder(folder)
            undone.pop_all()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what the journal held when it was opened, in order, read from the file as it is asked for.

        Raises
        ------
        DataError
            If a record is not what this program writes.
        """
        if not self._held:
            return
        with self.path.open("rb") as file:
            number = 0
            while file.tell() < self._held:
                number += 1
                record = _parse(file.readline())
                if record is None:
                    raise damaged(self.path, f"line {number}: the record is damaged")
                yield record

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
        if self._file is None:
            self._file = self._begin(line)
        else:
            try:
                with clear_disk_errors(self.path):
                    _write_all(self._file, line)
            except (OSError, FxPipelineError):
                os.ftruncate(self._file, self._size)
                raise
        self._size += len(line)
        # After the write: a flush that runs beside it clears the mark of what it may have missed.
        self.dirty = True

    def _begin(self, line: bytes) -> int:
        with clear_disk_errors(self.path):
            with atomic_path(self.path) as temporary:
                temporary.chmod(0o600)
                temporary.write_bytes(line)
            return os.open(self.path, os.O_RDWR | os.O_APPEND)

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
        if not self.dirty or self._file is None:
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
                if descriptor is not None:
                    os.close(descriptor)


def put_aside(folder: Path, label: str) -> Path | None:
    """Rename the journal of a folder that no process holds; return its new path, None when there is no journal.

    Whatever stands in the journal's place is put aside, damaged or not.

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
    with holding(folder):
        if not os.path.lexists(path):
            return None
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
    with _clear_errors(folder):
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


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        with clear_disk_errors(path):
            yield
    except FxPipelineError:
        raise
    except OSError as error:
        found = error.filename or path
        raise FxPipelineError(
            f"{found} cannot be used ({error.strerror}): mend it, or give another --state folder."
        ) from error


def _opened(path: Path) -> int | None:
    # Not made where there is none: it comes into being with its first record.
    try:
        # Without waiting for the other end of what is no file.
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise damaged(path, "it is a folder, and should be the file of the account's records") from error
    except PermissionError as error:
        raise ConfigurationError(
            f"{path} may not be read and written by this user: give it back (chown, chmod 600), or give another "
            "--state folder."
        ) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise damaged(path, "it is no regular file, and should be the file of the account's records")
    return file


def damaged(path: Path, what: str) -> DataError:
    """Return the error that says what is wrong with a journal, and what can be done."""
    aside = sorted(found.name for found in path.parent.glob("journal-*.jsonl"))
    earlier = f" (accounts that were put aside lie beside it: {', '.join(aside[-3:])})" if aside else ""
    return DataError(
        f"{path}, {what}. Put a copy from a backup in its place{earlier}, or start a new account with --new, which "
        "keeps this one beside it."
    )


def _whole_size(path: Path) -> int:
    # The length of the file up to the end of the last whole record.
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if _body(line) is None:
                if file.read(1) or not _torn(line):
                    raise damaged(path, f"line {number}: the record is damaged")
                break
            size += len(line)
        if not size:
            file.seek(0)
            begin = file.read(_CHECKSUM_LENGTH)
            if not begin:
                raise damaged(path, "which should hold the account, is empty")
            zeros = ", but zeros" if not any(begin) else ""
            raise damaged(path, f"line 1: the account's first record is not whole{zeros}")
    return size


def _torn(line: bytes) -> bool:
    # Whether nobody was told of a last line that is not whole: it lacks its end, or, after a power failure, a block.
    if not line.endswith(b"\n"):
        return True
    return b"\0" in line and not any(_parse(line[found.start() :]) for found in _HEAD.finditer(line, 1))


def _body(line: bytes) -> bytes | None:
    # The record as JSON; None where the line is not whole or not as it was written.
    if not line.endswith(b"\n"):
        return None
    checksum, separator, body = line[:-1].partition(b" ")
    try:
        whole = len(checksum) == _CHECKSUM_LENGTH and bool(separator) and int(checksum, 16) == zlib.crc32(body)
    except ValueError:
        return None
    return body if whole else None


def _parse(line: bytes) -> dict[str, Any] | None:
    body = _body(line)
    try:
        record = None if body is None else orjson.loads(body)
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

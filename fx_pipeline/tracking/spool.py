"""What MLflow has not taken yet: every run has a folder beside the store, for the calls that could not be made.

Where it stops: the folder holds what was logged as long as its disk does. Calls that cannot be written there either
wait in the process, and are lost with it.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from fx_pipeline.market.atomic import TEMPORARY_PREFIX, atomic_write_json, process_runs

#: A call of the store that waits: its `kind`, and what it takes.
Call = Mapping[str, Any]

_RECORD, _CALLS, _LOCK, _ARTIFACTS = "run.json", "calls.jsonl", "lock", "artifacts"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecord:
    """A run, as it is started in the store.

    Attributes
    ----------
    spool_id : str
        Names it where it has no id of the store yet.
    name, experiment : str
    made_from : str or None
    began_ms : int
        Milliseconds since the epoch.
    run_id, experiment_id : str
        Of the store; empty before it is started there.
    """

    spool_id: str
    name: str
    experiment: str
    made_from: str | None
    began_ms: int
    run_id: str = ""
    experiment_id: str = ""


class Spool:
    """The folder of a run. It is locked as long as the process of the run lives, and goes when MLflow has everything.

    Attributes
    ----------
    folder : Path
    record : RunRecord
    """

    def __init__(self, folder: Path, record: RunRecord, lock: TextIO) -> None:
        self.folder = folder
        self.record = record
        self._lock = lock
        self._waiting = (folder / _CALLS).exists()
        self._unwritten: list[str] = []

    @classmethod
    def make(cls, parent: Path, name: str, experiment: str, made_from: str | None, began_ms: int) -> "Spool":
        """Make the folder of a new run, complete or not at all."""
        record = RunRecord(uuid.uuid4().hex, name, experiment, made_from, began_ms)
        temporary = parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{record.spool_id}"
        temporary.mkdir(parents=True)
        atomic_write_json(temporary / _RECORD, asdict(record))
        lock = (temporary / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(temporary, parent / record.spool_id)
        return cls(parent / record.spool_id, record, lock)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and not self._unwritten

    def started(self, run_id: str, experiment_id: str) -> None:
        """Write down which run of the store it is."""
        self.record = replace(self.record, run_id=run_id, experiment_id=experiment_id)
        with contextlib.suppress(OSError):
            # Found again by its tag.
            atomic_write_json(self.folder / _RECORD, asdict(self.record))

    def append(self, call: Call) -> None:
        """Keep a call; an artifact is copied, as it may change."""
        if call["kind"] == "artifact":
            call = self._kept(call)
        self._unwritten.append(json.dumps(call, allow_nan=False) + "\n")
        self._write()

    def calls(self) -> list[Call]:
        """Return what waits, oldest first. A line that a kill cut short is none."""
        self._write()
        path = self.folder / _CALLS
        text = path.read_text() if path.exists() else ""
        lines = [*text[: text.rfind("\n") + 1].splitlines(), *self._unwritten]
        return [json.loads(line) for line in lines]

    def clear(self) -> None:
        """Forget what waited: it was delivered."""
        self._unwritten = []
        (self.folder / _CALLS).unlink(missing_ok=True)
        shutil.rmtree(self.folder / _ARTIFACTS, ignore_errors=True)
        self._waiting = False

    def close(self) -> None:
        """Give the folder up; it stays for as long as something waits."""
        if self.is_empty:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self._unwritten:
            logger.error(
                "%d calls of run %s are lost: %s has no room", len(self._unwritten), self.record.name, self.folder
            )
        self._lock.close()

    def _kept(self, call: Call) -> Call:
        source, name = Path(call["path"]), f"{uuid.uuid4().hex}/{Path(call['path']).name}"
        target = self.folder / _ARTIFACTS / name
        try:
            target.parent.mkdir(parents=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
        except OSError as error:
            logger.warning("a copy of %s cannot be kept for MLflow (%s): it is taken from where it lies", source, error)
            return {**call, "path": str(source.resolve())}
        self._waiting = True
        return {**call, "path": f"{_ARTIFACTS}/{name}"}

    def _write(self) -> None:
        if not self._unwritten:
            return
        try:
            with (self.folder / _CALLS).open("a") as calls:
                # What a full disk cut short is no line.
                place = calls.tell()
                try:
                    calls.write("".join(self._unwritten))
                    calls.flush()
                except OSError:
                    calls.truncate(place)
                    raise
        except OSError as error:
            logger.warning(
                "%s cannot be written (%s): what MLflow has not taken waits in this process", self.folder, error
            )
            return
        self._unwritten = []
        self._waiting = True


def left_over(parent: Path) -> list[Path]:
    """Return the folders of runs whose process is gone, oldest first."""
    return [path for path in _folders(parent) if not _is_held(path)]


def alive(parent: Path) -> list[str]:
    """Return the ids of the runs whose process lives, as far as the store has given them one."""
    records = [json.loads((path / _RECORD).read_bytes()) for path in _folders(parent) if _is_held(path)]
    return [record["run_id"] for record in records if record["run_id"]]


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[Spool | None]:
    """Open the folder of a run whose process is gone; None where another process has it now, or it is gone."""
    try:
        lock = (folder / _LOCK).open("a")
    except FileNotFoundError:
        yield None
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = RunRecord(**json.loads((folder / _RECORD).read_bytes()))
        except (BlockingIOError, FileNotFoundError):
            yield None
            return
        yield Spool(folder, record, lock)


def tidy(parent: Path) -> None:
    """Remove what a kill left half made."""
    for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
        process = path.name.removeprefix(TEMPORARY_PREFIX).split("-", 1)[0]
        if not (process.isdigit() and process_runs(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _folders(parent: Path) -> list[Path]:
    found = [path for path in parent.glob("[!.]*") if (path / _RECORD).exists()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _is_held(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False

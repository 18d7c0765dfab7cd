"""Atomic writes: a killed process leaves the old file or the new one, never a part of it."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fx_pipeline.market.disk import TEMPORARY_PREFIX, clear_disk_errors


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success flush it to disk and rename it to `path`.

    Parameters
    ----------
    path : path-like
        The final path. Its folder is made if it does not exist.
    sync : bool
        Whether to flush. Without it a power cut may leave the old file, or an empty one; a killed process does not.

    Yields
    ------
    Path
        A path to write to. It is removed when the body raises.

    Raises
    ------
    StorageError
        If the disk is full or does not let the file be written. The old file, if any, is then untouched.
    """
    final = Path(path)
    with clear_disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        # The final name stays in the temporary one so that format detection by suffix works. The process' umask decides
        # the mode as the file is made: setting the umask to read it would open what other threads make meanwhile.
        temporary = final.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(6).hex()}-{final.name}")
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield temporary
            if sync:
                _flush(temporary)
            os.replace(temporary, final)
            if sync:
                _flush(final.parent)
        except BaseException:
            # What is wrong with the disk may forbid this too, and must not hide what went wrong first.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes, sync: bool = True) -> None:
    """Write `data` to `path` atomically; `sync` as of `atomic_path`."""
    with atomic_path(path, sync) as temporary:
        temporary.write_bytes(data)


def atomic_write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN and infinity are refused."""
    atomic_write_bytes(path, (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def flush_files(paths: Sequence[Path]) -> None:
    """Bring files that were written without `sync`, and their names, to the disk.

    All at once: a journalling file system then commits once for all of them.
    """
    folders = sorted({path.parent for path in paths})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_flush, paths))
        list(pool.map(_flush, folders))


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporary files of processes of this machine that are gone, anywhere below `folder`.

    Returns
    -------
    list of Path
        What was removed. Files of processes that still run are left alone.
    """
    removed = []
    for path in Path(folder).rglob(f"{TEMPORARY_PREFIX}*"):
        writer = path.name.removeprefix(TEMPORARY_PREFIX).split("-", 1)[0]
        if path.is_file() and not (writer.isdigit() and process_runs(int(writer))):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def process_runs(process: int) -> bool:
    """Whether this machine has a process of that id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

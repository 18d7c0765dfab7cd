"""What the operating system says when it cannot read or write a file, as errors that say what to do."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fx_pipeline.market.errors import DataError, FxPipelineError, MissingFileError, StorageError

#: How the name of a file begins that is being written.
TEMPORARY_PREFIX = ".tmp-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def explain_os_error(error: OSError, path: str | os.PathLike[str] | None = None) -> FxPipelineError | None:
    """Return an error that names the file and says what to do; None for one that says nothing of a disk.

    Parameters
    ----------
    error : OSError
    path : path-like, optional
        What was to be written; the file that the error names when absent.
    """
    if isinstance(error, FxPipelineError):
        return error
    said = None if error.filename is None else os.fsdecode(error.filename)
    place = said or "a file" if path is None else os.fsdecode(path)
    # What the error itself names is closer, but for a name that lasts only as long as a file is written.
    closer = place if said is None or Path(said).name.startswith(TEMPORARY_PREFIX) else said
    if error.errno in _FULL:
        return StorageError(
            f"the disk is full: {place} was not written, and what stood there before is untouched. "
            "Free some space and run again."
        )
    if error.errno in _FORBIDDEN:
        return StorageError(
            f"{closer} may not be written ({error.strerror}): make its folder writable or choose another data folder."
        )
    if error.errno == errno.EFBIG:
        return StorageError(
            f"{place} was not written: it is larger than this file system, or the shell (ulimit -f), allows. What "
            "stood there before is untouched. Raise the limit or choose another data folder, and run again."
        )
    if error.errno in _IN_THE_WAY:
        return StorageError(
            f"{closer} is a folder where a file should be, or a file where a folder should be: move it away and run "
            "again."
        )
    if error.errno == errno.EIO:
        return StorageError(f"the disk failed at {closer} ({error.strerror}): look after the disk, then run again.")
    if error.errno in _TOO_MANY:
        return StorageError(f"{closer} was not opened: too many files are open. Raise ulimit -n and run again.")
    return None


@contextlib.contextmanager
def clear_disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the operating system says of a disk into an error that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        explained = explain_os_error(error, path)
        if explained is None or explained is error:
            raise
        raise explained from error


def require_writable(folder: Path) -> None:
    """Make a folder and see that files can be made in it, before hours of work are to be kept there.

    Raises
    ------
    StorageError
        If not.
    """
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX).close()


def read_stored(path: Path, remedy: str) -> bytes:
    """Return the bytes of a file of the data folder.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do when it cannot be read, as the end of a sentence.

    Raises
    ------
    DataError
        If there is none, or something else lies in its place.
    StorageError
        If it may not be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist: {remedy}") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        first = "" if remedy.startswith("move it away") else "move what lies there away, then "
        raise DataError(f"{path} is no file ({error.strerror}): {first}{remedy}") from error
    except PermissionError as error:
        raise StorageError(f"{path} may not be read ({error.strerror}): let this user read it.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}): look after the disk, then {remedy}") from error

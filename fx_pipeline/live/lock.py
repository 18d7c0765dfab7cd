"""One process trades an account: a lock that the kernel frees when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fx_pipeline.market.errors import FxPipelineError


class AccountLockedError(FxPipelineError):
    """Another process trades the account."""


@contextmanager
def account_lock(path: Path) -> Iterator[None]:
    """Hold the lock file for as long as the body runs.

    Raises
    ------
    AccountLockedError
        If another process holds it; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise AccountLockedError(
                f"{path} is held by process {holder}: only one process may trade an account."
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield

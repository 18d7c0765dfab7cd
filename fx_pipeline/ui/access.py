"""The secret in the start address of `fx-pipeline ui`."""

import os
import re
import secrets
from pathlib import Path

from fx_pipeline.market.atomic import atomic_path
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import ConfigurationError

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,}")


def access_token(folder: Path) -> str:
    """Return the token of a data folder; made at its first use, and readable by its owner only.

    It stays the same over restarts, so that open browsers go on. Without its file a new one is made.

    Parameters
    ----------
    folder : Path
        `Layout.ui`.

    Raises
    ------
    ConfigurationError
        If the file holds something else, or others may read it.
    """
    path = folder / "token"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.chmod(0o600)
            temporary.write_text(secrets.token_urlsafe(32))
    if path.is_file() and path.stat().st_mode & 0o077 and os.name == "posix":
        raise ConfigurationError(f"{path} can be read by others: remove it, and a new one is made.")
    # Bytes that are no text are no token either.
    token = read_stored(path, "remove it, and a new one is made.").decode("latin-1").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"{path} is no token: remove it, and a new one is made.")
    return token

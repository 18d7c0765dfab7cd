"""Results that stand: what was made from the same inputs by the same code is not made again."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.market.records import Shape, read_record

logger = logging.getLogger(__name__)


class _Stamp(Shape):
    identity: str
    files: dict[str, str]


def identity(code: str, **inputs: Any) -> str:
    """Return a hash of everything that a result was made from: of the `code`, a digest, and JSON-able inputs."""
    text = json.dumps({"code": code, **inputs}, sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def stands(folder: Path, identity_: str, *names: str) -> bool:
    """Whether `folder` holds a result of that identity whose files are all there and unchanged."""
    stamp = folder / "made_from.json"
    if not stamp.exists():
        return False
    try:
        record = read_record(stamp, _Stamp, "what lies beside it is made again.")
    except NewerVersionError:
        raise
    except DataError as error:
        # A damaged stamp vouches for nothing.
        logger.warning("%s", error)
        return False
    made_of, hashes = record["identity"], record["files"]
    return (
        made_of == identity_
        and set(names) <= set(hashes)
        and all((folder / name).exists() and _sha256(folder / name) == value for name, value in hashes.items())
    )


def stamp(folder: Path, identity_: str, *names: str) -> None:
    """Say what the files `names` of `folder` were made from; call it last, when they are complete."""
    atomic_write_json(
        folder / "made_from.json",
        {"schema": 1, "identity": identity_, "files": {name: _sha256(folder / name) for name in names}},
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

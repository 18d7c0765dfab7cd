"""Results that stand: what was made from the same inputs by the same code is not made again."""

import hashlib
import json
import logging
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.errors import DataError, NewerVersionError
from fx_pipeline.market.records import Shape, read_record

logger = logging.getLogger(__name__)

#: Rooms whose code decides what a checkpoint says.
_TRAINING = ("market", "features", "sessions", "environment", "search", "agents")
#: And those that decide what a report says, which replays its trades at the broker.
_REPORT = (*_TRAINING, "validation", "broker/paper/desk", "broker/paper/ticks.py")
#: Code that decides what a session makes: a score computed by other code is another score.
_EVALUATION = (
    *("market", "environment", "search", "agents"),
    *("validation/rollout.py", "validation/metrics.py", "validation/validate.py"),
)
#: And those that decide what a seed of a proof says.
_PROOF = (*_TRAINING, "proofs")


class _Stamp(Shape):
    identity: str
    files: dict[str, str]


@cache
def training_digest() -> str:
    """Return a short hash of the source of every room that a checkpoint depends on."""
    return _digest(_TRAINING)


@cache
def report_digest() -> str:
    """Return a short hash of the source of every room that a report depends on."""
    return _digest(_REPORT)


@cache
def evaluation_digest() -> str:
    """Return a short hash of the source that rolls a policy out and scores it.

    Pages, conditions and the tests of significance are no part of it: they judge a score and do not change it.
    """
    return _digest(_EVALUATION)


@cache
def proof_digest() -> str:
    """Return a short hash of the source of every room that a seed of a proof depends on."""
    return _digest(_PROOF)


def _digest(sources: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    package = Path(str(files("fx_pipeline")))
    for source in sources:
        place = package / source
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in (".py", ".yaml", ".j2"):
                digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


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

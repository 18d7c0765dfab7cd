"""The name by which bundles and checkpoints know the code behind them."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Code that decides what a training computes: folders and files of the package.
_SOURCES = (
    "market",
    "features",
    "environment",
    "search",
    "agents/base.py",
    "agents/fingerprint.py",
    "agents/kit",
    "agents/muzero",
)


@cache
def code_version() -> str:
    """Version of the package and a hash of the code that trains, such as `0.1.0+3f2a9c0b71de`."""
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for source in _SOURCES:
        place = package / source
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        release = version("fx-pipeline")
    except PackageNotFoundError:
        release = "0"
    return f"{release}+{digest.hexdigest()[:12]}"

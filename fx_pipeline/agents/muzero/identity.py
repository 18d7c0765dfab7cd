"""What a training is: the names by which bundles and checkpoints know the data and the code behind them."""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from fx_pipeline.agents.base import TrainingData

#: Code that decides what a training computes: folders and files of the package.
_SOURCES = ("market", "features", "environment", "search", "agents/base.py", "agents/muzero")


def data_fingerprint(data: TrainingData) -> str:
    """SHA-256 of everything that the agent learns from: bars, session starts, costs and window."""
    market = data.market
    digest = hashlib.sha256()
    described = {
        "market": market.fingerprint,
        "instrument": market.instrument,
        "pip": market.pip,
        "bars": len(market),
        "costs": asdict(data.costs),
        "window": dict(data.window),
    }
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    digest.update(np.ascontiguousarray(data.starts, dtype="<i8").tobytes())
    return digest.hexdigest()


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

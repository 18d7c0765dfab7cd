"""The name by which bundles and checkpoints know the data that a training learns from."""

import hashlib
import json
from dataclasses import asdict

import numpy as np

from fx_pipeline.agents.base import TrainingData


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

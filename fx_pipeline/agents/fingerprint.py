"""The name by which bundles and checkpoints know the data that a training learns from."""

import hashlib
import json
from dataclasses import asdict

import numpy as np

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.environment.action_sets import UNIT4
from fx_pipeline.market.session_rules import SessionRules


def data_fingerprint(data: TrainingData) -> str:
    """SHA-256 of everything that the agent learns from: bars, session starts, costs, window, sessions and actions."""
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
    # Fingerprints without rules and actions are older than these, and mean the first ones.
    if data.rules != SessionRules():
        described["rules"] = asdict(data.rules)
    if data.actions != UNIT4:
        described["actions"] = asdict(data.actions)
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    digest.update(np.ascontiguousarray(data.starts, dtype="<i8").tobytes())
    return digest.hexdigest()

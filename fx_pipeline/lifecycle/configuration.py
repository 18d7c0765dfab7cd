"""What two checkpoints have in common, as hashes of their records."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def configuration(record: Mapping[str, Any]) -> str:
    """Hash what two checkpoints share that differ in their seed only: settings, code and length of the training.

    The length is in episodes: no training that joins the ledger ends by the clock, after which each seed would be a
    configuration of its own.
    """
    parts = [record["config_digest"], record["code_version"], int(record["counters"]["episodes"])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def trained_seed_sha(record: Mapping[str, Any]) -> str:
    """Hash what a training began with, by its own record: seed, settings, code, data and window.

    Weights that are equal have another of these only where somebody rewrote a record.
    """
    names = ("seed", "config_digest", "code_version", "data_fingerprint", "window")
    return hashlib.sha256(json.dumps([record.get(name) for name in names], sort_keys=True).encode()).hexdigest()

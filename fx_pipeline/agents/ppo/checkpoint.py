"""Checkpoints: weights in safetensors, everything else in JSON, as all agents have them.

The JSON is written last and carries the hash of the weights, so a folder is a complete checkpoint or none. It also
holds what the network answered to a fixed question: code in which the weights mean something else answers otherwise,
and is refused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.fingerprint import data_fingerprint
from fx_pipeline.agents.ppo.config import PpoConfig, config_from_dict
from fx_pipeline.agents.ppo.networks import Layers, layers_of
from fx_pipeline.agents.record import RECORD_NAME, SCHEMA, WEIGHTS_NAME, read_checkpoint
from fx_pipeline.environment.action_sets import action_set
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.environment.spec import ObservationSpec
from fx_pipeline.features.registry import feature_set
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.provenance.closure import code_version

AGENT = "ppo"
ENTRY = "fx_pipeline.agents.ppo.entry"
#: Machines differ in the last bits of a product; other code differs in the first.
_PROBE_TOLERANCE = 1e-4
_ASIDE = "stands_aside"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory.

    Attributes
    ----------
    layers : Layers
    config : PpoConfig
    spec : ObservationSpec
    threshold : float or None
        Of the gate.
    aside : bool
        Whether it never trades.
    record : Mapping
        All of `checkpoint.json`.
    """

    layers: Layers
    config: PpoConfig
    spec: ObservationSpec
    threshold: float | None
    aside: bool
    record: Mapping[str, Any]


def _meaning(instrument: str, spec: ObservationSpec) -> dict[str, Any]:
    """What the numbers that go in and out mean; a checkpoint with another meaning is refused."""
    features = feature_set(spec.feature_set)
    return {
        "temporal_features": list(features.names),
        "features_version": features.version_of(instrument),
        "static_features": list(STATIC_FEATURES),
        "actions": list(action_set(spec.action_set).names),
    }


def write_checkpoint(
    folder: Path,
    state: Mapping[str, Tensor],
    config: PpoConfig,
    data: TrainingData,
    *,
    seed: int,
    threshold: float | None,
    reward_scale: float,
    counters: Mapping[str, int],
    metrics: Mapping[str, float],
    selection: Mapping[str, float] | None,
    aside: bool = False,
) -> str:
    """Write a checkpoint into `folder` and return the SHA-256 of its weights.

    An older checkpoint there is replaced; between the two there is none.

    Parameters
    ----------
    folder : Path
    state : Mapping
        State of a `TradingPolicy`.
    config : PpoConfig
    data : TrainingData
    seed : int
    threshold : float or None
        Of the gate, found in the training sessions.
    reward_scale : float
        Reward of a pip.
    counters, metrics : Mapping
    selection : Mapping or None
        What these weights earned on the selection span; None if nobody judged them.
    aside : bool
        Whether the agent never trades. It is a tensor beside the weights: such an agent has another hash.
    """
    weights = serialised(state, aside)
    sha256 = hashlib.sha256(weights).hexdigest()
    record = {
        "schema": SCHEMA,
        "agent": AGENT,
        "preset": config.preset,
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "instrument": data.market.instrument,
        "pip": data.market.pip,
        "window": {key: str(value) for key, value in data.window.items()},
        "observation": data.spec.record(),
        "session_rules": asdict(data.rules),
        "gate_threshold": threshold,
        "reward_scale": reward_scale,
        **_meaning(data.market.instrument, data.spec),
        "data_fingerprint": data_fingerprint(data),
        "costs": asdict(data.costs),
        "code_version": code_version(ENTRY),
        "seed": seed,
        "device": "cpu",
        "counters": dict(counters),
        "metrics": dict(metrics),
        "selection": None if selection is None else dict(selection),
        "probe": _probe(layers_of(dict(state), config.network)),
        "weights_sha256": sha256,
    }
    (folder / RECORD_NAME).unlink(missing_ok=True)
    atomic_write_bytes(folder / WEIGHTS_NAME, weights)
    atomic_write_json(folder / RECORD_NAME, record)
    return sha256


def load_checkpoint(folder: Path) -> LoadedCheckpoint:
    """Load a checkpoint and check that it may be used.

    Raises
    ------
    DataError
        If its record is damaged or of another schema.
    ConfigurationError
        If it is missing, corrupt, or of another agent, features or actions, or if the network computes something else
        by this code than by the code that wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    path = folder / RECORD_NAME
    if not path.exists():
        raise ConfigurationError(f"{folder} holds no checkpoint: {RECORD_NAME} is missing. Train one first.")
    record = read_checkpoint(folder)
    if record.get("agent") != AGENT:
        raise ConfigurationError(f"{path} is of agent {record.get('agent')!r}, not {AGENT!r}.")
    try:
        spec, config = ObservationSpec(**record["observation"]), config_from_dict(record["config"])
    except (ConfigurationError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: its configuration is damaged, train again: {error}") from error
    if config.digest() != record["config_digest"]:
        raise ConfigurationError(f"{path}: the configuration does not have the digest that it names: train again.")
    for name, expected in _meaning(str(record["instrument"]), spec).items():
        if record.get(name) != expected:
            raise ConfigurationError(
                f"{path} was trained with {name} {record.get(name)!r}, this code has {expected!r}: train again."
            )
    place = folder / WEIGHTS_NAME
    if not place.exists():
        raise ConfigurationError(f"{place} is missing: train again or restore the file.")
    weights = read_stored(place, "train again or restore the file.")
    if hashlib.sha256(weights).hexdigest() != record["weights_sha256"]:
        raise ConfigurationError(
            f"{place} does not have the hash in {RECORD_NAME}: it is corrupt or of another run. Train again or restore "
            "the file."
        )
    try:
        state = load(weights)
        layers = layers_of(state, config.network)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigurationError(f"{place} does not fit its configuration, train again: {error}") from error
    answers, asked = _probe(layers), record["probe"]
    if len(answers) != len(asked) or not np.allclose(answers, asked, rtol=_PROBE_TOLERANCE, atol=_PROBE_TOLERANCE):
        raise ConfigurationError(
            f"{folder} was written by code {record['code_version']}, in which its weights mean something else than in "
            f"this code, {code_version(ENTRY)}: train again, or go back to that code."
        )
    return LoadedCheckpoint(layers, config, spec, record.get("gate_threshold"), _ASIDE in state, record)


def serialised(state: Mapping[str, Tensor], aside: bool = False) -> bytes:
    """Return the bytes of a weights file; see `write_checkpoint`."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    if aside:
        tensors[_ASIDE] = torch.ones(1, dtype=torch.uint8)
    weights: bytes = save(tensors)
    return weights


def _probe(layers: Layers) -> list[float]:
    """Probabilities of the actions for one made-up observation."""
    from fx_pipeline.agents.ppo.kernels import probabilities

    size = len(layers.weights[0])
    return [float(value) for value in probabilities(np.cos(np.arange(size, dtype=np.float32)), *layers)]

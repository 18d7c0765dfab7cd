"""Checkpoints: weights in safetensors, everything else in JSON.

The JSON is written last and carries the hash of the weights, so a folder is a complete checkpoint or none.

What code made a checkpoint is in its record, but other code is no reason to refuse it: a comment changes the version of
the code. Instead the record holds what the networks answered to a fixed question when they were written. Code in which
the weights mean something else answers otherwise, and is refused.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.config import MuZeroConfig, config_from_dict
from fx_pipeline.agents.muzero.identity import code_version, data_fingerprint
from fx_pipeline.agents.muzero.networks import MuZeroNetworks, build_networks
from fx_pipeline.agents.record import RECORD_NAME, SCHEMA, WEIGHTS_NAME, read_checkpoint
from fx_pipeline.environment.actions import Action, Outcome
from fx_pipeline.environment.position import STATIC_FEATURES
from fx_pipeline.features.registry import feature_set
from fx_pipeline.features.temporal9.kernel import FEATURE_NAMES
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.disk import read_stored
from fx_pipeline.market.errors import ConfigurationError

AGENT = "stochastic_muzero"
#: Machines differ in the last bits of a matrix product; other code differs in the first.
_PROBE_TOLERANCE = 1e-3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint in memory.

    Attributes
    ----------
    networks : MuZeroNetworks
        In evaluation mode.
    config : MuZeroConfig
    record : Mapping
        All of `checkpoint.json`.
    """

    networks: MuZeroNetworks
    config: MuZeroConfig
    record: Mapping[str, Any]


def _meaning(instrument: str) -> dict[str, Any]:
    """What the numbers that go in and out of the networks mean; a checkpoint with another meaning is refused."""
    return {
        "temporal_features": list(FEATURE_NAMES),
        "features_version": feature_set("temporal9").version_of(instrument),
        "static_features": list(STATIC_FEATURES),
        "actions": [action.name for action in Action],
        "outcomes": [outcome.name for outcome in Outcome],
    }


def write_checkpoint(
    folder: Path,
    networks: MuZeroNetworks,
    config: MuZeroConfig,
    data: TrainingData,
    *,
    seed: int,
    device: str,
    counters: Mapping[str, int],
    metrics: Mapping[str, float],
    selection: Mapping[str, float] | None = None,
) -> str:
    """Write a checkpoint into `folder` and return the SHA-256 of its weights.

    An older checkpoint there is replaced; between the two there is none.

    Parameters
    ----------
    folder : Path
    networks : MuZeroNetworks
    config : MuZeroConfig
    data : TrainingData
    seed : int
    device : str
        On which the weights were learned.
    counters : Mapping
        How much has been trained.
    metrics : Mapping
        Figures of the training.
    selection : Mapping, optional
        What these weights earned on the selection span; None if nobody judged them.
    """
    weights = _serialised(networks)
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
        **_meaning(data.market.instrument),
        "data_fingerprint": data_fingerprint(data),
        "costs": asdict(data.costs),
        "code_version": code_version(),
        "seed": seed,
        "device": device,
        "counters": dict(counters),
        "metrics": dict(metrics),
        "selection": None if selection is None else dict(selection),
        "probe": _probe(networks, config.selfplay.window_bars),
        "weights_sha256": sha256,
    }
    (folder / RECORD_NAME).unlink(missing_ok=True)
    atomic_write_bytes(folder / WEIGHTS_NAME, weights)
    atomic_write_json(folder / RECORD_NAME, record)
    return sha256


def weights_sha256(networks: MuZeroNetworks) -> str:
    """Return the SHA-256 by which a checkpoint of these networks is known."""
    return hashlib.sha256(_serialised(networks)).hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """Read and check the JSON of a checkpoint.

    Raises
    ------
    ConfigurationError
        If there is none, or it is of another agent or meaning; the message says which.
    DataError
        If it is damaged or of another schema.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        raise ConfigurationError(f"{folder} holds no checkpoint: {RECORD_NAME} is missing. Train one first.")
    record = read_checkpoint(folder)
    if record.get("agent") != AGENT:
        raise ConfigurationError(f"{path} is of agent {record.get('agent')!r}, not {AGENT!r}.")
    for name, expected in _meaning(str(record.get("instrument"))).items():
        if record.get(name) != expected:
            raise ConfigurationError(
                f"{path} was trained with {name} {record.get(name)!r}, this code has {expected!r}: train again."
            )
    return record


def load_checkpoint(folder: Path, *, instrument: str | None = None, pip: float | None = None) -> LoadedCheckpoint:
    """Load a checkpoint and check that it may be used.

    Parameters
    ----------
    folder : Path
    instrument : str, optional
        What it is to be used on; its own if not given.
    pip : float, optional
        Size of that instrument's pip.

    Raises
    ------
    DataError
        If its record is damaged or of another schema.
    ConfigurationError
        If it is missing, corrupt, or of another agent, features, outcomes, instrument or pip, or if the
        networks compute something else by this code than by the code that wrote it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    record = read_record(folder)
    if instrument is not None and record["instrument"] != instrument:
        raise ConfigurationError(f"{folder} was trained on {record['instrument']}, it cannot be used on {instrument}.")
    if pip is not None and record["pip"] != pip:
        raise ConfigurationError(f"{folder} was trained with a pip of {record['pip']}, not {pip}: another price scale.")
    path = folder / WEIGHTS_NAME
    if not path.exists():
        raise ConfigurationError(f"{path} is missing: train again or restore the file.")
    weights = read_stored(path, "train again or restore the file.")
    if hashlib.sha256(weights).hexdigest() != record["weights_sha256"]:
        raise ConfigurationError(
            f"{path} does not have the hash in {RECORD_NAME}: it is corrupt or of another run. Train again or restore "
            "the file."
        )
    try:
        config = config_from_dict(record["config"])
    except (ConfigurationError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{folder / RECORD_NAME}: its configuration is damaged, train again: {error}"
        ) from error
    if config.digest() != record["config_digest"]:
        raise ConfigurationError(
            f"{folder / RECORD_NAME}: the configuration does not have the digest that it names: train again."
        )
    networks = build_networks(config.network, 0, config.selfplay.window_bars)
    try:
        networks.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise ConfigurationError(
            f"{path} does not fit the networks of its configuration, train again: {error}"
        ) from error
    networks.eval()
    answers = _probe(networks, config.selfplay.window_bars)
    asked = record["probe"]
    if len(answers) != len(asked) or not np.allclose(answers, asked, rtol=_PROBE_TOLERANCE, atol=_PROBE_TOLERANCE):
        raise ConfigurationError(
            f"{folder} was written by code {record['code_version']}, in which its weights mean something else than in "
            f"this code, {code_version()}: train again, or go back to that code."
        )
    if record["code_version"] != code_version():
        logger.info("%s was written by code %s, this is %s.", folder, record["code_version"], code_version())
    return LoadedCheckpoint(networks, config, record)


def _serialised(networks: MuZeroNetworks) -> bytes:
    from safetensors.torch import save

    weights: bytes = save({name: tensor.contiguous() for name, tensor in networks.state_dict().items()})
    return weights


@torch.no_grad()
def _probe(networks: MuZeroNetworks, bars: int) -> list[float]:
    """Answers of all heads to one made-up observation, and to what follows a BUY when the price goes up."""
    training = networks.training
    networks.eval()
    features = len(FEATURE_NAMES)
    temporal = torch.cos(torch.arange(bars * features, dtype=torch.float32)).reshape(1, bars, features)
    static = torch.cos(torch.arange(len(STATIC_FEATURES), dtype=torch.float32)).reshape(1, -1)
    action, outcome = torch.tensor([Action.BUY.value]), torch.tensor([Outcome.UP.value])
    state = networks.represent(temporal, static)
    chance, afterstate_value = networks.afterstate(state, action)
    following, reward = networks.dynamics(state, action, outcome)
    answers = [chance, networks.decode(afterstate_value), networks.rewards(state, reward)]
    for node in (state, following):
        policy, value = networks.predict(node)
        answers += [policy, networks.decode(value)]
    networks.train(training)
    return torch.cat([answer.reshape(-1) for answer in answers]).tolist()

"""The bundle: everything that a killed training needs to go on as if nothing had happened, in one file.

Tensors and a JSON header in one safetensors file, written atomically, with a hash over both. Random states are not in
it: every random number depends on the seed and a counter. Nor is the environment: a rollout begins with new sessions.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fx_pipeline.agents.ppo.learner import Learner
from fx_pipeline.market.atomic import atomic_write_bytes

BUNDLE_NAME = "bundle.safetensors"
_SCHEMA = 1
_HEADER, _SHA256 = "header", "sha256"

logger = logging.getLogger(__name__)


def write_bundle(path: Path, header: Mapping[str, Any], learner: Learner, best: Mapping[str, Tensor]) -> None:
    """Write a bundle.

    Parameters
    ----------
    path : Path
    header : Mapping
        JSON values; `header["identity"]` says which training it belongs to.
    learner : Learner
    best : Mapping
        The best weights so far, by name; may be empty.
    """
    from safetensors.torch import save

    tensors = {f"weights/{name}": tensor for name, tensor in learner.state().items()}
    for index, state in learner.model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in state.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**header, "schema": _SCHEMA})
    tensors[_HEADER] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    atomic_write_bytes(path, save(tensors, {_SHA256: _digest(tensors)}))


def read_bundle(
    path: Path, identity: Mapping[str, Any], learner: Learner
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Restore a learner from a bundle, if there is one of this training.

    Returns
    -------
    (dict, dict) or None
        The header, and the best weights. None, with a line in the log that says why, if the bundle is of another
        training, damaged, or cannot be read; the learner is untouched then.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            digest = file.metadata()[_SHA256]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if digest != _digest(tensors):
            raise ValueError("its contents do not have the hash that it names: it is damaged")
        header: dict[str, Any] = json.loads(tensors[_HEADER].numpy().tobytes())
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        logger.warning("ignoring the bundle %s, which cannot be read (%s): training starts afresh", path, error)
        return None
    found, wanted = {**header.get("identity", {}), "schema": header.get("schema")}, {**identity, "schema": _SCHEMA}
    other = [
        f"{name} is {found.get(name)!r}, now {wanted[name]!r}" for name in wanted if found.get(name) != wanted[name]
    ]
    if other:
        logger.warning(
            "ignoring the bundle %s of another training (%s): training starts afresh", path, "; ".join(other)
        )
        return None
    learner.model.policy.load_state_dict(_part(tensors, "weights/"))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer/").items():
        index, moment = name.split("/")
        states.setdefault(int(index), {})[moment] = tensor
    optimizer = learner.model.policy.optimizer.state_dict()
    optimizer["state"] = states
    learner.model.policy.optimizer.load_state_dict(optimizer)
    return header, _part(tensors, "best/")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors, the header among them, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

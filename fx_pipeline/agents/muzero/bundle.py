"""The bundle: everything that a killed training needs to go on as if nothing had happened, in one file.

Tensors and a JSON header in one safetensors file, written atomically, with a hash over both. The header has the history
in it, so it is a tensor of bytes: the format's own metadata may not exceed 100 MB. Random states are not in
it: every random number depends on the seed and a counter (`seeds`). The environment is not in it either: the actions
recorded in the replay lead back to where it stood.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fx_pipeline.agents.muzero.learner import Learner
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.market.atomic import atomic_write_bytes

BUNDLE_NAME = "bundle.safetensors"
#: Of the header; a bundle of another one counts as of another training.
_SCHEMA = 1
_HEADER, _SHA256 = "header", "sha256"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

logger = logging.getLogger(__name__)


def write_bundle(
    path: Path, header: Mapping[str, Any], learner: Learner, replay: Replay, best: Mapping[str, Tensor]
) -> None:
    """Write a bundle.

    Parameters
    ----------
    path : Path
    header : Mapping
        JSON values; `header["identity"]` says which training it belongs to.
    learner : Learner
        Its weights (with buffers) and optimiser.
    replay : Replay
    best : Mapping
        The best weights so far, by name; may be empty.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {f"weights/{name}": tensor for name, tensor in learner.modules.state_dict().items()}
    for index, state in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": state[name] for name in _MOMENTS}
    tensors |= {f"replay/{name}": torch.from_numpy(array) for name, array in replay.arrays.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**header, "schema": _SCHEMA, "updates": learner.updates, "written": replay.written})
    tensors[_HEADER] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    # One metadata key: with several, their order in the file would differ from run to run.
    atomic_write_bytes(path, save(tensors, {_SHA256: _digest(tensors)}))


def read_bundle(
    path: Path, identity: Mapping[str, Any], learner: Learner, replay: Replay
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Restore learner and replay from a bundle, if there is one of this training.

    Returns
    -------
    (dict, dict) or None
        The header, and the best weights. None, with a line in the log that says why, if the bundle is of another
        training, damaged, or cannot be read; learner and replay are untouched then.
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
    # Before bundles had a version they were of the first.
    found = {**header.get("identity", {}), "schema": header.get("schema", 1)}
    identity = {**identity, "schema": _SCHEMA}
    other = [name for name in identity if found.get(name) != identity[name]]
    if other:
        differences = "; ".join(f"{name} is {found.get(name)!r}, now {identity[name]!r}" for name in other)
        logger.warning("ignoring the bundle %s of another training (%s): training starts afresh", path, differences)
        return None
    learner.modules.load_state_dict(_part(tensors, "weights/"))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer/").items():
        index, moment = name.split("/")
        states.setdefault(int(index), {})[moment] = tensor
    optimizer = learner.optimizer.state_dict()
    optimizer["state"] = states
    learner.optimizer.load_state_dict(optimizer)
    learner.updates = header["updates"]
    for name, tensor in _part(tensors, "replay/").items():
        replay.arrays[name][...] = tensor.numpy()
    replay.written = header["written"]
    return header, _part(tensors, "best/")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors, the header among them, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

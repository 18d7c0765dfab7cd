"""The bundle: everything that a killed training needs to go on as if nothing had happened, in one file.

Tensors and a JSON header in one safetensors file, written atomically. Random states are not in it: every random number
depends on the seed and a counter (`seeds`). The environment is not in it either: the actions recorded in the replay
lead back to where it stood.
"""

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
_HEADER = "header"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

logger = logging.getLogger(__name__)


def write_bundle(path: Path, header: Mapping[str, Any], learner: Learner, replay: Replay) -> None:
    """Write a bundle.

    Parameters
    ----------
    path : Path
    header : Mapping
        JSON values; `header["identity"]` says which training it belongs to.
    learner : Learner
        Its networks (with buffers) and optimiser.
    replay : Replay
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {f"weights/{name}": tensor for name, tensor in learner.networks.state_dict().items()}
    for index, state in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": state[name] for name in _MOMENTS}
    tensors |= {f"replay/{name}": torch.from_numpy(array) for name, array in replay.arrays.items()}
    full = {**header, "updates": learner.updates, "written": replay.written}
    # One metadata key: with several, their order in the file would differ from run to run.
    atomic_write_bytes(
        path,
        save({name: tensor.contiguous() for name, tensor in tensors.items()}, {_HEADER: json.dumps(full)}),
    )


def read_bundle(path: Path, identity: Mapping[str, Any], learner: Learner, replay: Replay) -> dict[str, Any] | None:
    """Restore learner and replay from a bundle, if there is one of this training.

    Returns
    -------
    dict or None
        The header. None, with a line in the log that says why, if the bundle is of another training or cannot be read;
        learner and replay are untouched then.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("ignoring the bundle %s, which cannot be read (%s): training starts afresh", path, error)
        return None
    found = header.get("identity", {})
    other = [name for name in identity if found.get(name) != identity[name]]
    if other:
        differences = "; ".join(f"{name} is {found.get(name)!r}, now {identity[name]!r}" for name in other)
        logger.warning("ignoring the bundle %s of another training (%s): training starts afresh", path, differences)
        return None
    learner.networks.load_state_dict(_part(tensors, "weights/"))
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
    return header


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

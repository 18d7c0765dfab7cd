"""Devices, threads and determinism of torch."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal

import torch

from fx_pipeline.market.errors import ConfigurationError

DeviceName = Literal["auto", "cpu", "cuda"]
CPU = torch.device("cpu")


def learning_device(name: DeviceName) -> torch.device:
    """The device of that name; "auto" is a GPU where torch has one.

    Raises
    ------
    ConfigurationError
        If there is no GPU and one is wanted.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigurationError("runtime.device is cuda, but torch finds no GPU here: set it to auto or cpu.")
    if name == "cpu" or not available:
        return CPU
    # Without it cuBLAS refuses to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", torch.cuda.current_device())


@contextlib.contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Fixed threads and deterministic algorithms, and afterwards what was before.

    More than one thread pays for large layers on idle cores only. Each small operation waits for all threads: where
    other programs hold a core, a search with small networks was seen to take a hundred times as long with two.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    deterministic: Any = torch.utils.deterministic
    fills = deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before writing it, and filling it costs a sixth of an update.
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = fills

"""Threads and determinism of torch, for the time of a call."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


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

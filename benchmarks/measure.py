"""What every benchmark needs: interleaved timing, the machine's description, one JSON line at the end."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each contender once a round, in turn, after one uncounted round. Seconds of wall time."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - began)
    return times


def copy_bandwidth(megabytes: int = 64, rounds: int = 5) -> float:
    """Bytes a second that one core copies between large arrays (read plus write): the limit of streaming kernels."""
    import numpy as np

    source = np.ones(megabytes * 131_072)
    target = np.empty_like(source)
    best = min(interleaved({"copy": lambda: np.copyto(target, source)}, rounds)["copy"])
    return 2 * source.nbytes / best


def report(title: str, times: Mapping[str, list[float]], figures: Mapping[str, Any], as_json: bool) -> None:
    """Print the table of contenders, then the figures as one JSON line."""
    import numba
    import numpy

    if not as_json:
        versions = f"numpy {numpy.__version__}, numba {numba.__version__}"
        print(f"{title}   ({platform.machine()}, {os.cpu_count()} cores, {versions})")
        for name, values in times.items():
            median = statistics.median(values)
            print(f"  {name:<24} median {median:.4f} s   min {min(values):.4f}   max {max(values):.4f}")
    print(json.dumps(dict(figures)))


def wants_json() -> bool:
    """Whether `--json` was given; anything else but `--help` is refused."""
    arguments = sys.argv[1:]
    if arguments in ([], ["--json"]):
        return bool(arguments)
    raise SystemExit(f"usage: {os.path.basename(sys.argv[0])} [--json]")

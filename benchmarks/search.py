"""Search and self-play against mctx and against the arithmetic: `python -m benchmarks.search [--json] [--rounds N]`.

`full` networks, 25 simulations. Each contender runs in processes of its own, pinned to the same cores, and they take
turns: kept, windowed, fp32, mctx, matrix product, and again. mctx gets one process a core, its best arrangement; the
engine one process with a thread a core. Rates of processes that run side by side are added up. Wall time counts.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
STEPS = 360
LABELS = {
    "engine_kept": "engine, each bar encoded once, whole episodes",
    "engine_windowed": "engine, each window encoded",
    "engine_fp32": "engine in float32, each window encoded",
    "mctx": "mctx in float32, batch 128",
}


class Contender:
    """One contender's processes, ready and waiting."""

    def __init__(self, name: str, cores: Sequence[int]) -> None:
        self.name = name
        # Those that do not thread by themselves get a process a core.
        places = [str(core) for core in cores] if name in ("mctx", "gemm") else [",".join(map(str, cores))]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.search_contenders", name, place],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for place in places
        ]  # fmt: skip
        self.rounds: list[list[dict[str, float]]] = []
        for process in self.processes:
            self._line(process)

    def _line(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the contender {self.name} ended with status {process.wait()}: see its message above.")
        return dict(json.loads(line))

    def round(self, counts: bool) -> None:
        """Run once; all processes at the same time."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        done = [self._line(process) for process in self.processes]
        if counts:
            self.rounds.append(done)

    def rates(self, what: str) -> list[float]:
        """Sum over the processes of `what` a second, by round."""
        return [sum(one[what] / one["wall_s"] for one in done) for done in self.rounds]

    def cpu_share(self, cores: int) -> float:
        """Share of the cores' time that the processes had: well below 1 means that others used the cores."""
        shares = [sum(one["cpu_s"] / one["wall_s"] for one in done) / cores for done in self.rounds]
        return statistics.median(shares)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def race(names: Sequence[str], cores: Sequence[int], rounds: int) -> dict[str, Contender]:
    """Let the contenders take turns; the first round is not counted."""
    contenders: dict[str, Contender] = {}
    try:
        for name in names:
            contenders[name] = Contender(name, cores)
        for number in range(rounds + 1):
            for contender in contenders.values():
                contender.round(counts=number > 0)
    finally:
        for contender in contenders.values():
            contender.close()
    return contenders


def latency(decisions: int = 1000) -> dict[str, float]:
    """Live decisions: one observation, float32, one thread; milliseconds of wall time."""
    import numpy as np

    from benchmarks.search_contenders import lively_networks, observations
    from fx_pipeline.agents.muzero.policy import MuZeroPolicy
    from fx_pipeline.environment.lockstep import Observation

    config, networks = lively_networks()
    policy, seen = MuZeroPolicy(networks, config, workers=1), observations(64)
    times = []
    for number in range(decisions + 20):
        one = Observation(*(array[number % 64 : number % 64 + 1] for array in seen))
        began = time.perf_counter()
        policy.choose(one)
        times.append(1e3 * (time.perf_counter() - began))
    return {
        "latency_p50_ms": float(np.quantile(times[20:], 0.5)),
        "latency_p99_ms": float(np.quantile(times[20:], 0.99)),
    }


_FIRST = """
from benchmarks.search_contenders import lively_networks, observations
from fx_pipeline.agents.muzero.policy import MuZeroPolicy
config, networks = lively_networks()
MuZeroPolicy(networks, config, workers=1).choose(observations(1))
"""


def start_to_first_decision(times: int = 3) -> float:
    """Seconds from the start of a process to its first decision, kernels cached; the median."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", _FIRST], check=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def tree_share(rounds: int = 15) -> float:
    """Share of a search (windows encoded beforehand) that the tree takes: searches whose networks answer from a table.

    Both are the least of several on one core.
    """
    from benchmarks.search_contenders import lively_networks, observations
    from benchmarks.search_tree import search_time, tree_time
    from fx_pipeline.agents.muzero.engine.engine import GROUP_ROWS, Engine, best_precision

    config, networks = lively_networks()
    engine, seen = Engine(networks, config.search, best_precision(), workers=1), observations(GROUP_ROWS)
    return tree_time(engine, seen, rounds) / search_time(engine, seen, rounds)


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "mctx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures alone, as one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each contender")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else [0, 1]
    names = ["engine_kept", "engine_windowed", "engine_fp32"]
    has_peer = find_spec("mctx") is not None
    if has_peer:
        names.append("mctx")
    else:
        print("mctx is absent: pip install -e '.[mctx]' for the comparison. The rest is measured.", file=sys.stderr)
    contenders = race([*names, "gemm"], cores, arguments.rounds)
    decisions = {name: contenders[name].rates("decisions") for name in names}
    rate = {name: statistics.median(values) for name, values in decisions.items()}

    def paired(name: str, peer: str, what: str) -> float:
        """Median over the rounds of the ratio within a round: what disturbs a round disturbs both."""
        pairs = zip(contenders[name].rates(what), contenders[peer].rates(what), strict=True)
        return round(statistics.median(mine / theirs for mine, theirs in pairs), 3)

    def against_peer(name: str) -> float | None:
        return paired(name, "mctx", "decisions") if has_peer else None

    limit = statistics.median(contenders["gemm"].rates("flop"))
    reached = statistics.median(contenders["engine_windowed"].rates("flop"))
    figures: dict[str, Any] = {
        "vs_mctx": against_peer("engine_kept"),
        "vs_mctx_windowed": against_peer("engine_windowed"),
        "fp32_vs_mctx": against_peer("engine_fp32"),
        "share_of_limit": paired("engine_windowed", "gemm", "flop"),
        "tree_share": round(tree_share(), 4),
        **{name: round(value, 3) for name, value in latency().items()},
        "start_to_first_decision_s": round(start_to_first_decision(), 2),
        "episodes_per_hour": round(3600 * rate["engine_kept"] / STEPS),
        "episodes_per_hour_windowed": round(3600 * rate["engine_windowed"] / STEPS),
        "gemm_gflop_s": round(limit / 1e9, 1),
        "engine_gflop_s": round(reached / 1e9, 1),
        "cores": len(cores),
        "cpu_share": {name: round(contenders[name].cpu_share(len(cores)), 2) for name in [*names, "gemm"]},
    }
    record = {
        "when": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "versions": versions(),
        "decisions_per_s": decisions,
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "search.json").write_text(json.dumps(record, indent=1) + "\n")
    if not arguments.json:
        print(f"{record['machine']}, {len(cores)} cores   {record['versions']}")
        for name in names:
            values = [3600 * value / STEPS for value in decisions[name]]
            print(
                f"  {LABELS[name]:<48} {statistics.median(values):>8,.0f} episodes/h"
                f"   min {min(values):>8,.0f}   max {max(values):>8,.0f}"
                f"   {100 * contenders[name].cpu_share(len(cores)):.0f} % of the cores"
            )
        print(f"  large matrix product {limit / 1e9:.0f} GFLOP/s; the engine's matrix products {reached / 1e9:.0f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Where the time of self-play goes: `python -m benchmarks.profile_selfplay [--seconds 60] [--picture FILE] [--json]`.

Compiled code has no function that a profiler could stop in. Each part is therefore timed by itself, in the shapes and
with the data of self-play, and multiplied by how often it ran; what these do not explain of the whole is shown as the
rest. CPU time, `full` networks, 25 simulations, all cores.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from benchmarks.search_contenders import SESSIONS, STEPS, WEEK_BARS, lively_networks, observations
from benchmarks.search_market import random_walk_week
from benchmarks.search_tree import search_time, tree_time
from fx_pipeline.agents.muzero.engine import forward, pack
from fx_pipeline.agents.muzero.engine.engine import GROUP_ROWS, Engine, best_precision
from fx_pipeline.agents.muzero.engine.kernels import PANELS, VECTORS, address, matmul
from fx_pipeline.agents.muzero.engine.stretch import STRETCH_BARS, allocate_stretch, encode_bars
from fx_pipeline.agents.muzero.replay import Replay
from fx_pipeline.agents.muzero.selfplay import SelfPlay
from fx_pipeline.search.tree import UNKNOWN_PRIOR


def play_for(seconds: float) -> tuple[Engine, dict[str, float]]:
    """Whole waves of self-play until the time is over, with new weights before each; what was done, and its CPU."""
    config, networks = lively_networks()
    engine = Engine(networks, config.search, best_precision())
    selfplay = SelfPlay(config, random_walk_week(WEEK_BARS, STEPS), Replay(config.replay, STEPS), 1)
    done = {"decisions": 0.0, "encoded": 0.0, "packed": 0.0}
    began, cpu = time.perf_counter(), 0.0
    for wave in range(10**6):
        if wave == 1:
            # The first wave loads the kernels.
            began, cpu, done = time.perf_counter(), time.process_time(), dict.fromkeys(done, 0.0)
        if wave > 1 and time.perf_counter() - began > seconds:
            break
        engine.refresh()
        done["packed"] += 1
        selfplay.begin(wave * SESSIONS, SESSIONS, 0.0)
        while selfplay.in_wave:
            selfplay.collect(engine)
            selfplay.commit()
        done["decisions"] += SESSIONS * STEPS
        done["encoded"] += engine.codes_known
    return engine, done | {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - began}


def least(run: Callable[[], Any], rounds: int = 30) -> float:
    """Least CPU seconds of a call."""
    times = []
    for _ in range(rounds + 1):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times[1:])


@njit(nogil=True, cache=True)
def _products(packed, scratch, rows, begin, end):  # type: ignore[no-untyped-def]
    """The matrix products alone of the layers [begin, end), 50 times; the inputs do not matter."""
    a, ld_low = address(scratch.low_a), scratch.low_a.strides[0]
    heads, ld = address(scratch.heads), scratch.heads.strides[0]
    zeros = forward.vector_at(packed, pack.ZEROS)
    for _ in range(50):
        for layer in range(begin, end):
            if packed.layers[layer, PANELS] * packed.layers[layer, VECTORS] * 64 <= ld:
                matmul(packed, layer, a, ld_low, rows, zeros, 0, heads, ld, 0)


def parts(engine: Engine, done: dict[str, float]) -> dict[str, float]:
    """CPU seconds of each part in the whole of what was done."""
    packed, sizes = engine.packed, engine.packed.sizes
    # As many as a group of self-play has here.
    rows = min(GROUP_ROWS, -(-SESSIONS // engine.workers))
    seen = observations(rows)
    scratch, room = engine.room(0)
    tree = tree_time(engine, seen, 30)
    search = search_time(engine, seen, 30)
    per_decision = done["decisions"] / rows
    features = np.random.default_rng(0).standard_normal((STRETCH_BARS + 31, 9)).astype(np.float32)
    bars, together = np.arange(31, len(features)), allocate_stretch(packed, engine.precision)
    codes = np.zeros((max(rows, len(bars)), int(sizes[pack.CHANNELS])), dtype=np.float32)
    encoding = least(lambda: encode_bars(packed, scratch, together, features, bars, codes), 20) / len(bars)
    embedding = least(lambda: forward.embed_rows(packed, codes[:rows], seen.static, room.states[:rows]))
    chance = int(room.tree.is_chance[:rows].sum())
    decisions = rows * engine.search.simulations - chance
    policies = int((room.tree.probs[:rows, :, 0] != UNKNOWN_PRIOR).sum()) - chance
    begin = [int(sizes[place]) for place in range(pack.AFTERSTATE_LAYERS, pack.VALUE_LAYERS + 1)]
    begin.append(len(packed.layers))

    def products(first: int, last: int, count: float) -> float:
        some = max(1, round(count / engine.search.simulations))
        once = least(lambda: _products(packed, scratch, some, begin[first], begin[last]), 8) / 50
        return once / some * count

    matrix = products(0, 1, chance) + products(1, 2, decisions)
    matrix += products(2, 3, policies) + products(3, 4, decisions + rows)
    return {
        "encode bars (TCN)": encoding * done["encoded"],
        "matrix products of the search": matrix * per_decision,
        "norms, softmax, copies of the search": (search - tree - matrix) * per_decision,
        "tree": tree * per_decision,
        "embed the position": embedding * per_decision,
        "lay out new weights": least(engine.refresh, 5) * done["packed"],
    }


def draw(shares: dict[str, float], title: str, path: Path) -> None:
    """Bars of the shares, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
    names = list(shares)[::-1]
    axis.barh(names, [100 * shares[name] for name in names], color="#3b6ea5")
    for place, name in enumerate(names):
        axis.text(100 * shares[name] + 0.5, place, f"{100 * shares[name]:.1f} %", va="center", fontsize=9)
    axis.set_xlim(0, 100 * max(shares.values()) + 8)
    axis.set_xlabel("share of CPU time, %")
    axis.set_title(title, fontsize=10)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_selfplay", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to play")
    parser.add_argument("--picture", type=Path, help="where to draw the shares")
    parser.add_argument("--json", action="store_true", help="print the shares alone, as one JSON object")
    arguments = parser.parse_args()
    engine, done = play_for(arguments.seconds)
    spent = parts(engine, done)
    spent["rest: acting, steps, records, waiting"] = done["cpu_s"] - sum(spent.values())
    shares = {name: value / done["cpu_s"] for name, value in spent.items()}
    episodes = done["decisions"] / STEPS
    title = (
        f"{episodes:,.0f} episodes in {done['wall_s']:.0f} s of wall time, {done['cpu_s']:.0f} s of CPU; "
        f"`full`, 25 simulations, {engine.precision}"
    )
    if arguments.picture:
        draw(shares, title, arguments.picture)
    if not arguments.json:
        print(title)
        for name, share in shares.items():
            print(f"  {name:<40} {100 * share:5.1f} %   {spent[name]:7.2f} s")
    print(json.dumps({name: round(share, 4) for name, share in shares.items()}))


if __name__ == "__main__":
    main()
